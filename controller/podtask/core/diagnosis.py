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
_CONFIG_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError"}
)


class Diagnosis(msgspec.Struct, frozen=True):
    """What holds a Pod up."""

    reason: Reason
    message: str
    is_fatal: bool = False
    """No waiting helps."""
    is_echo: bool = False
    """It only says that the same is tried again later; what was said before has the cause."""


REASONS = frozenset(
    {
        Reason.SCHEDULING_GATED,
        Reason.UNSCHEDULABLE,
        Reason.IMAGE_PULL_FAILED,
        Reason.CONFIG_ERROR,
        Reason.XCOM_SIDECAR_FAILED,
        Reason.INIT_CONTAINER_FAILED,
    }
)
"""What a diagnosis can say."""


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
    return min(found, key=lambda d: (not d.is_fatal, d.is_echo), default=None)


def is_pulling_badly(pod: Pod) -> bool:
    """Whether an image of the Pod cannot be pulled at the moment."""
    statuses = pod.status.init_container_statuses + pod.status.container_statuses
    return any(s.state.waiting is not None and s.state.waiting.reason in _PULL_REASONS for s in statuses)


def _container(status: ContainerStatus) -> Diagnosis | None:
    waiting = status.state.waiting
    if waiting is None:
        return None
    who = "the result sidecar" if status.name == names.RESULT_CONTAINER else f"container {status.name}"
    words = f"{who}: {waiting.reason}: {waiting.message}".removesuffix(": ")
    if waiting.reason in _PULL_REASONS:
        fatal, echo = waiting.reason in _FATAL_PULL_REASONS, waiting.reason == "ImagePullBackOff"
        return Diagnosis(Reason.IMAGE_PULL_FAILED, words, is_fatal=fatal, is_echo=echo)
    if waiting.reason in _CONFIG_REASONS:
        return Diagnosis(Reason.CONFIG_ERROR, words)
    if waiting.reason == "CrashLoopBackOff":
        # Only a native sidecar is restarted, and what comes after it does not start until it runs.
        failed = Reason.XCOM_SIDECAR_FAILED if status.name == names.RESULT_CONTAINER else Reason.INIT_CONTAINER_FAILED
        return Diagnosis(failed, words)
    return None
