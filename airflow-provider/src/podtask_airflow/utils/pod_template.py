"""The Pod template of a task: pod_template_file, pod_template_dict and full_pod_spec, merged for `spec.template`.

The controller merges the operator's other arguments into the template, and the API server validates the Pod and names
a wrong field. Here only those parts are changed that PodTask's API defines differently.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..api_types import JsonObject
from . import converters, validators

Render = Callable[[str], Any]
"""Renders a text by Jinja; with native rendering the result may be an object."""

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
"""What Kubernetes expands in the value of a variable; `$$(NAME)` is escaped."""
_METADATA_FIELDS = ("name", "namespace", "labels", "annotations")
_SET_BY_SERVER = (
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
"""Fields of a Pod that was read from a cluster; they are dropped."""


class TemplateError(ValueError):
    """A Pod template cannot be used. The message says what to change."""


def base_template(
    pod_template_file: str | None,
    pod_template_dict: JsonObject | None,
    full_pod_spec: JsonObject | None,
    render: Render | None = None,
) -> JsonObject:
    """Return `{metadata, spec}`: the file or the dict, with full_pod_spec merged over it by name."""
    parts = []
    if pod_template_file is not None:
        parts.append(_pod(_load(pod_template_file, render), f"pod_template_file {pod_template_file}"))
    if pod_template_dict is not None:
        parts.append(_pod(pod_template_dict, "pod_template_dict"))
    if full_pod_spec is not None:
        parts.append(_pod(full_pod_spec, "full_pod_spec"))
    result: JsonObject = {"metadata": {}, "spec": {}}
    for part in parts:
        result = {
            "metadata": overlay(result["metadata"], part["metadata"]),
            "spec": _overlay_pod(result["spec"], part["spec"]),
        }
    return result


def overlay(base: JsonObject, over: JsonObject) -> JsonObject:
    """Merge objects recursively; any other value of `over` replaces, and None removes."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = overlay(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result


def _load(path: str, render: Render | None) -> Any:
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise TemplateError(
            f"pod_template_file {path} cannot be read where the task runs ({reason}); give a path that exists there"
        ) from error
    if render is None:
        return text
    from jinja2 import TemplateError as JinjaError

    try:
        return render(text)
    except JinjaError as error:
        line = f", line {error.lineno}" if getattr(error, "lineno", None) else ""
        raise TemplateError(
            f"pod_template_file {path}{line}: Jinja cannot render it ({error}); the whole file is rendered, so put text"
            " with other braces, such as Vault's templates, between {% raw %} and {% endraw %}"
        ) from error


def _pod(value: Any, where: str) -> JsonObject:
    try:
        pod = validators.mapping(converters.to_dict(value))
    except ValueError as error:
        raise TemplateError(f"{where} {error}") from error
    _check_shape(pod, where)
    return {"metadata": _metadata(pod.get("metadata") or {}, where), "spec": _spec(pod.get("spec") or {}, where)}


def _check_shape(pod: JsonObject, where: str) -> None:
    kind = (pod.get("apiVersion", "v1"), pod.get("kind", "Pod"))
    if kind != ("v1", "Pod"):
        raise TemplateError(f"{where} is a {kind[0]} {kind[1]}; give a v1 Pod, or only its metadata and spec")
    unknown = sorted(set(pod) - {"apiVersion", "kind", "metadata", "spec", "status"})
    if unknown:
        raise TemplateError(
            f"{where} has {unknown[0]!r} beside metadata and spec; the fields of a Pod belong below spec"
        )
    for part in ("metadata", "spec"):
        if not isinstance(pod.get(part) or {}, dict):
            raise TemplateError(f"{where} has a {part} that is not an object")


def _metadata(metadata: JsonObject, where: str) -> JsonObject:
    other = sorted(set(metadata) - set(_METADATA_FIELDS) - set(_SET_BY_SERVER))
    if other:
        raise TemplateError(
            f"{where} has metadata.{other[0]}, which a PodTask cannot have; keep only {', '.join(_METADATA_FIELDS)}"
        )
    try:
        return {
            key: validators.texts_by_name(value) if isinstance(value, dict) else validators.text(value)
            for key, value in metadata.items()
            if key in _METADATA_FIELDS
        }
    except ValueError as error:
        raise TemplateError(f"{where} has metadata that {error}") from error


def _spec(spec: JsonObject, where: str) -> JsonObject:
    # KubernetesPodOperator sets Never, and a Pod that was read from a cluster has Always.
    spec = {key: value for key, value in spec.items() if key != "restartPolicy"}
    for field in ("containers", "initContainers"):
        if field in spec:
            spec[field] = [
                _container(entry, f"{where} has in {field}") for entry in _entries(spec[field], where, field)
            ]
            _check_repeats(spec[field], "name", f"{where}: {field}")
            for entry in spec[field]:
                _check_repeats(entry.get("volumeMounts"), "mountPath", f"{where}: {field}: {entry['name']}")
    _check_repeats(spec.get("volumes"), "name", f"{where}: volumes")
    return spec


def _check_repeats(entries: Any, key: str, where: str) -> None:
    """Raise for two entries with one name, as the API server would: they are merged by name."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return
    names_ = [entry.get(key) for entry in entries]
    twice = [name for name in names_ if names_.count(name) > 1]
    if twice:
        raise TemplateError(f"{where} has two entries with the {key} {twice[0]!r}; Kubernetes takes one, so remove one")


def _entries(value: Any, where: str, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise TemplateError(f"{where} has spec.{field} that is not a list")
    return value


def _container(container: JsonObject | None, where: str) -> JsonObject:
    if not isinstance(container, dict) or not isinstance(container.get("name"), str):
        raise TemplateError(f"{where} an entry without a name; containers are found by their names")
    if isinstance(container.get("env"), list):
        try:
            container = {**container, "env": validators.variables(container["env"])}
        except ValueError as error:
            raise TemplateError(f"{where} {container['name']}, whose env {error}") from error
    return container


def _overlay_pod(base: JsonObject, over: JsonObject) -> JsonObject:
    result = overlay(base, over)
    for field in ("containers", "initContainers"):
        if field in base and field in over:
            result[field] = _by_name(base[field], over[field], _overlay_container)
    if isinstance(base.get("volumes"), list) and isinstance(over.get("volumes"), list):
        result["volumes"] = _by_name(base["volumes"], over["volumes"], lambda _, volume: volume)
    return result


def _overlay_container(base: JsonObject, over: JsonObject) -> JsonObject:
    result = overlay(base, over)
    if isinstance(base.get("env"), list) and isinstance(over.get("env"), list):
        result["env"] = merge_variables(base["env"], over["env"])
    return result


def merge_variables(base: list[JsonObject], over: list[JsonObject]) -> list[JsonObject]:
    """Merge variables by the controller's rules: the last of a name wins, and references to earlier ones still expand.

    Kubernetes expands $(NAME) from earlier entries of the list, and accepts a name twice: the second may extend the
    first. So a variable takes the index of the one that it replaces, if all that it refers to is before that index;
    otherwise both are kept, and it follows what it refers to.
    """
    slots = [[variable] for variable in base]
    found: dict[Any, list[int]] = {}
    for slot, variable in enumerate(base):
        found.setdefault(variable.get("name"), []).append(slot)
    replaceable = set(found)
    for variable in over:
        name = variable.get("name")
        if name not in replaceable:
            found.setdefault(name, []).append(len(slots))
            slots.append([variable])
            continue
        replaceable.remove(name)
        own = found[name]
        references = _REFERENCE.findall(str(variable.get("value") or ""))
        needed = [found[other] for other in references if other in found]
        if all(indexes[0] < own[0] for indexes in needed):
            for slot in own:
                slots[slot] = [other for other in slots[slot] if other.get("name") != name]
            slots[own[0]].insert(0, variable)
            found[name] = own[:1]
        else:
            behind = max(own[-1], *(indexes[-1] for indexes in needed))
            slots[behind].append(variable)
            own.append(behind)
    return [variable for slot in slots for variable in slot]


def _by_name(
    base: list[JsonObject], over: list[JsonObject], merge: Callable[[JsonObject, JsonObject], JsonObject]
) -> list[JsonObject]:
    merged = {entry.get("name"): entry for entry in base}
    for entry in over:
        name = entry.get("name")
        merged[name] = merge(merged[name], entry) if name in merged else entry
    return list(merged.values())
