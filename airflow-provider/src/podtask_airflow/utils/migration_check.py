"""Report, before a migration, how PodTaskOperator treats each KubernetesPodOperator in a folder of DAGs.

The sources are parsed and not executed, and neither Airflow nor the DAGs are imported. So only arguments that are
written in the call are checked: `**kwargs` is reported for a manual check, and default_args are not followed.
"""

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import arguments
from .arguments import ARGUMENTS, ArgumentError, Kind

_OPERATORS = ("KubernetesPodOperator", "PodTaskOperator")
_SUBCLASSES = ("GKEStartPodOperator", "EksPodOperator", "GKEPodOperator", "EKSPodOperator")
_DECORATORS = ("kubernetes", "kubernetes_cmd", "podtask", "podtask_cmd")
_BY_NAME = {argument.name: argument for argument in ARGUMENTS}
_UNKNOWN = object()
"""A value that is known only at run time."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """The finding for one argument of one operator."""

    kind: str
    """A value of Kind, or "unclear"."""
    text: str


@dataclasses.dataclass(frozen=True)
class Operator:
    """An operator in a file."""

    path: Path
    line: int
    what: str
    findings: tuple[Finding, ...]

    @property
    def is_unsupported(self) -> bool:
        """Return whether the DAG could not be parsed with PodTaskOperator."""
        return any(finding.kind == Kind.UNSUPPORTED.value for finding in self.findings)


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """A file that is not valid Python."""

    path: Path
    line: int
    message: str


def check(folder: Path) -> Iterator[Operator | Unreadable]:
    """Find every operator below a folder, or in one file."""
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]
    for path in files:
        try:
            tree = ast.parse(path.read_bytes(), filename=str(path))
        except (SyntaxError, ValueError) as error:
            yield Unreadable(path, getattr(error, "lineno", None) or 1, str(error))
            continue
        yield from _operators(path, tree)


def report(found: Operator | Unreadable) -> str:
    """Format a finding, beginning with `file:line`."""
    where = f"{found.path}:{found.line}"
    if isinstance(found, Unreadable):
        return f"{where}: not read: {found.message}"
    state = "unsupported" if found.is_unsupported else "supported"
    return "\n".join(
        [f"{where}: {found.what}: {state}", *(f"    {finding.kind:<12} {finding.text}" for finding in found.findings)]
    )


def _operators(path: Path, tree: ast.Module) -> Iterator[Operator]:
    names = _names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (what := _called(node, names)):
            yield Operator(path, node.lineno, what, tuple(_findings(what, node)))
        elif isinstance(node, ast.ClassDef):
            bases = [names.get(_last(base), "") for base in node.bases]
            for base in filter(None, bases):
                text = f"is a subclass of {base}: check the methods it overrides (docs/airflow/migration.md)"
                yield Operator(path, node.lineno, f"class {node.name}", (Finding("unclear", text),))


def _names(tree: ast.Module) -> dict[str, str]:
    """Map the names of a file to the operators: imported under another name, or assigned."""
    names = {name: name for name in (*_OPERATORS, *_SUBCLASSES)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {it.asname: it.name for it in node.names if it.asname and it.name in names}
        elif isinstance(node, ast.Assign) and _last(node.value) in names:
            names |= {it.id: names[_last(node.value)] for it in node.targets if isinstance(it, ast.Name)}
    return names


def _called(node: ast.Call, names: dict[str, str]) -> str | None:
    """Return what a call creates: Operator(…), Operator.partial(…), @task.kubernetes(…)."""
    if isinstance(node.func, ast.Attribute):
        owner = _last(node.func.value)
        if node.func.attr == "partial" and owner in names:
            return f"{names[owner]}.partial"
        if node.func.attr in _DECORATORS and owner == "task":
            return f"@task.{node.func.attr}"
        if node.func.attr == "expand" and (inner := node.func.value) and isinstance(inner, ast.Call):
            what = _called(inner, names)
            return what.replace(".partial", ".expand") if what else None
    return names.get(_last(node.func))


def _last(node: ast.AST) -> str:
    """Return the last part of a dotted name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _findings(what: str, node: ast.Call) -> Iterator[Finding]:
    if what.partition(".")[0] in _SUBCLASSES:
        yield Finding(
            "unclear",
            "takes its cluster from a cloud account; docs/airflow/connections.md shows the connection to use instead",
        )
    given: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            yield Finding("unclear", f"**{ast.unparse(keyword.value)} is not followed; check it manually")
        elif keyword.arg in _BY_NAME:
            given[keyword.arg] = _value(keyword.value)
            yield _finding(_BY_NAME[keyword.arg], _each(what, given[keyword.arg]))
    if not _is_expanded(what):
        yield from _together(given)


def _is_expanded(what: str) -> bool:
    return what.endswith(".expand")


def _each(what: str, value: Any) -> list[Any]:
    """Return the values of the tasks: one for each if the argument is expanded."""
    if not _is_expanded(what):
        return [value]
    return value if isinstance(value, list) else [_UNKNOWN]


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _UNKNOWN


def _finding(argument: arguments.Argument, values: list[Any]) -> Finding:
    problems = (_problem({argument.name: value}) for value in values if value is not _UNKNOWN)
    problem = next(filter(None, problems), "")
    if argument.kind is Kind.UNSUPPORTED and _UNKNOWN in values:
        problem = f"{argument.name}: {argument.note}"
    if problem:
        return Finding(Kind.UNSUPPORTED.value, problem)
    goes = f" -> {argument.field}" if argument.field else ""
    return Finding(
        Kind.SUPPORTED.value if argument.kind is Kind.UNSUPPORTED else argument.kind.value,
        f"{argument.name}{goes}{f' ({argument.note})' if argument.note else ''}",
    )


def _together(given: dict[str, Any]) -> Iterator[Finding]:
    """Check the rules on several arguments, without the arguments that are invalid by themselves."""
    known = {name: value for name, value in given.items() if value is not _UNKNOWN}
    sound = {name: value for name, value in known.items() if not _problem({name: value})}
    if len(sound) > 1 and (problem := _problem(sound)):
        yield Finding(Kind.UNSUPPORTED.value, problem)


def _problem(given: dict[str, Any]) -> str:
    try:
        arguments.prepare(given)
    except ArgumentError as error:
        return str(error)
    return ""
