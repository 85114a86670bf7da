"""What the API server would say, without one: its schema through a JSON schema validator, its rules through CEL."""

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

from podtask.api.v1alpha1.rule import Rule, at, places

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


def _as_json_schema(node: Json) -> Json:
    """Put into the validator's words what the server's own words mean."""
    if isinstance(node, list):
        return [_as_json_schema(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    out = {key: _as_json_schema(value) for key, value in node.items() if key not in ("default", "format")}
    if node.get("format") == "date-time":
        out["format"] = "date-time"
    if isinstance(node.get("pattern"), str):
        out["pattern"] = re.sub(r"\$$", r"\\Z", node["pattern"])  # RE2's $ is the very end, Python's is not
    return out


@functools.cache
def _schema() -> Json:
    return object_schema()


@functools.cache
def _validator() -> Any:
    return _Validator(_as_json_schema(_schema()), format_checker=_formats)


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


@functools.cache
def _program(rule: Rule) -> Any:
    return cel.compile(rule.cel)


def holds_by_cel(rule: Rule, value: Json, before: Json) -> bool:
    verdict = _program(rule).execute({"self": value, "oldSelf": before if before is not None else {}})
    assert isinstance(verdict, bool), f"{rule.id}: CEL gave {verdict!r}"
    return verdict


def broken_by_cel(rule: Rule, obj: Json, old: Json = None) -> list[str]:
    """The places where CEL says that a rule is broken."""
    if rule.is_transition and old is None:
        return []
    before = at(old, *rule.path.split(".")) if rule.is_transition and rule.path else old
    return [path for path, value in places(obj, rule) if not holds_by_cel(rule, value, before)]


def broken_by_python(rule: Rule, obj: Json, old: Json = None) -> list[str]:
    if rule.is_transition and old is None:
        return []
    before = at(old, *rule.path.split(".")) if rule.is_transition and rule.path else old
    return [path for path, value in places(obj, rule) if not rule.holds(value, before)]
