"""How the Pod delivers the result: as the main container's termination message (Direct), or by a native sidecar.

The kubelet reads the last 4,096 bytes of a termination message, then truncates each message of the Pod to 12,288 bytes
divided by the number of containers, init and ephemeral ones included. The limit for a new Pod assumes two containers
more, which webhooks may inject. The limit for a received message counts the containers that the Pod has.
"""

import posixpath
from typing import Any

from ..api import names
from ..api.v1alpha1.values import DEFAULT_RESULT_BYTES, DEFAULT_RESULT_PATH
from . import merge, quantity
from .pod import Pod
from .settings import Settings
from .snapshot import XComSpec

Dict = dict[str, Any]

_MESSAGE_BYTES = 4096
_POD_MESSAGE_BYTES = 12_288
_SPARE_CONTAINERS = 2
_DEFAULT_MESSAGE_PATH = "/dev/termination-log"
_SIDECAR_USER = 65_532
_RESTRICTED: Dict = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def message_bytes(containers: int) -> int:
    """Return the bytes that a termination message may have in a new Pod with this number of containers."""
    return _kept_bytes(containers + _SPARE_CONTAINERS)


def _kept_bytes(containers: int) -> int:
    return min(_MESSAGE_BYTES, _POD_MESSAGE_BYTES // containers)


def is_direct(pod: Pod) -> bool:
    """Whether the Pod of a task with a result has no sidecar."""
    return all(c.name != names.RESULT_CONTAINER for c in pod.spec.init_containers)


def is_message_result(pod: Pod, container: str) -> bool:
    """Whether the container's termination message is the result, and not the end of its log."""
    path = next((c.termination_message_path for c in pod.spec.containers if c.name == container), "")
    return path not in {"", _DEFAULT_MESSAGE_PATH} and is_direct(pod)


def direct_limit(pod: Pod) -> int:
    """Return the length in bytes from which on a direct message may have been truncated."""
    spec = pod.spec
    return _kept_bytes(len(spec.containers) + len(spec.init_containers) + len(spec.ephemeral_containers) or 1)


def max_bytes(xcom: XComSpec) -> int:
    """Return the maximum size of the result in bytes."""
    return xcom.max_bytes or DEFAULT_RESULT_BYTES


def attach(pod: Dict, main_name: str, xcom: Dict, settings: Settings) -> None:
    """Add the delivery of the result to a Pod's spec, in place: a message path, or sidecar and volume."""
    path = xcom.get("path", DEFAULT_RESULT_PATH)
    main = next(c for c in pod["containers"] if c["name"] == main_name)
    if _choose_direct(pod, xcom):
        main["terminationMessagePath"] = path
        # With the log as a fallback, the end of a failure's log would look like a result.
        main["terminationMessagePolicy"] = "File"
        return
    directory = posixpath.dirname(path)
    mounts = list(main.get("volumeMounts", []))
    shared = next((m for m in mounts if posixpath.normpath(m.get("mountPath", "")) == directory), None)
    if shared is None:
        shared = {"name": names.RESULT_VOLUME, "mountPath": directory}
        main["volumeMounts"] = [*mounts, shared]
        pod["volumes"] = [*pod.get("volumes", []), {"name": names.RESULT_VOLUME, "emptyDir": {}}]
    mount = {key: shared[key] for key in ("name", "mountPath", "subPath", "subPathExpr") if key in shared}
    inits = list(pod.get("initContainers", []))
    count = len(pod["containers"]) + len(inits) + 1
    # The last init container: the kubelet stops sidecars in reverse order, so this one first.
    pod["initContainers"] = [*inits, _sidecar(pod, main, xcom, settings, {**mount, "readOnly": True}, path, count)]


def _choose_direct(pod: Dict, xcom: Dict) -> bool:
    mode = xcom.get("mode", "Auto")
    if mode == "Direct":
        return True
    containers = len(pod["containers"]) + len(pod.get("initContainers", []))
    limit = xcom.get("maxBytes", DEFAULT_RESULT_BYTES)
    # With onFailure Keep a sidecar is needed, so that the termination message can still have the end of the log.
    return bool(limit < message_bytes(containers) and xcom.get("onFailure", "Drop") == "Drop")


def _sidecar(pod: Dict, main: Dict, xcom: Dict, settings: Settings, mount: Dict, path: str, count: int) -> Dict:
    wanted = xcom.get("sidecar") or {}
    resources, context = wanted.get("resources"), wanted.get("securityContext")
    sidecar: Dict = {
        "name": names.RESULT_CONTAINER,
        "image": settings.sidecar_image,
        "restartPolicy": "Always",
        "args": [
            f"--path={path}",
            f"--max-bytes={xcom.get('maxBytes', DEFAULT_RESULT_BYTES)}",
            f"--inline-bytes={message_bytes(count)}",
        ],
        "terminationMessagePolicy": "File",
        "resources": _resources(pod, main, settings) if resources is None else resources,
        "securityContext": _security_context(pod, main, settings) if context is None else context,
        "volumeMounts": [mount],
    }
    if "subPathExpr" in mount:
        # The expression is expanded from the container's own variables.
        sidecar["env"] = merge.env_for(main.get("env", []), str(mount["subPathExpr"]))
    if settings.image_pull_policy:
        sidecar["imagePullPolicy"] = settings.image_pull_policy
    return sidecar


def _resources(pod: Dict, main: Dict, settings: Settings) -> Dict:
    """Return the sidecar's resources: always set, because a quota may require them.

    Requests equal limits if that is so for all other containers, so that the Pod stays Guaranteed. Resources that are
    set for the whole Pod are omitted, because the sum of the containers may not exceed them.
    """
    requests, limits = settings.sidecar_requests, settings.sidecar_limits
    if all(_is_guaranteed(c) for c in [main, *pod["containers"], *pod.get("initContainers", [])]):
        requests = limits = {**requests, **limits}
    shared = pod.get("resources", {})
    covered = {*shared.get("limits", {}), *shared.get("requests", {})}
    both = {"requests": requests, "limits": limits}
    return {kind: {name: of[name] for name in of if name not in covered} for kind, of in both.items()}


def _is_guaranteed(container: Dict) -> bool:
    resources = container.get("resources", {})
    limits = resources.get("limits", {})
    requests = {**limits, **resources.get("requests", {})}
    return all(name in limits and quantity.is_same(requests[name], limits[name]) for name in ("cpu", "memory"))


def _security_context(pod: Dict, main: Dict, settings: Settings) -> Dict:
    """Return the sidecar's security context. Its user is that of the task's container, which owns the result file.

    With the mode none, only a user that the task's container sets is copied: the platform sets that of the others.
    """
    own: Dict = {key: value for key, value in main.get("securityContext", {}).items() if value is not None}
    if settings.sidecar_security_context == "none":
        return {**_RESTRICTED, **{key: own[key] for key in ("runAsUser", "runAsGroup", "runAsNonRoot") if key in own}}
    inherited = {key: value for key, value in pod.get("securityContext", {}).items() if value is not None}
    wanted = {**inherited, **own}
    context = dict(_RESTRICTED)
    if "runAsUser" in wanted:
        context["runAsUser"] = wanted["runAsUser"]
        if "runAsGroup" in wanted:
            context["runAsGroup"] = wanted["runAsGroup"]
        if wanted["runAsUser"] != 0:
            context["runAsNonRoot"] = True
            return context
    elif wanted.get("runAsNonRoot"):
        context["runAsUser"] = _SIDECAR_USER
        context["runAsNonRoot"] = True
        return context
    # The image's user is not known and may be root. Root without capabilities cannot read another user's file.
    # The baseline Pod Security level allows DAC_OVERRIDE; restricted forbids root anyway.
    context["runAsUser"] = 0
    context["runAsNonRoot"] = False
    context["capabilities"] = {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]}
    return context
