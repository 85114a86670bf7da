"""The platform's policy for tasks. It is checked before each create of a Pod; the message says what to change.

Without it the author of a DAG can run any image as any service account of the namespace. The controller enforces this
policy itself. Rules of the cluster (Pod Security, ValidatingAdmissionPolicy) apply in addition and are reported as
AdmissionDenied. The check sees the finished Pod, so it does not matter which field of the spec a value came from.
"""

import fnmatch
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from ..api.v1alpha1.values import DEFAULT_RESULT_BYTES
from .snapshot import TaskSpec

Dict = dict[str, Any]

_replace = msgspec.structs.replace

_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC", "hostUsers")

_HARMLESS_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
"""Capabilities that the baseline Pod Security level allows. Our sidecar may need DAC_OVERRIDE."""

_SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
"""Sysctls that the baseline Pod Security level allows: the kernel keeps them apart for each Pod."""

_SELINUX_TYPES = frozenset({"container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
"""SELinux types that the baseline Pod Security level allows."""

_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"

_PROBES = (
    ("livenessProbe",),
    ("readinessProbe",),
    ("startupProbe",),
    ("lifecycle", "postStart"),
    ("lifecycle", "preStop"),
)
"""Fields of a container with requests that the kubelet sends, from the node's network."""


class Policy(msgspec.Struct, frozen=True):
    """The platform's policy. An empty tuple or None means that nothing is restricted."""

    namespaces: tuple[str, ...] = ()
    """Shell patterns (`team-*`), as in `service_accounts` and `priority_classes`."""
    service_accounts: tuple[str, ...] = ()
    image_prefixes: tuple[str, ...] = ()
    """`team/` and `registry.example.com/team` allow all images below; `python`, without slash or host, is one image."""
    priority_classes: tuple[str, ...] = ()
    host_access: bool = True
    """Whether a Pod may set nodeName or what the baseline Pod Security level forbids (host namespaces, hostPath)."""
    default_run_seconds: int | None = None
    default_total_seconds: int | None = None
    default_ttl_seconds: int | None = None
    max_run_seconds: int | None = None
    max_total_seconds: int | None = None
    max_ttl_seconds: int | None = None
    max_result_bytes: int | None = None
    max_spec_bytes: int | None = None
    """Maximum length of a spec as JSON. The cache does not keep a longer one."""
    max_running_pods: int | None = None
    """Maximum number of Pods of PodTasks that run at once in a namespace."""


class PolicyError(Exception):
    """The policy forbids this task. The message says what to change."""


def with_defaults(spec: TaskSpec, policy: Policy) -> TaskSpec:
    """Fill in the platform's defaults where the task sets no value. A ceiling is also a default."""
    limits, xcom = spec.deadlines, spec.xcom
    run = _first(limits.run_seconds, policy.default_run_seconds, policy.max_run_seconds)
    total = _first(limits.total_seconds, policy.default_total_seconds, policy.max_total_seconds)
    ttl = _first(spec.ttl_seconds_after_finished, policy.default_ttl_seconds, policy.max_ttl_seconds)
    most = policy.max_result_bytes
    if xcom is not None and xcom.max_bytes is None and most is not None:
        xcom = _replace(xcom, max_bytes=min(DEFAULT_RESULT_BYTES, most))
    now = (limits.run_seconds, limits.total_seconds, spec.ttl_seconds_after_finished)
    if (run, total, ttl) == now and xcom is spec.xcom:
        return spec
    deadlines = _replace(limits, run_seconds=run, total_seconds=total)
    return _replace(spec, deadlines=deadlines, ttl_seconds_after_finished=ttl, xcom=xcom)


def oversize(spec_bytes: int, policy: Policy) -> str:
    """Return the message for a spec above `max_spec_bytes`, or an empty string."""
    most = policy.max_spec_bytes
    if most is None or spec_bytes <= most:
        return ""
    return f"spec has {spec_bytes} bytes, the platform's ceiling is {most}"


def check(spec: TaskSpec, pod: Dict, policy: Policy, sidecar_image: str) -> None:
    """Check a task and its Pod against the policy. Raises `PolicyError` with all violations."""
    problems = [
        *_names(pod, policy),
        *_images(pod["spec"], policy, sidecar_image),
        *(() if policy.host_access else _host_access(pod)),
        *excesses(spec, policy),
    ]
    if problems:
        raise PolicyError("the platform's policy forbids this task: " + "; ".join(problems))


def excesses(spec: TaskSpec, policy: Policy) -> Iterator[str]:
    """Yield a message for each value above the platform's ceilings."""
    asked = (
        ("deadlines.runSeconds", spec.deadlines.run_seconds, policy.max_run_seconds),
        ("deadlines.totalSeconds", spec.deadlines.total_seconds, policy.max_total_seconds),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished, policy.max_ttl_seconds),
        ("ttlSecondsAfterSucceeded", spec.ttl_seconds_after_succeeded, policy.max_ttl_seconds),
        ("ttlSecondsAfterFailed", spec.ttl_seconds_after_failed, policy.max_ttl_seconds),
        ("xcom.maxBytes", spec.xcom.max_bytes if spec.xcom else None, policy.max_result_bytes),
    )
    for field, value, most in asked:
        if value is not None and most is not None and value > most:
            yield f"{field} is {value}, the platform's ceiling is {most}"


def _names(pod: Dict, policy: Policy) -> Iterator[str]:
    spec = pod["spec"]
    namespace = pod["metadata"]["namespace"]
    if not _fits(namespace, policy.namespaces):
        yield f"namespace {namespace} may not run PodTasks, use one of: {', '.join(policy.namespaces)}"
    # The API server accepts the field's old name too. A Pod with neither runs as `default`.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    if not _fits(account, policy.service_accounts):
        allowed = ", ".join(policy.service_accounts)
        yield f"serviceAccountName {account} is not allowed, use one of: {allowed}"
    priority = spec.get("priorityClassName")
    if priority and not _fits(priority, policy.priority_classes):
        allowed = ", ".join(policy.priority_classes)
        yield f"priorityClassName {priority} is not allowed, leave it out or use one of: {allowed}"


def _images(spec: Dict, policy: Policy, sidecar_image: str) -> Iterator[str]:
    if not policy.image_prefixes:
        return
    allowed = ", ".join(policy.image_prefixes)
    used = [(f"container {c.name}", c.fields.get("image")) for c in _containers(spec)]
    used += [
        (f"volume {volume.get('name')}", source.get("reference"))
        for volume in _maps(spec, "volumes")
        if isinstance(source := volume.get("image"), dict)
    ]
    for where, image in used:
        name = str(image or "")
        if name != sidecar_image and not any(_is_below(name, prefix) for prefix in policy.image_prefixes):
            yield f"image {name!r} of {where} is not allowed, use one below: {allowed}"


def _is_below(image: str, prefix: str) -> bool:
    """Whether an image's name begins with all parts of the prefix. `host:5000/x` is not below `host`."""
    whole = prefix.rstrip("/")
    if not image.startswith(whole):
        return False
    rest = image[len(whole) :]
    if rest.startswith("/"):
        return prefix.endswith("/") or _has_host(prefix)
    return not prefix.endswith("/") and (not rest or (rest[0] in ":@" and "/" not in rest))


def _has_host(prefix: str) -> bool:
    """Whether a name begins with a registry's host. `python` is an image, `python/x` one of another user."""
    first, slash, _ = prefix.partition("/")
    host, colon, _ = first.partition(":")
    return "." in host or host == "localhost" or bool(colon and slash)


def _host_access(pod: Dict) -> Iterator[str]:
    spec = pod["spec"]
    for field in _HOST_FIELDS:
        if spec.get(field):
            yield f"{field} is not allowed, leave it out"
    if spec.get("nodeName"):
        yield "nodeName is not allowed, use nodeSelector"
    if _is_host_process(spec):
        yield "securityContext.windowsOptions.hostProcess is not allowed, leave it out"
    yield from _pod_context(_map(spec.get("securityContext")))
    for key, value in _map(pod["metadata"].get("annotations")).items():
        if key.startswith(_APPARMOR_ANNOTATION) and value == "unconfined":
            yield f"annotation {key} may not be {value!r}, leave it out"
    for volume in _maps(spec, "volumes"):
        if volume.get("hostPath") is not None:
            yield f"volume {volume.get('name')} may not be a hostPath, use another kind of volume"
    for container in _containers(spec):
        yield from (f"container {container.name} {problem}" for problem in _reach(container.fields))


def _pod_context(context: Dict) -> Iterator[str]:
    yield from (f"the Pod {problem}" for problem in _unconfined(context))
    names = [str(sysctl.get("name")) for sysctl in _maps(context, "sysctls")]
    if unsafe := [name for name in names if name not in _SAFE_SYSCTLS]:
        yield f"the sysctls {', '.join(unsafe)} are not allowed, leave them out"


def _unconfined(context: Dict) -> Iterator[str]:
    """Yield a message for each confinement that a security context of a Pod or container turns off."""
    for field in ("seccompProfile", "appArmorProfile"):
        if _map(context.get(field)).get("type") == "Unconfined":
            yield f"may not be Unconfined, leave securityContext.{field} out"
    options = _map(context.get("seLinuxOptions"))
    kind = options.get("type")
    if kind and str(kind) not in _SELINUX_TYPES:
        yield f"may not have the SELinux type {kind}, leave it out"
    for field in ("user", "role"):
        if options.get(field):
            yield f"may not set seLinuxOptions.{field}, leave it out"


def _reach(container: Dict) -> Iterator[str]:
    """Yield a message for each access of one container to its node."""
    context = _map(container.get("securityContext"))
    if context.get("privileged"):
        yield "may not be privileged, leave securityContext.privileged out"
    if (context.get("procMount") or "Default") != "Default":
        yield "may not change procMount, leave it out"
    if _is_host_process(container):
        yield "may not set windowsOptions.hostProcess, leave it out"
    yield from _unconfined(context)
    added = _map(context.get("capabilities")).get("add")
    wrong = [str(name) for name in _list(added) if str(name).removeprefix("CAP_") not in _HARMLESS_CAPABILITIES]
    if wrong:
        yield f"may not add capabilities {', '.join(wrong)}, leave them out"
    ports = [str(port["hostPort"]) for port in _maps(container, "ports") if port.get("hostPort")]
    if ports:
        yield f"may not open a hostPort ({', '.join(ports)}), use containerPort alone"
    yield from (f"may not set {field}.host, leave it out" for field in _requests_elsewhere(container))


def _requests_elsewhere(container: Dict) -> Iterator[str]:
    """Yield the fields with requests that the kubelet would send to another host than the Pod."""
    for path in _PROBES:
        handler = container
        for part in path:
            handler = _map(handler.get(part))
        for kind in ("httpGet", "tcpSocket"):
            if _map(handler.get(kind)).get("host"):
                yield ".".join((*path, kind))


def _is_host_process(part: Dict) -> bool:
    return bool(_map(_map(part.get("securityContext")).get("windowsOptions")).get("hostProcess"))


class _Container(NamedTuple):
    name: str
    fields: Dict


def _containers(spec: Dict) -> Iterator[_Container]:
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in _maps(spec, field):
            yield _Container(str(container.get("name")), container)


# A value of the wrong type is ignored here. The API server refuses it, and its message names the field.


def _maps(part: Dict, field: str) -> list[Dict]:
    return [item for item in _list(part.get(field)) if isinstance(item, dict)]


def _map(value: object) -> Dict:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _fits(name: object, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(str(name), pattern) for pattern in patterns)


def _first(*values: int | None) -> int | None:
    return next((v for v in values if v is not None), None)
