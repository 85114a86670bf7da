"""How the result leaves the Pod: as the main container's termination message (Direct), or by a native sidecar.

The kubelet reads the last 4,096 bytes of a container's message and then cuts every message of the Pod to
12,288 / containers bytes. Two containers more are reckoned with, for what webhooks inject.
"""

import posixpath
from typing import Any

from ..api import names
from ..api.v1alpha1.values import DEFAULT_RESULT_BYTES, DEFAULT_RESULT_PATH
from .observed import Pod, XComSpec
from .plan import Settings

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
    """Give the bytes of a termination message that survive in a Pod of so many containers, init ones included."""
    return min(_MESSAGE_BYTES, _POD_MESSAGE_BYTES // (containers + _SPARE_CONTAINERS))


def is_direct(pod: Pod) -> bool:
    """Whether a Pod of a task with a result delivers without a sidecar."""
    return all(c.name != names.RESULT_CONTAINER for c in pod.spec.init_containers)


def is_message_result(pod: Pod, container: str) -> bool:
    """Whether the container's termination message is its result file, and so not the tail of its log."""
    path = next((c.termination_message_path for c in pod.spec.containers if c.name == container), "")
    return path not in {"", _DEFAULT_MESSAGE_PATH} and is_direct(pod)


def direct_limit(pod: Pod) -> int:
    """Give the bytes at which a direct message counts as cut."""
    return message_bytes(len(pod.spec.containers) + len(pod.spec.init_containers))


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
    wanted = xcom.get("sidecar", {})
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
        "resources": wanted.get("resources") or _resources(pod, main, settings),
        "securityContext": wanted.get("securityContext") or _security_context(pod, main),
        "volumeMounts": [mount],
    }
    if "subPathExpr" in mount:
        # The expression is expanded from the container's own variables.
        sidecar["env"] = [v for v in main.get("env", []) if f"$({v['name']})" in str(mount["subPathExpr"])]
    if settings.image_pull_policy:
        sidecar["imagePullPolicy"] = settings.image_pull_policy
    return sidecar


def _resources(pod: Dict, main: Dict, settings: Settings) -> Dict:
    """Always set, or a quota refuses the Pod; equal where every other container's are, so that it stays Guaranteed."""
    if all(_is_guaranteed(c) for c in [main, *pod["containers"], *pod.get("initContainers", [])]):
        return {"requests": settings.sidecar_limits, "limits": settings.sidecar_limits}
    return {"requests": settings.sidecar_requests, "limits": settings.sidecar_limits}


def _is_guaranteed(container: Dict) -> bool:
    resources = container.get("resources", {})
    limits = resources.get("limits", {})
    requests = {**limits, **resources.get("requests", {})}
    return all(name in limits and str(requests[name]) == str(limits[name]) for name in ("cpu", "memory"))


def _security_context(pod: Dict, main: Dict) -> Dict:
    """Run as who wrote the file: a result with mode 0600 can be read by its owner only."""
    both = {**pod.get("securityContext", {}), **main.get("securityContext", {})}
    settings: Dict = {key: value for key, value in both.items() if value is not None}
    context = dict(_RESTRICTED)
    if "runAsUser" in settings:
        context["runAsUser"] = settings["runAsUser"]
        if "runAsGroup" in settings:
            context["runAsGroup"] = settings["runAsGroup"]
        if settings["runAsUser"] != 0:
            context["runAsNonRoot"] = True
            return context
    elif settings.get("runAsNonRoot"):
        context["runAsUser"] = _SIDECAR_USER
        context["runAsNonRoot"] = True
        return context
    # The image's user is not known and may be root. Root without capabilities cannot read a stranger's file;
    # DAC_OVERRIDE is what the baseline Pod Security level allows, and restricted forbids root anyway.
    context["runAsUser"] = 0
    context["runAsNonRoot"] = False
    context["capabilities"] = {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]}
    return context
