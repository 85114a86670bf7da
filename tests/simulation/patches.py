"""The two kinds of PATCH that the controller sends, as the API server carries them out."""

from typing import Any

Object = dict[str, Any]

_DELETE_FROM = "$deleteFromPrimitiveList/"


def merge(target: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic(target: Any, patch: Any) -> Any:
    """Strategic merge patch, as far as it is used here: maps, values, and deletion from lists of values."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM):
            name = key.removeprefix(_DELETE_FROM)
            left = [item for item in result.get(name, []) if item not in value]
            result.pop(name, None)
            if left:
                result[name] = left
        elif value is None:
            result.pop(key, None)
        elif key == "finalizers":
            result[key] = [*result.get(key, []), *(item for item in value if item not in result.get(key, []))]
        else:
            result[key] = strategic(result.get(key), value)
    return result
