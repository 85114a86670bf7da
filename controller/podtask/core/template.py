"""Read the whole spec for building a Pod: refuse what cannot be merged, and drop nulls where they mean "absent".

The CRD types few fields of the template, so anything may stand there. Only what the merge touches is looked at; the
rest is left to the API server, whose message names the field.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from .snapshot import Task, spec_as_dict

Dict = dict[str, Any]

_DEEPEST = 100
"""No Pod nests so deeply, and the JSON writer gives up at 254."""


_TEXT_LIMIT = 256
"""A message quotes what a person wrote, and the status has a limit."""


class TemplateError(Exception):
    """The template cannot be made into a Pod of ours; the message says what to change."""


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
    """Decode the spec into fresh maps that may be changed. Raises `TemplateError`."""
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
        level = [below for part in level for below in _children(part)]
        if not level:
            return
    raise TemplateError("spec is nested too deeply")


def _children(part: object) -> list[Any]:
    if isinstance(part, dict):
        return list(part.values())
    return list(part) if isinstance(part, list) else []


def _check_map(part: Dict, shape: _Map, where: str) -> None:
    for field, below in shape.fields.items():
        value = part.get(field)
        if value is None:
            part.pop(field, None)
        elif isinstance(below, _Map):
            if not isinstance(value, dict):
                raise TemplateError(f"{where}.{field} must be a map")
            _check_map(value, below, f"{where}.{field}")
        else:
            _check_list(value, below, f"{where}.{field}")


def _check_list(value: object, shape: _List, where: str) -> None:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise TemplateError(f"{where} must be a list of maps")
    seen: set[str] = set()
    for place, item in enumerate(value):
        key = item.get(shape.key)
        if not isinstance(key, str):
            raise TemplateError(f"{where}[{place}].{shape.key} must be a text")
        if key in seen and not shape.may_repeat:
            # Kubernetes refuses it, and a merge by this key would lose the first of them.
            shown = key[:_TEXT_LIMIT]
            raise TemplateError(f"{where}[{place}].{shape.key} must be unique in its list: {shown} stands there twice")
        seen.add(key)
        _check_map(item, shape.item, f"{where}[{place}]")
