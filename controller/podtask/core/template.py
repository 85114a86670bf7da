"""Read the whole spec to build a Pod: refuse what cannot be merged, and drop nulls that mean "absent".

The CRD defines types for few fields of the template. Only the fields that the merge uses are checked here. The API
server checks the rest, and its message names the field.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from .snapshot import Task, spec_as_dict

Dict = dict[str, Any]

_DEEPEST = 100
"""Maximum depth of a spec. No Pod is so deep, and the JSON encoder fails at 254."""


_TEXT_LIMIT = 256
"""Characters of a user's text that a message quotes; the message in the status is limited."""


class TemplateError(Exception):
    """No Pod can be built from the template. The message says what to change."""


class _Map(NamedTuple):
    fields: Mapping[str, "_Map | _List"] = {}


class _List(NamedTuple):
    key: str
    item: _Map = _Map()
    may_repeat: bool = False


_CONTAINER = _Map(
    {
        "env": _List("name", may_repeat=True),
        "volumeMounts": _List("mountPath"),
        "resources": _Map({"limits": _Map(), "requests": _Map()}),
        "securityContext": _Map(),
    }
)
_POD = _Map(
    {
        "containers": _List("name", _CONTAINER),
        "initContainers": _List("name", _CONTAINER),
        "volumes": _List("name"),
        "resources": _Map({"limits": _Map(), "requests": _Map()}),
        "nodeSelector": _Map(),
        "securityContext": _Map(),
    }
)
_SPEC = _Map(
    {
        "template": _Map({"metadata": _Map({"labels": _Map(), "annotations": _Map()}), "spec": _POD}),
        "initContainers": _List("name", _CONTAINER),
        "volumes": _List("name"),
        "volumeMounts": _List("mountPath"),
    }
)


def read(task: Task) -> Dict:
    """Return the spec as new dicts that the caller may change. Raises `TemplateError`."""
    try:
        spec = spec_as_dict(task)
    except RecursionError as error:
        raise TemplateError("spec is nested too deeply") from error
    _check_depth(spec)
    _check_map(spec, _SPEC, "spec")
    return spec


def _check_depth(spec: Dict) -> None:
    level: list[Any] = [spec]
    for _ in range(_DEEPEST):
        level = [child for part in level for child in _children(part)]
        if not level:
            return
    raise TemplateError("spec is nested too deeply")


def _children(part: object) -> list[Any]:
    if isinstance(part, dict):
        return list(part.values())
    return list(part) if isinstance(part, list) else []


def _check_map(part: Dict, shape: _Map, where: str) -> None:
    for field, inner in shape.fields.items():
        value = part.get(field)
        if value is None:
            part.pop(field, None)
        elif isinstance(inner, _Map):
            if not isinstance(value, dict):
                raise TemplateError(f"{where}.{field} must be a map")
            _check_map(value, inner, f"{where}.{field}")
        else:
            _check_list(value, inner, f"{where}.{field}")


def _check_list(value: object, shape: _List, where: str) -> None:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise TemplateError(f"{where} must be a list of maps")
    seen: set[str] = set()
    for index, item in enumerate(value):
        key = item.get(shape.key)
        if not isinstance(key, str):
            raise TemplateError(f"{where}[{index}].{shape.key} must be a string")
        if key in seen and not shape.may_repeat:
            # The API server refuses it too, but the merge by this key would have dropped the first one before.
            shown = key[:_TEXT_LIMIT]
            raise TemplateError(f"{where}[{index}].{shape.key} must be unique in its list: {shown} occurs twice")
        seen.add(key)
        _check_map(item, shape.item, f"{where}[{index}]")
