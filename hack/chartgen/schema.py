"""The JSON schema by which helm validates a user's values. It is closed: a misspelt key is an error."""

from __future__ import annotations

import json
from typing import Any

from .values import Value

DIALECT = "http://json-schema.org/draft-07/schema#"
TYPES: dict[type, str] = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}
# Helm sets these in a chart that is a dependency of another.
SET_BY_HELM = {"global": {"type": "object"}, "enabled": {"type": "boolean"}}


def schema(values: tuple[Value, ...]) -> str:
    """Return the text of values.schema.json."""
    root = _object(values)
    root["properties"] |= SET_BY_HELM
    return json.dumps({"$schema": DIALECT, **root}, indent=2, ensure_ascii=False) + "\n"


def _object(values: tuple[Value, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {value.path[-1]: _node(value) for value in values},
    }


def _node(value: Value) -> dict[str, Any]:
    if value.children:
        return _object(value.children)
    kind = TYPES.get(type(value.default))
    if kind is None and "type" not in value.extra:
        raise TypeError(f"{value.name}: the default {value.default!r} has no type; name one in its @schema line")
    return {"type": kind, "description": value.description} | value.extra
