"""How the result leaves the Pod: as the main container's termination message (Direct), or by a native sidecar.

The kubelet reads the last 4,096 bytes of a container's message and then cuts every message of the Pod to
12,288 / containers bytes, init and ephemeral ones included. A promise reckons with two containers more, for what
webhooks inject; what has arrived is judged by the containers that there are.
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
    """Give the bytes of a termination message that survive in a Pod that is created with so many containers."""
    return _surviving_bytes(containers + _SPARE_CONTAINERS)


def _surviving_bytes(containers: int) -> int:
    return min(_MESSAGE_BYTES, _POD_MESSAGE_BYTES // containers)


def is_direct(pod: Pod) -> bool:
    """Whether a Pod of a task with a result delivers without a sidecar."""
    return all(c.name != names.RESULT_CONTAINER for c in pod.spec.init_containers)


def is_message_result(pod: Pod, container: str) -> bool:
    """Whether the container's termination message is its result file, and so not the tail of its log."""
    path = next((c.termination_message_path for c in pod.spec.containers if c.name == container), "")
    return path not in {"", _DEFAULT_MESSAGE_PATH} and is_direct(pod)


def direct_limit(pod: Pod) -> int:
    """Give the bytes at which a direct message counts as cut."""
    spec = pod.spec
    return _surviving_bytes(len(spec.containers) + len(spec.init_containers) + len(spec.ephemeral_containers) or 1)


def max_bytes(xcom: XComSpec) -> int:
    """Give the largest result that is accepted."""
    return xcom.max_bytes or DEFAULT_RESULT_BYTES


def attach(pod: Dict, main_name: str, xcom: Dict, settings: Settings) -> None:
    """Add the transport of the result to a Pod's spec, in place."""
    path = xcom.get("path", DEFAULT_RESULT_PATH)
    main = next(c for c in pod["containers"] if c["name"] == main_name)
    if _choose_direct(pod, xcom):
        main["terminationMessagePath"] = path
        # With the log as a fallback nobody could tell a result from the last words of a failure.
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
    # Last among the init containers: sidecars are told to stop in reverse order, so this one is told first.
    pod["initContainers"] = [*inits, _sidecar(pod, main, xcom, settings, {**mount, "readOnly": True}, path, count)]


def _choose_direct(pod: Dict, xcom: Dict) -> bool:
    mode = xcom.get("mode", "Auto")
    if mode == "Direct":
        return True
    containers = len(pod["containers"]) + len(pod.get("initContainers", []))
    promised = xcom.get("maxBytes", DEFAULT_RESULT_BYTES)
    # Where a failed task's file is wanted the sidecar stays, so that its log tail is not given up for it.
    return bool(promised < message_bytes(containers) and xcom.get("onFailure", "Drop") == "Drop")


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
    """Always set, or a quota refuses the Pod; equal where every other container's are, so that it stays Guaranteed.

    What the Pod as a whole has an amount of is left out: the sum of the containers' may not be more than that.
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
    """Run as who wrote the file: a result with mode 0600 can be read by its owner only.

    With the mode none the platform gives the user to each container that has none, and the Pod's own is inherited.
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
    # The image's user is not known and may be root. Root without capabilities cannot read a stranger's file;
    # DAC_OVERRIDE is what the baseline Pod Security level allows, and restricted forbids root anyway.
    context["runAsUser"] = 0
    context["runAsNonRoot"] = False
    context["capabilities"] = {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]}
    return context
