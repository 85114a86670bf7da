"""Apply hooks that change a V1Pod to a PodTask.

Airflow's pod_mutation_hook and KubernetesPodOperator's on_pod_manifest_created expect a complete V1Pod. It is merged
from the template and the fields of spec by the controller's rules. Only if a hook has changed it does it become the
template, and the fields that it covers are removed from spec: so a hook may also remove parts, and fields that the
kubernetes package does not know are kept. The controller adds the result's sidecar later, so hooks do not see it.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from .. import constants
from ..api_types import JsonObject, ObjectMeta, PodTask
from .pod_template import merge_variables

_CONTAINER_FIELDS = {
    "image": "image",
    "command": "command",
    "args": "args",
    "workingDir": "workingDir",
    "envFrom": "envFrom",
    "ports": "ports",
    "imagePullPolicy": "imagePullPolicy",
    "terminationMessagePolicy": "terminationMessagePolicy",
    "resources": "resources",
    "containerSecurityContext": "securityContext",
}
_POD_FIELDS = (
    "affinity",
    "tolerations",
    "nodeSelector",
    "serviceAccountName",
    "automountServiceAccountToken",
    "imagePullSecrets",
    "securityContext",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "hostNetwork",
    "hostAliases",
    "hostname",
    "subdomain",
    "dnsPolicy",
    "dnsConfig",
    "terminationGracePeriodSeconds",
)
_LISTS = {"env": "name", "volumeMounts": "mountPath"}
_POD_LISTS = {"volumes": "name", "initContainers": "name"}
_COVERED = frozenset({*_CONTAINER_FIELDS, *_POD_FIELDS, *_LISTS, *_POD_LISTS, "template"})


def pod_of(podtask: PodTask) -> JsonObject:
    """Return the Pod that the controller will create, without its final name, its owner reference and the sidecar."""
    spec = podtask["spec"]
    template = copy.deepcopy(spec.get("template") or {})
    pod_spec = template.get("spec") or {}
    main = spec.get("containerName", constants.DEFAULT_CONTAINER)
    containers = pod_spec.get("containers") or []
    if all(container["name"] != main for container in containers):
        containers.insert(0, {"name": main})
    for container in containers:
        if container["name"] == main:
            _fold(container, spec, _CONTAINER_FIELDS, _LISTS)
    pod_spec["containers"] = containers
    _fold(pod_spec, spec, {field: field for field in _POD_FIELDS}, _POD_LISTS)
    metadata = {**(template.get("metadata") or {})}
    metadata.setdefault("name", podtask["metadata"]["name"])
    if "namespace" in podtask["metadata"]:
        metadata["namespace"] = podtask["metadata"]["namespace"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec}


def mutated(podtask: PodTask, hooks: Iterable[Callable[[Any], object]]) -> PodTask:
    """Call each hook with the Pod as a V1Pod, and return the PodTask with their changes."""
    shown = pod_of(podtask)
    model = as_model(shown)
    before = as_data(model)
    for hook in hooks:
        hook(model)
    after = as_data(model)
    return podtask if after == before else _with_pod(podtask, _changed(shown, before, after))


def as_model(pod: JsonObject) -> Any:
    """Convert a Pod's JSON to a V1Pod."""
    api = _api()
    text = json.dumps(pod)
    if "content_type" in inspect.signature(api.deserialize).parameters:
        return api.deserialize(text, "V1Pod", "application/json")
    return api.deserialize(SimpleNamespace(data=text), "V1Pod")


def as_data(model: Any) -> JsonObject:
    """Convert a V1Pod to JSON."""
    data: JsonObject = _api().sanitize_for_serialization(model)
    return data


def _api() -> Any:
    from kubernetes.client import ApiClient, Configuration

    configuration = Configuration()
    # A template may lack required fields of a Pod; the API server validates that, not the model.
    configuration.client_side_validation = False
    return ApiClient(configuration)


def _fold(target: JsonObject, spec: JsonObject, fields: dict[str, str], lists: dict[str, str]) -> None:
    for field, name in fields.items():
        if field not in spec:
            continue
        below, over = target.get(name), copy.deepcopy(spec[field])
        both = isinstance(below, dict) and isinstance(over, dict) and field not in {"affinity", "dnsConfig"}
        target[name] = _overlay(below, over) if both else over
    for field, key in lists.items():
        if field in spec:
            below, over = target.get(field) or [], copy.deepcopy(spec[field])
            target[field] = merge_variables(below, over) if field == "env" else _joined(field, key, below, over)


def _joined(field: str, key: str, below: list[JsonObject], over: list[JsonObject]) -> list[JsonObject]:
    """Merge lists by name, by the controller's rules: init containers are merged, of other entries the last wins."""
    entries: dict[Any, JsonObject] = {}
    for entry in (*below, *over):
        merged = entries.get(entry.get(key), {}) if field == "initContainers" else {}
        entries[entry.get(key)] = {**merged, **entry}
    return list(entries.values())


def _overlay(below: Any, over: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(over, dict):
        return over
    return {**below, **{key: _overlay(below.get(key), value) for key, value in over.items()}}


def _changed(shown: Any, before: Any, after: Any) -> Any:
    """Apply the changes from before to after to `shown`, which also holds the fields that the models do not know."""
    if before == after:
        return shown
    if isinstance(shown, dict) and isinstance(before, dict) and isinstance(after, dict):
        kept = {key: value for key, value in shown.items() if key not in before}
        return kept | {key: _changed(shown.get(key), before.get(key), value) for key, value in after.items()}
    if isinstance(shown, list) and isinstance(after, list) and isinstance(before, list) and len(shown) == len(before):
        at = {_key(entry): index for index, entry in enumerate(before)}
        found = [(at.get(_key(entry)), entry) for entry in after]
        return [entry if i is None else _changed(shown[i], before[i], entry) for i, entry in found]
    return after


def _key(entry: Any) -> str:
    return str(entry["name"]) if isinstance(entry, dict) and "name" in entry else json.dumps(entry, sort_keys=True)


def _with_pod(podtask: PodTask, pod: JsonObject) -> PodTask:
    template_name = ((podtask["spec"].get("template") or {}).get("metadata") or {}).get("name")
    metadata = {key: pod["metadata"][key] for key in ("labels", "annotations") if pod["metadata"].get(key)}
    wanted = pod["metadata"].get("name")
    if template_name is not None or wanted != podtask["metadata"]["name"]:
        metadata["name"] = wanted
    spec = {key: value for key, value in podtask["spec"].items() if key not in _COVERED}
    outer: ObjectMeta = {**podtask["metadata"]}
    if pod["metadata"].get("namespace"):
        outer["namespace"] = pod["metadata"]["namespace"]
    return {**podtask, "metadata": outer, "spec": {**spec, "template": {"metadata": metadata, "spec": pod["spec"]}}}
