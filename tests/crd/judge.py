"""What the API server would say, without one: its schema through a JSON schema validator, its rules through CEL."""

import dataclasses
import datetime as dt
import functools
import re
from collections.abc import Iterator
from typing import Any

import cel
from jsonschema import FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from openapi_schema_validator import OAS30Validator

from podtask.api.v1alpha1.validation_rules import RULES, ValidationRule

from .examples import object_schema

Json = Any

_formats = FormatChecker(formats=())


@_formats.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[tT]\d\d:\d\d:\d\d(\.\d+)?([zZ]|[+-]\d\d:\d\d)", value, re.ASCII):
        return False
    dt.datetime.fromisoformat(value[:19].replace("t", "T"))
    return True


def _key(entry: Json, keys: list[str]) -> tuple[Json, ...]:
    return tuple(entry.get(key) for key in keys) if isinstance(entry, dict) else (repr(entry),)


def _distinct(_validator: object, kind: str, value: Json, schema: Json) -> Iterator[ValidationError]:
    if kind == "atomic" or not isinstance(value, list):
        return
    keys = [_key(entry, schema.get("x-kubernetes-list-map-keys", [])) if kind == "map" else entry for entry in value]
    if any(keys.index(key) != index for index, key in enumerate(keys)):
        yield ValidationError("repeated entry")


# Unknown fields are accepted: the server prunes them, and says so only where strict validation is asked for.
_Validator = extend(OAS30Validator, {"x-kubernetes-list-type": _distinct})


_INTEGERS = {"int32": 2**31, "int64": 2**63}


def _as_json_schema(node: Json) -> Json:
    """Put into the validator's words what the server's own words mean."""
    if isinstance(node, list):
        return [_as_json_schema(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    out = {key: _as_json_schema(value) for key, value in node.items() if key not in ("default", "format")}
    if node.get("format") == "date-time":
        out["format"] = "date-time"
    if node.get("format") in _INTEGERS:
        limit = _INTEGERS[node["format"]]
        out = {"minimum": -limit, "maximum": limit - 1} | out
    if isinstance(node.get("pattern"), str):
        out["pattern"] = re.sub(r"\$$", r"\\Z", node["pattern"])  # RE2's $ is the very end, Python's is not
    return out


@functools.cache
def _schema() -> Json:
    return object_schema()


@functools.cache
def _validator() -> Any:
    return _Validator(_as_json_schema(_schema()), format_checker=_formats)


def with_defaults(obj: Json) -> Json:
    """The object as the server stores it: without nulls, and with the defaults of the schema."""
    return _defaulted(_without_nulls(obj, _schema()), _schema())


def _defaulted(value: Json, node: Json) -> Json:
    if isinstance(value, list):
        return [_defaulted(entry, node.get("items", {})) for entry in value]
    if not isinstance(value, dict):
        return value
    fields = node.get("properties", {})
    absent = {name: child["default"] for name, child in fields.items() if "default" in child and name not in value}
    return {key: _defaulted(entry, fields.get(key, {})) for key, entry in value.items()} | absent


def schema_problems(obj: Json) -> list[str]:
    pruned = _without_nulls(obj, _schema())
    return [f"{'.'.join(map(str, error.path))}: {error.message[:200]}" for error in _validator().iter_errors(pruned)]


def _without_nulls(value: Json, node: Json) -> Json:
    """The server drops an explicit null of each field that the schema knows, before it judges."""
    if isinstance(value, list):
        return [_without_nulls(entry, node.get("items", {})) for entry in value]
    if not isinstance(value, dict):
        return value
    fields, others = node.get("properties", {}), node.get("additionalProperties")
    below = {key: fields.get(key, others) for key in value}
    return {
        key: _without_nulls(entry, below[key] or {})
        for key, entry in value.items()
        if entry is not None or below[key] is None
    }


@dataclasses.dataclass(frozen=True)
class Violation:
    """A rule that an object breaks, and the place of `self`."""

    rule: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or '(object)'}: {self.message} [{self.rule}]"


def violations(obj: Json, old: Json = None) -> list[Violation]:
    """Every rule that an object breaks, by CEL; transition rules only where there is an old object.

    The object must have passed the schema: a rule is evaluated only on values of the declared types, as by the server.
    """
    obj, old = _without_nulls(obj, _schema()), _without_nulls(old, _schema())
    return [
        Violation(rule.id, path, rule.message)
        for rule in RULES
        if old is not None or not rule.is_transition
        for path in broken_at(rule, obj, old)
    ]


def broken_at(rule: ValidationRule, obj: Json, old: Json = None) -> list[str]:
    """The places where an object breaks a rule. A transition rule compares nothing where its path is new or removed."""
    before = next((value for _, value in places(old, rule.path)), None) if rule.is_transition else None
    if rule.is_transition and before is None:
        return []
    return [path for path, value in places(obj, rule.path) if not holds(rule, value, before)]


def holds(rule: ValidationRule, value: Json, before: Json = None) -> bool:
    """The verdict of a rule on one value of `self`."""
    verdict = _program(rule.cel).execute({"self": value, "oldSelf": before})
    assert isinstance(verdict, bool), f"{rule.id}: CEL gave {verdict!r}"
    return verdict


@functools.cache
def _program(text: str) -> Any:
    return cel.compile(text)


def places(value: Json, path: str) -> Iterator[tuple[str, Json]]:
    """Each value that a rule's path names, with its concrete path: `spec.env[3]` for `spec.env[]`."""
    yield from _descend(value, path.split(".") if path else [], "")


def _descend(value: Json, steps: list[str], walked: str) -> Iterator[tuple[str, Json]]:
    if not steps:
        yield walked, value
        return
    name, rest = steps[0].removesuffix("[]"), steps[1:]
    if not isinstance(value, dict) or value.get(name) is None:
        return
    walked = f"{walked}.{name}" if walked else name
    if steps[0].endswith("[]"):
        for index, entry in enumerate(value[name]):
            yield from _descend(entry, rest, f"{walked}[{index}]")
    else:
        yield from _descend(value[name], rest, walked)
