"""What a newer CRD may not do to an older one: what was accepted must be accepted, and no field may vanish."""

from collections.abc import Iterator
from typing import Any

Json = Any

_LOWER = ("minLength", "minimum", "minItems")
_UPPER = ("maxLength", "maximum", "maxItems", "maxProperties")
_FIXED = ("pattern", "format", "x-kubernetes-list-type", "x-kubernetes-list-map-keys")


def breaks(old: Json, new: Json) -> list[str]:
    """Every way in which one CRD is not compatible with an older one."""
    found = list(_envelope(old["spec"], new["spec"]))
    current = {version["name"]: version for version in new["spec"]["versions"]}
    for version in old["spec"]["versions"]:
        if version["name"] not in current or not current[version["name"]]["served"]:
            found.append(f"version {version['name']} is gone")
            continue
        replacement = current[version["name"]]
        found += _version(version, replacement)
        found += _node(version["schema"]["openAPIV3Schema"], replacement["schema"]["openAPIV3Schema"], "")
    return found


def _envelope(old: Json, new: Json) -> Iterator[str]:
    for key in ("group", "scope"):
        if old[key] != new[key]:
            yield f"{key} has changed"
    for key in ("plural", "singular", "kind"):
        if old["names"][key] != new["names"][key]:
            yield f"names.{key} has changed"
    for key, what in (("shortNames", "short name"), ("categories", "category")):
        for name in old["names"].get(key, []):
            if name not in new["names"].get(key, []):
                yield f"{what} {name} is gone"


def _version(old: Json, new: Json) -> Iterator[str]:
    for key in old.get("subresources", {}):
        if key not in new.get("subresources", {}):
            yield f"subresource {key} is gone"
    for field in old.get("selectableFields", []):
        if field not in new.get("selectableFields", []):
            yield f"selectable field {field['jsonPath']} is gone"


def _node(old: Json, new: Json, path: str) -> Iterator[str]:
    name = path or "(object)"
    if old.get("type") != new.get("type"):
        widened = "type" not in new and "pattern" in new and old.get("type") in ("string", "integer")
        if not widened:
            yield f"{name}: type {old.get('type')} became {new.get('type')}"
            return
    yield from _limits(old, new, name)
    for field in set(new.get("required", [])) - set(old.get("required", [])):
        yield f"{name}: {field} is newly required"
    if old.get("x-kubernetes-preserve-unknown-fields") and not new.get("x-kubernetes-preserve-unknown-fields"):
        yield f"{name}: unknown fields are no longer kept"
    if old.get("default") != new.get("default"):
        yield f"{name}: the default has changed"
    yield from _children(old, new, path)


def _limits(old: Json, new: Json, name: str) -> Iterator[str]:
    for key in _LOWER:
        if key in new and new[key] > old.get(key, 0 if key != "minimum" else float("-inf")):
            yield f"{name}: {key} was raised"
    for key in _UPPER:
        if key in new and new[key] < old.get(key, float("inf")):
            yield f"{name}: {key} was lowered"
    for key in _FIXED:
        is_dropped = key == "pattern" and key not in new
        is_widened = key == "format" and (old.get(key), new.get(key)) == ("int32", "int64")
        if new.get(key) != old.get(key) and not is_dropped and not is_widened:
            yield f"{name}: {key} has changed"
    if "enum" in new and ("enum" not in old or set(old["enum"]) - set(new["enum"])):
        yield f"{name}: the enum was narrowed"


def _children(old: Json, new: Json, path: str) -> Iterator[str]:
    for field, child in old.get("properties", {}).items():
        where = f"{path}.{field}".lstrip(".")
        if field in new.get("properties", {}):
            yield from _node(child, new["properties"][field], where)
        else:
            yield f"{where}: removed"
    for field, child in new.get("properties", {}).items():
        if field not in old.get("properties", {}) and "default" in child:
            # A stored object would read as another spec, and its hash would differ (docs/design/0018).
            yield f"{path}.{field}".lstrip(".") + ": a new field with a default"
    if "items" in old:
        yield from _node(old["items"], new.get("items", {}), f"{path}[]")
    if isinstance(old.get("additionalProperties"), dict):
        values = new.get("additionalProperties")
        yield from _node(old["additionalProperties"], values if isinstance(values, dict) else {}, f"{path}{{}}")
