"""Say before a migration what becomes of each KubernetesPodOperator in a folder of DAGs.

The sources are read and not run: no Airflow, no connection, no import of anybody's code. So only what stands in the
call can be judged; `**kwargs` is named and left to the eye, and default_args are not seen.
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
"""A value that only running the code would tell."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One sentence about one argument of one operator."""

    kind: str
    """translated, honoured, needless, refused, or unclear."""
    text: str


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator in one file."""

    path: Path
    line: int
    what: str
    findings: tuple[Finding, ...]

    @property
    def is_refused(self) -> bool:
        """Say whether it would not be parsed as it stands."""
        return any(finding.kind == Kind.REFUSED.value for finding in self.findings)


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """A file that is no Python."""

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
    """Write what was found, with `file:line` in front, as editors like it."""
    where = f"{found.path}:{found.line}"
    if isinstance(found, Unreadable):
        return f"{where}: not read: {found.message}"
    state = "refused" if found.is_refused else "translates"
    return "\n".join(
        [f"{where}: {found.what}: {state}", *(f"    {finding.kind:<10} {finding.text}" for finding in found.findings)]
    )


def _operators(path: Path, tree: ast.Module) -> Iterator[Operator]:
    names = _names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (what := _called(node, names)):
            yield Operator(path, node.lineno, what, tuple(_judge(what, node)))
        elif isinstance(node, ast.ClassDef):
            bases = [names.get(_last(base), "") for base in node.bases]
            for base in filter(None, bases):
                text = f"is a subclass of {base}: look at the methods it overrides (docs/airflow/migration.md)"
                yield Operator(path, node.lineno, f"class {node.name}", (Finding("unclear", text),))


def _names(tree: ast.Module) -> dict[str, str]:
    """Map the file's own names to the operators: imported by another name, or plainly bound to one."""
    names = {name: name for name in (*_OPERATORS, *_SUBCLASSES)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {it.asname: it.name for it in node.names if it.asname and it.name in names}
        elif isinstance(node, ast.Assign) and _last(node.value) in names:
            names |= {it.id: names[_last(node.value)] for it in node.targets if isinstance(it, ast.Name)}
    return names


def _called(node: ast.Call, names: dict[str, str]) -> str | None:
    """Return what a call makes: Operator(…), Operator.partial(…), @task.kubernetes(…)."""
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


def _judge(what: str, node: ast.Call) -> Iterator[Finding]:
    if what.partition(".")[0] in _SUBCLASSES:
        yield Finding(
            "unclear", "gets its cluster from a cloud account; docs/airflow/migration.md says how a connection does"
        )
    given: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            yield Finding("unclear", f"**{ast.unparse(keyword.value)} is not followed; look there")
        elif keyword.arg in _BY_NAME:
            given[keyword.arg] = _value(keyword.value)
            yield _finding(_BY_NAME[keyword.arg], _each(what, given[keyword.arg]))
    if not _is_expanded(what):
        yield from _together(given)


def _is_expanded(what: str) -> bool:
    return what.endswith(".expand")


def _each(what: str, value: Any) -> list[Any]:
    """Return the values that tasks get: of an expanded argument one for each task."""
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
    if argument.kind is Kind.REFUSED and _UNKNOWN in values:
        problem = f"{argument.name}: {argument.note}"
    if problem:
        return Finding(Kind.REFUSED.value, problem)
    goes = f" -> {argument.field}" if argument.field else ""
    return Finding(
        Kind.HONOURED.value if argument.kind is Kind.REFUSED else argument.kind.value,
        f"{argument.name}{goes}{f' ({argument.note})' if argument.note else ''}",
    )


def _together(given: dict[str, Any]) -> Iterator[Finding]:
    """Judge what only several arguments show, leaving out what each of them has been told already."""
    known = {name: value for name, value in given.items() if value is not _UNKNOWN}
    sound = {name: value for name, value in known.items() if not _problem({name: value})}
    if len(sound) > 1 and (problem := _problem(sound)):
        yield Finding(Kind.REFUSED.value, problem)


def _problem(given: dict[str, Any]) -> str:
    try:
        arguments.prepare(given)
    except ArgumentError as error:
        return str(error)
    return ""
