"""What the platform team allows: checked before a Pod is made, and answered with what to change.

A DAG author may otherwise run any image as any service account of the namespace. These rules are the controller's
own; cluster-wide ones (Pod Security, ValidatingAdmissionPolicy) stand beside them and are reported as AdmissionDenied.
"""

import fnmatch
from collections.abc import Iterator
from typing import Any

import msgspec

from .observed import TaskSpec

Dict = dict[str, Any]

_replace = msgspec.structs.replace

_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC")


class Policy(msgspec.Struct, frozen=True):
    """The platform's rules. An empty tuple, 0 or None means no rule; patterns are those of a shell (`team-*`)."""

    namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    image_prefixes: tuple[str, ...] = ()
    priority_classes: tuple[str, ...] = ()
    host_access: bool = True
    """Whether hostNetwork, hostPID, hostIPC, hostPort, hostPath and privileged containers may be used."""
    default_run_seconds: int | None = None
    default_total_seconds: int | None = None
    default_ttl_seconds: int | None = None
    max_run_seconds: int | None = None
    max_total_seconds: int | None = None
    max_ttl_seconds: int | None = None
    max_result_bytes: int | None = None
    max_running_pods: int = 0
    """Pods of PodTasks that may live at once in one namespace."""


class PolicyError(Exception):
    """The platform does not allow this task; the message says what to change."""


def with_defaults(spec: TaskSpec, policy: Policy) -> TaskSpec:
    """Fill in the platform's deadlines and time to live where the task sets none; a ceiling is a default too."""
    limits = spec.deadlines
    run = _first(limits.run_seconds, policy.default_run_seconds, policy.max_run_seconds)
    total = _first(limits.total_seconds, policy.default_total_seconds, policy.max_total_seconds)
    ttl = _first(spec.ttl_seconds_after_finished, policy.default_ttl_seconds, policy.max_ttl_seconds)
    if (run, total, ttl) == (limits.run_seconds, limits.total_seconds, spec.ttl_seconds_after_finished):
        return spec
    return _replace(
        spec, deadlines=_replace(limits, run_seconds=run, total_seconds=total), ttl_seconds_after_finished=ttl
    )


def check(spec: TaskSpec, pod: Dict, policy: Policy) -> None:
    """Compare a task and the Pod it would make with the rules. Raises `PolicyError` with everything that is wrong."""
    problems = [*_places(pod, policy), *_images(pod["spec"], policy), *_ceilings(spec, policy)]
    if not policy.host_access:
        problems += _host_access(pod["spec"])
    if problems:
        raise PolicyError("; ".join(problems))


def _places(pod: Dict, policy: Policy) -> Iterator[str]:
    namespace = pod["metadata"]["namespace"]
    if not _allowed(namespace, policy.namespaces):
        yield f"namespace {namespace} may not run PodTasks (allowed: {', '.join(policy.namespaces)})"
    account = pod["spec"].get("serviceAccountName", "default")
    if not _allowed(account, policy.service_accounts):
        yield f"serviceAccountName {account} is not allowed (allowed: {', '.join(policy.service_accounts)})"
    priority = pod["spec"].get("priorityClassName", "")
    if priority and not _allowed(priority, policy.priority_classes):
        yield f"priorityClassName {priority} is not allowed (allowed: {', '.join(policy.priority_classes)})"


def _images(spec: Dict, policy: Policy) -> Iterator[str]:
    for container in _containers(spec):
        image = str(container.get("image", ""))
        if policy.image_prefixes and not image.startswith(policy.image_prefixes):
            allowed = ", ".join(policy.image_prefixes)
            yield f"image {image} of container {container.get('name')} is not allowed (prefixes: {allowed})"


def _host_access(spec: Dict) -> Iterator[str]:
    for field in _HOST_FIELDS:
        if spec.get(field):
            yield f"{field} is not allowed"
    for volume in spec.get("volumes", []):
        if "hostPath" in volume:
            yield f"volume {volume.get('name')} may not be a hostPath"
    for container in _containers(spec):
        if (container.get("securityContext") or {}).get("privileged"):
            yield f"container {container.get('name')} may not be privileged"
        if any(isinstance(port, dict) and port.get("hostPort") for port in container.get("ports") or []):
            yield f"container {container.get('name')} may not open a hostPort"


def _ceilings(spec: TaskSpec, policy: Policy) -> Iterator[str]:
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
            yield f"{field} is {value}, the platform allows at most {most}"


def _containers(spec: Dict) -> list[Dict]:
    return [*spec.get("containers", []), *spec.get("initContainers", [])]


def _allowed(name: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _first(*values: int | None) -> int | None:
    return next((v for v in values if v is not None), None)
