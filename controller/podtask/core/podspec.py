"""Build the Pod of an attempt: the template, the convenience fields, our labels and references, the XCom sidecar.

The same task and attempt always give the same Pod. Errors that the API server would report are left to it, because its
message names the field. Refused here is only what breaks our guarantees or the platform's policy.
"""

from typing import Any

from ..api import names
from . import identity, merge, policy, template, xcom_injection
from .policy import PolicyError
from .settings import Settings
from .snapshot import Task, spec_hash
from .template import TemplateError

__all__ = ["PolicyError", "TemplateError"]

Dict = dict[str, Any]

_CONTAINER_FIELDS = {
    "image": "image",
    "command": "command",
    "args": "args",
    "workingDir": "workingDir",
    "envFrom": "envFrom",
    "ports": "ports",
    "imagePullPolicy": "imagePullPolicy",
    "terminationMessagePolicy": "terminationMessagePolicy",
}
"""Fields of spec, and the fields of the main container that they replace."""

_POD_FIELDS = (
    "affinity",
    "tolerations",
    "serviceAccountName",
    "automountServiceAccountToken",
    "imagePullSecrets",
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
"""Fields of spec that replace the Pod's field of the same name."""


def build(task: Task, attempt: int, name: str, settings: Settings) -> Dict:
    """Build the whole Pod manifest. Raises `TemplateError` or `PolicyError`."""
    spec = template.read(task)
    pod_spec = _pod_spec(spec, task.spec.container_name)
    wanted = policy.with_defaults(task.spec, settings.policy)
    if wanted.xcom is not None:
        xcom = {**spec["xcom"], "maxBytes": xcom_injection.max_bytes(wanted.xcom)}
        xcom_injection.attach(pod_spec, task.spec.container_name, xcom, settings)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(task, spec, attempt, name),
        "spec": pod_spec,
    }
    policy.check(wanted, pod, settings.policy, settings.sidecar_image)
    return pod


def _metadata(task: Task, spec: Dict, attempt: int, name: str) -> Dict:
    wanted = spec.get("template", {}).get("metadata", {})
    queue = {names.LABEL_QUEUE: spec["queueName"]} if "queueName" in spec else {}
    meta = task.metadata
    # The hash is of the original spec, nulls included. The next attempt compares its spec with it.
    return {
        "name": name,
        "namespace": meta.namespace,
        "labels": {**wanted.get("labels", {}), **queue, **identity.pod_labels(meta.name, meta.uid, attempt)},
        "annotations": {
            **wanted.get("annotations", {}),
            names.ANNOTATION_TASK: meta.name,
            names.ANNOTATION_SPEC_HASH: spec_hash(task),
        },
        "finalizers": [names.FINALIZER],
        "ownerReferences": [identity.owner_reference(meta.name, meta.uid)],
    }


def _pod_spec(spec: Dict, container_name: str) -> Dict:
    pod = dict(spec.get("template", {}).get("spec", {}))
    pod["restartPolicy"] = "Never"
    # Otherwise thousands of Services in the namespace exceed the size of the environment (seen at 6,000 Spark tasks).
    pod.setdefault("enableServiceLinks", False)
    containers = [dict(c) for c in pod.get("containers", [])]
    main = next((c for c in containers if c["name"] == container_name), None)
    if main is None:
        main = {"name": container_name}
        containers.insert(0, main)
    _merge_container(main, spec)
    pod["containers"] = containers
    for field in _POD_FIELDS:
        if field in spec:
            pod[field] = spec[field]
    if pod.get("terminationGracePeriodSeconds") == 0:
        # With 0 every DELETE is forced: the API server removes the Pod while its containers run.
        pod["terminationGracePeriodSeconds"] = 1
    if "nodeSelector" in spec:
        pod["nodeSelector"] = {**pod.get("nodeSelector", {}), **spec["nodeSelector"]}
    if "securityContext" in spec:
        pod["securityContext"] = merge.overlay(pod.get("securityContext", {}), spec["securityContext"])
    if "initContainers" in spec:
        pod["initContainers"] = merge.by_name(pod.get("initContainers", []), spec["initContainers"])
    if "volumes" in spec:
        pod["volumes"] = merge.replace_by_name(pod.get("volumes", []), spec["volumes"])
    _refuse_restarts(pod)
    return pod


def _refuse_restarts(pod: Dict) -> None:
    """Refuse restarts of ordinary containers by the kubelet, because an attempt ends only once."""
    for kind, allowed in (("containers", "Never"), ("initContainers", "Always")):
        for container in pod.get(kind, []):
            where = f"{kind}: {container['name']}"
            if container.get("restartPolicy") not in (None, allowed):
                raise TemplateError(
                    f"restartPolicy of {where} may only be {allowed}: attempts are counted by spec.backoffLimit"
                )
            if container.get("restartPolicyRules"):
                raise TemplateError(f"restartPolicyRules of {where} may not be set: use spec.failurePolicy")


def _merge_container(main: Dict, spec: Dict) -> None:
    for field, target in _CONTAINER_FIELDS.items():
        if field in spec:
            main[target] = spec[field]
    # The Pod's status then has the end of a failed container's log.
    main.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    if "env" in spec or "env" in main:
        main["env"] = merge.env(main.get("env", []), spec.get("env", []))
    if "volumeMounts" in spec:
        main["volumeMounts"] = merge.replace_by_name(main.get("volumeMounts", []), spec["volumeMounts"], "mountPath")
    if "resources" in spec:
        main["resources"] = merge.overlay(main.get("resources", {}), spec["resources"])
    if "containerSecurityContext" in spec:
        main["securityContext"] = merge.overlay(main.get("securityContext", {}), spec["containerSecurityContext"])
