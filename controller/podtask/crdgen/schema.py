"""Converts pydantic's JSON schema into the structural schema that a CustomResourceDefinition requires.

A construct that is not listed below raises InexpressibleError with its path, because the API server silently drops some
of what it does not know. The lint in tests/crd is an independent implementation, to find defects of this one.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

Node = dict[str, Any]
Inside = tuple[str, ...]

_WIDTHS = {"int32": range(-(2**31), 2**31), "int64": range(-(2**63), 2**63)}
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_MARKS = frozenset({"x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"})
_NEITHER: Node = {
    "minItems": 1,
    "maxItems": 0,
    "minProperties": 1,
    "maxProperties": 0,
    "not": {"enum": [True, False]},
}
"""Limits that no list, no map and no boolean satisfies."""
_EVERYWHERE = frozenset({"title", "description", "type"})


class InexpressibleError(ValueError):
    """A model uses a construct that a structural schema does not have, or that this generator does not know."""


class _WithoutNull(GenerateJsonSchema):
    """Generates `X | None = None` as an optional X: the server drops explicit nulls and has no type for them."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        return inner if schema.get("default", ...) is None else super().default_schema(schema)


def structural(model: type[BaseModel]) -> Node:
    """Return the structural schema of a model, descriptions included."""
    schema = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_WithoutNull)
    definitions = schema.pop("$defs", {})
    return _Rewriter(definitions).node(schema, model.__name__, ())


class _Rewriter:
    def __init__(self, definitions: Mapping[str, Node]) -> None:
        self._definitions = definitions
        self._by_type: dict[str, Callable[[Node, str, Inside], Node]] = {
            "string": self._string,
            "integer": self._integer,
            "boolean": self._boolean,
            "array": self._array,
            "object": self._object,
        }

    def node(self, schema: Node, path: str, inside: Inside) -> Node:
        """Convert one node. `inside` holds the names of the enclosing definitions, to refuse recursion."""
        if "$ref" in schema:
            return self._inlined(schema, path, inside)
        if "anyOf" in schema:
            return self._amount(schema, path)
        kind = schema.get("type")
        if kind not in self._by_type:
            raise InexpressibleError(f"{path}: no single known type, but {_shown(schema)}")
        out: Node = {"type": kind}
        if "description" in schema:
            out["description"] = " ".join(schema["description"].split())
        return out | self._by_type[kind](schema, path, inside)

    def _inlined(self, schema: Node, path: str, inside: Inside) -> Node:
        name = schema["$ref"].removeprefix("#/$defs/")
        if name in inside:
            raise InexpressibleError(f"{path}: {name} contains itself")
        _only(schema, path, {"$ref", "description", "default"})
        return self.node(
            self._definitions[name] | {k: v for k, v in schema.items() if k != "$ref"}, path, (*inside, name)
        )

    def _string(self, schema: Node, path: str, _inside: Inside) -> Node:
        _only(schema, path, {"minLength", "maxLength", "pattern", "enum", "const", "format", "default"})
        out = _picked(schema, "minLength", "maxLength", "pattern", "enum", "format", "default")
        if "const" in schema:
            out["enum"] = [schema["const"]]
        if schema.get("format") not in {None, "date-time"}:
            raise InexpressibleError(f"{path}: format {schema['format']}")
        if not out.keys() & {"maxLength", "enum", "format"}:
            raise InexpressibleError(f"{path}: a string without a maximum length")
        return out

    def _integer(self, schema: Node, path: str, _inside: Inside) -> Node:
        _only(schema, path, {"minimum", "maximum", "default"})
        width = _width(schema, path)
        low, high = _WIDTHS[width][0], _WIDTHS[width][-1]
        # A bound that the width itself sets is left out, as in Kubernetes' own schemas.
        bounds = {"minimum": schema["minimum"], "maximum": schema["maximum"]}
        return (
            {"format": width}
            | _picked(schema, "default")
            | {key: bound for key, bound in bounds.items() if bound not in {low, high}}
        )

    def _boolean(self, schema: Node, path: str, _inside: Inside) -> Node:
        _only(schema, path, {"default"})
        return _picked(schema, "default")

    def _array(self, schema: Node, path: str, inside: Inside) -> Node:
        _only(schema, path, {"minItems", "maxItems", "items"} | _MARKS)
        if "maxItems" not in schema:
            raise InexpressibleError(f"{path}: a list without a maximum")
        out = _picked(schema, "minItems", "maxItems", *sorted(_MARKS))
        out.setdefault("x-kubernetes-list-type", "atomic")
        return out | {"items": self.node(schema["items"], f"{path}[]", inside)}

    def _object(self, schema: Node, path: str, inside: Inside) -> Node:
        if "properties" not in schema:
            return self._map(schema, path, inside)
        _only(schema, path, {"properties", "required", "additionalProperties", _PRESERVE} | _MARKS)
        if schema.get("additionalProperties", False) is not bool(schema.get(_PRESERVE)):
            raise InexpressibleError(f"{path}: extra fields are allowed here, but not marked {_PRESERVE}")
        properties = {name: self.node(child, f"{path}.{name}", inside) for name, child in schema["properties"].items()}
        return _picked(schema, "required", _PRESERVE, *sorted(_MARKS)) | {"properties": properties}

    def _map(self, schema: Node, path: str, inside: Inside) -> Node:
        _only(schema, path, {"additionalProperties", "maxProperties", _PRESERVE} | _MARKS)
        values = schema.get("additionalProperties")
        if values is True and schema.get(_PRESERVE):
            return _picked(schema, "maxProperties", _PRESERVE)
        if not isinstance(values, dict) or _PRESERVE in schema:
            raise InexpressibleError(f"{path}: an object without properties, value type or {_PRESERVE}")
        if "maxProperties" not in schema:
            raise InexpressibleError(f"{path}: a map without a maximum")
        return _picked(schema, "maxProperties", *sorted(_MARKS)) | {
            "additionalProperties": self.node(values, f"{path}{{}}", inside)
        }

    def _amount(self, schema: Node, path: str) -> Node:
        """Write the schema of a number or a string. No single type allows both, and int-or-string refuses `0.5`.

        So the node has no type. Each limit applies to values of its own type, and lists, maps and booleans are refused
        by limits that none of them satisfies.
        """
        _only(schema, path, {"anyOf", _PRESERVE})
        branches = {branch.get("type"): branch for branch in schema["anyOf"]}
        if branches.keys() != {"integer", "number", "string"} or not schema.get(_PRESERVE):
            raise InexpressibleError(f"{path}: no single known type, but {_shown(schema)}")
        whole, number, text = branches["integer"], branches["number"], branches["string"]
        self.node(whole, f"{path}(integer)", ())
        _only(number, f"{path}(number)", {"minimum", "maximum"})
        if any(number.get(bound) != whole[bound] for bound in ("minimum", "maximum")):
            raise InexpressibleError(f"{path}: a number and an integer with bounds of their own")
        out: Node = {_PRESERVE: True}
        if "description" in schema:
            out["description"] = " ".join(schema["description"].split())
        limits = self.node(text, f"{path}(string)", ())
        return (
            out | _picked(whole, "minimum", "maximum") | _picked(limits, "minLength", "maxLength", "pattern") | _NEITHER
        )


def _width(schema: Node, path: str) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None or high is None:
        raise InexpressibleError(f"{path}: an integer without both bounds")
    for width, values in _WIDTHS.items():
        if low in values and high in values:
            return width
    raise InexpressibleError(f"{path}: bounds beyond 64 bits")


def _only(schema: Node, path: str, known: set[str]) -> None:
    unknown = schema.keys() - known - _EVERYWHERE
    if unknown:
        raise InexpressibleError(f"{path}: {', '.join(sorted(unknown))} in {_shown(schema)}")


def _picked(schema: Node, *keys: str) -> Node:
    return {key: schema[key] for key in keys if key in schema}


def _shown(schema: object) -> str:
    return repr(schema)[:200]
