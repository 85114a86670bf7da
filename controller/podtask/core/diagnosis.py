"""Why a Pod has not started: in one reason and the words of whoever holds it up."""

import msgspec

from ..api import names
from ..api.reasons import Reason
from .observed import ContainerStatus, Pod

_PULL_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
        "ErrImageNeverPull",
        "InvalidImageName",
    }
)
_FATAL_PULL_REASONS = frozenset({"ErrImageNeverPull", "InvalidImageName"})
_CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError"})


class Diagnosis(msgspec.Struct, frozen=True):
    """What holds a Pod up."""

    reason: Reason
    message: str
    is_fatal: bool = False
    """No waiting helps."""


def diagnose(pod: Pod) -> Diagnosis | None:
    """Say what holds the Pod up, or None where nothing does, or nothing is known yet."""
    if pod.spec.scheduling_gates:
        gates = ", ".join(gate.name for gate in pod.spec.scheduling_gates)
        return Diagnosis(Reason.SCHEDULING_GATED, f"held by {gates}")
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False" and scheduled.reason != "SchedulingGated":
        missing_claim = "persistentvolumeclaim" in scheduled.message and "not found" in scheduled.message
        reason = Reason.CONFIG_ERROR if missing_claim else Reason.UNSCHEDULABLE
        return Diagnosis(reason, scheduled.message or scheduled.reason)
    statuses = pod.status.init_container_statuses + pod.status.container_statuses
    found = [d for d in map(_container, statuses) if d is not None]
    return next((d for d in found if d.is_fatal), found[0] if found else None)


def is_pulling_badly(pod: Pod) -> bool:
    """Whether an image of the Pod cannot be pulled at the moment."""
    found = diagnose(pod)
    return found is not None and found.reason is Reason.IMAGE_PULL_FAILED


def _container(status: ContainerStatus) -> Diagnosis | None:
    waiting = status.state.waiting
    if waiting is None:
        return None
    who = "the result sidecar" if status.name == names.RESULT_CONTAINER else f"container {status.name}"
    words = f"{who}: {waiting.reason}: {waiting.message}".removesuffix(": ")
    if waiting.reason in _PULL_REASONS:
        return Diagnosis(Reason.IMAGE_PULL_FAILED, words, is_fatal=waiting.reason in _FATAL_PULL_REASONS)
    if waiting.reason in _CONFIG_REASONS:
        return Diagnosis(Reason.CONFIG_ERROR, words)
    return None
