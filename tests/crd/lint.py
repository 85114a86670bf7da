"""A structural lint, written apart from the generator so that each finds the other's mistakes.

It knows what a structural schema may hold, and what we ask beyond: a maximum on every string, list and map, a width
for every integer, defaults for scalars only, a plain description on every field, no floats.
"""

from collections.abc import Iterator
from typing import Any

Json = Any

_ALLOWED = {
    "string": {"minLength", "maxLength", "pattern", "enum", "format", "default"},
    "integer": {"minimum", "maximum", "format", "default"},
    "boolean": {"default"},
    "array": {"items", "minItems", "maxItems", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"},
    "object": {
        "properties", "required", "additionalProperties", "maxProperties", "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-map-type",
    },
}  # fmt: skip
_ANYWHERE = {"type", "description", "x-kubernetes-validations"}
_AMOUNT = {
    "x-kubernetes-preserve-unknown-fields", "description", "minimum", "maximum", "minLength", "maxLength", "pattern",
    "minItems", "maxItems", "minProperties", "maxProperties", "not",
}  # fmt: skip


_NEITHER: dict[str, Any] = {
    "maxItems": 0,
    "minItems": 1,
    "maxProperties": 0,
    "minProperties": 1,
    "not": {"enum": [True, False]},
}
"""No list, no map and no bool."""


def problems(root: Json) -> list[str]:
    """All that is wrong with the schema of a whole object."""
    found = list(_root(root))
    for part in ("spec", "status"):
        found += _node(root["properties"][part], part, may_default=part == "status")
    return found


def _description(text: str, name: str, path: str) -> Iterator[str]:
    """`kubectl explain` shows the text: a sentence, and no file that its reader does not have."""
    if not text[:1].isupper() or not text.endswith("."):
        yield f"{path}: a description begins with a capital letter and ends with a full stop"
    if text.split(" ", maxsplit=1)[0] == name or "docs/" in text:
        yield f"{path}: a description that repeats the field's name or refers to a file"
    if text.count("Default: ") > 1:
        yield f"{path}: two defaults"


def _root(root: Json) -> Iterator[str]:
    if root.get("type") != "object" or root.get("required") != ["spec"]:
        yield "(root): an object that requires spec"
    if set(root["properties"]) != {"apiVersion", "kind", "metadata", "spec", "status"}:
        yield "(root): other fields than an object has"
    if root["properties"]["metadata"] != {"type": "object"}:
        yield "metadata: may be constrained by name only"
    for name in ("apiVersion", "kind"):
        if set(root["properties"][name]) != {"type", "description"}:
            yield f"{name}: only a described string"


def _node(node: Json, path: str, *, may_default: bool = False) -> Iterator[str]:
    if "type" not in node and "pattern" in node:
        yield from _unknown(node, _AMOUNT, path)
        if not node.get("x-kubernetes-preserve-unknown-fields"):
            yield f"{path}: without a type only what keeps unknown fields is structural"
        if "maxLength" not in node or any(node.get(key) != want for key, want in _NEITHER.items()):
            yield f"{path}: no maxLength, or more than numbers and texts"
        return
    kind = node.get("type")
    if kind not in _ALLOWED:
        yield f"{path}: type {kind!r}"
        return
    yield from _unknown(node, _ALLOWED[kind] | _ANYWHERE | ({"default"} if may_default else set()), path)
    yield from {"string": _string, "integer": _integer, "array": _array, "object": _object}.get(kind, _nothing)(
        node, path
    )


def _unknown(node: Json, known: set[str], path: str) -> Iterator[str]:
    for key in sorted(node.keys() - known):
        yield f"{path}: {key}"


def _nothing(_node_: Json, _path: str) -> Iterator[str]:
    yield from ()


def _string(node: Json, path: str) -> Iterator[str]:
    if not {"maxLength", "enum"} & node.keys() and node.get("format") != "date-time":
        yield f"{path}: no maxLength"
    if "enum" in node and node.get("default", node["enum"][0]) not in node["enum"]:
        yield f"{path}: the default is none of the values"
    if len(set(node.get("enum", []))) != len(node.get("enum", [])):
        yield f"{path}: an enum that repeats itself"


def _integer(node: Json, path: str) -> Iterator[str]:
    bits = {"int32": 31, "int64": 63}.get(node.get("format", ""), 0)
    low, high = node.get("minimum", -(2**bits)), node.get("maximum", 2**bits - 1)
    if not bits or not -(2**bits) <= low <= high < 2**bits:
        yield f"{path}: an integer needs int32 or int64 and bounds within it"
    if not low <= node.get("default", low) <= high:
        yield f"{path}: the default is out of bounds"


def _array(node: Json, path: str) -> Iterator[str]:
    if "maxItems" not in node:
        yield f"{path}: no maxItems"
    items = node.get("items", {})
    keys = node.get("x-kubernetes-list-map-keys", [])
    if (node.get("x-kubernetes-list-type") == "map") is not bool(keys):
        yield f"{path}: a map-list and its keys go together"
    for key in keys:
        if key not in items.get("required", []):
            yield f"{path}: the key {key} is not required"
    yield from _node(items, f"{path}[]")


def _object(node: Json, path: str) -> Iterator[str]:
    keeps = node.get("x-kubernetes-preserve-unknown-fields")
    if "additionalProperties" in node:
        if not isinstance(node["additionalProperties"], dict):
            yield f"{path}: additionalProperties without a schema"
            return
        if "properties" in node or keeps or "maxProperties" not in node:
            yield f"{path}: a map has a maximum, and neither properties nor unknown fields"
        yield from _node(node["additionalProperties"], f"{path}{{}}")
        return
    if "properties" not in node and not keeps:
        yield f"{path}: an object of nothing"
    for name, child in node.get("properties", {}).items():
        yield from _description(child.get("description", ""), name, f"{path}.{name}")
        yield from _node(child, f"{path}.{name}")
    for name in node.get("required", []):
        if name not in node.get("properties", {}):
            yield f"{path}: {name} is required and not there"
