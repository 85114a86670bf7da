"""Show a PodTask's Pod to code that was written for Pods, and take over what that code changed.

Airflow's pod_mutation_hook and KubernetesPodOperator's on_pod_manifest_created expect a V1Pod that is whole. It is put
together from the template and the fields of spec, much as the controller will do it. Only where something was changed
does the changed Pod become the template, and the fields that it covers leave spec: so a hook may also take away, and
what the kubernetes package does not know is kept. The result's sidecar is the controller's and is not shown.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from . import names
from .template import lay_variables

Object = dict[str, Any]

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


def pod_of(podtask: Object) -> Object:
    """Put the Pod together that the PodTask will become, without names, owner and sidecar."""
    spec = podtask["spec"]
    template = copy.deepcopy(spec.get("template") or {})
    pod_spec = template.get("spec") or {}
    main = spec.get("containerName", names.DEFAULT_CONTAINER)
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


def mutated(podtask: Object, hooks: Iterable[Callable[[Any], Any]]) -> Object:
    """Let each hook change the Pod as a V1Pod, and give the PodTask with what they changed."""
    shown = pod_of(podtask)
    model = as_model(shown)
    before = as_data(model)
    for hook in hooks:
        hook(model)
    after = as_data(model)
    return podtask if after == before else _with_pod(podtask, _changed(shown, before, after))


def as_model(pod: Object) -> Any:
    """Make a V1Pod of a Pod's JSON."""
    api = _api()
    text = json.dumps(pod)
    if "content_type" in inspect.signature(api.deserialize).parameters:
        return api.deserialize(text, "V1Pod", "application/json")
    return api.deserialize(SimpleNamespace(data=text), "V1Pod")


def as_data(model: Any) -> Object:
    """Make JSON of a V1Pod."""
    data: Object = _api().sanitize_for_serialization(model)
    return data


def _api() -> Any:
    from kubernetes.client import ApiClient, Configuration

    configuration = Configuration()
    # A template may lack what a Pod must have; the API server judges that, not the model.
    configuration.client_side_validation = False
    return ApiClient(configuration)


def _fold(target: Object, spec: Object, fields: dict[str, str], lists: dict[str, str]) -> None:
    for field, name in fields.items():
        if field not in spec:
            continue
        below, over = target.get(name), copy.deepcopy(spec[field])
        both = isinstance(below, dict) and isinstance(over, dict) and field not in {"affinity", "dnsConfig"}
        target[name] = _overlay(below, over) if both else over
    for field, key in lists.items():
        if field in spec:
            below, over = target.get(field) or [], copy.deepcopy(spec[field])
            target[field] = lay_variables(below, over) if field == "env" else _joined(field, key, below, over)


def _joined(field: str, key: str, below: list[Object], over: list[Object]) -> list[Object]:
    """Join lists by name, by the controller's rules: an init container is merged, of anything else the last wins."""
    entries: dict[Any, Object] = {}
    for entry in (*below, *over):
        merged = entries.get(entry.get(key), {}) if field == "initContainers" else {}
        entries[entry.get(key)] = {**merged, **entry}
    return list(entries.values())


def _overlay(below: Any, over: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(over, dict):
        return over
    return {**below, **{key: _overlay(below.get(key), value) for key, value in over.items()}}


def _changed(shown: Any, before: Any, after: Any) -> Any:
    """Apply what changed from before to after; what the models do not know is only in `shown`, and stays."""
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


def _with_pod(podtask: Object, pod: Object) -> Object:
    template_name = ((podtask["spec"].get("template") or {}).get("metadata") or {}).get("name")
    metadata = {key: pod["metadata"][key] for key in ("labels", "annotations") if pod["metadata"].get(key)}
    wanted = pod["metadata"].get("name")
    if template_name is not None or wanted != podtask["metadata"]["name"]:
        metadata["name"] = wanted
    spec = {key: value for key, value in podtask["spec"].items() if key not in _COVERED}
    outer = dict(podtask["metadata"])
    if pod["metadata"].get("namespace"):
        outer["namespace"] = pod["metadata"]["namespace"]
    return {**podtask, "metadata": outer, "spec": {**spec, "template": {"metadata": metadata, "spec": pod["spec"]}}}
