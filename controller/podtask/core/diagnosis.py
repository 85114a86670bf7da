"""Why a Pod has not started: in one reason and the words of whoever holds it up."""

import msgspec

from ..api import names
from ..api.reasons import Reason
from .pod import ContainerStatus, Pod
from .snapshot import PodEvent, PodEvents

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


_UNTOUCHED = frozenset({"ContainerCreating", "PodInitializing"})

_NODE_EVENTS = frozenset(
    {
        "FailedMount",
        "FailedAttachVolume",
        "FailedMapVolume",
        "FailedCreatePodContainer",
        "FailedCreatePodSandBox",
        "FailedPodSandBoxStatus",
        "FailedPrepareDynamicResources",
        "NetworkNotReady",
    }
)
"""What a node says of a Pod whose containers it cannot start yet: volumes, devices, the sandbox and its network."""
_SUMMARY = "Unable to attach or mount volumes"
"""Begins the kubelet's list of all volumes that are missing; what it says of each one has the cause."""


class Diagnosis(msgspec.Struct, frozen=True):
    """What holds a Pod up."""

    reason: Reason
    message: str
    is_fatal: bool = False
    """No waiting helps."""
    is_backoff_repeat: bool = False
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


def diagnose(pod: Pod, told: PodEvents | None = None) -> Diagnosis | None:
    """Say what holds the Pod up, or None where nothing does, or nothing is known yet.

    `told` are the Pod's Events, which alone tell of volumes and of the sandbox: the Pod's status is that of any young
    Pod.
    """
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
    return min(found, key=lambda d: (not d.is_fatal, d.is_backoff_repeat), default=None) or _by_events(pod, told)


def progress(pod: Pod) -> str:
    """Say how far a Pod is that nothing holds up."""
    running = [s.name for s in pod.status.init_container_statuses if s.state.running is not None]
    if running:
        return f"init container {running[-1]} is running"
    return f"node {pod.spec.node_name} is starting the Pod" if pod.spec.node_name else "the Pod waits for the scheduler"


def waits_for_volumes_or_network(pod: Pod) -> bool:
    """Whether a node has the Pod and cannot start containers yet, for want of volumes or of a network.

    A Pod of which its kubelet has told nothing yet waits for the kubelet, which has no volume of it in hand.
    """
    ready = pod.condition("PodReadyToStartContainers")
    if not pod.spec.node_name or pod.is_terminal or (ready is not None and ready.status == "True"):
        return False
    statuses = pod.status.init_container_statuses + pod.status.container_statuses
    return bool(statuses) and all(
        s.state.waiting is not None and s.state.waiting.reason in _UNTOUCHED for s in statuses
    )


def _by_events(pod: Pod, told: PodEvents | None) -> Diagnosis | None:
    if told is None or told.pod_uid != pod.metadata.uid or not waits_for_volumes_or_network(pod):
        return None
    found = [event for event in told.events if event.reason in _NODE_EVENTS]
    if not found:
        return None
    latest = max(found, key=lambda event: (not event.message.startswith(_SUMMARY), _last_seen(event)))
    return Diagnosis(Reason.CONFIG_ERROR, f"{latest.reason}: {latest.message}")


def _last_seen(event: PodEvent) -> float:
    return event.last_timestamp.timestamp() if event.last_timestamp else 0.0


def has_pull_error(pod: Pod) -> bool:
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
        return Diagnosis(Reason.IMAGE_PULL_FAILED, words, is_fatal=fatal, is_backoff_repeat=echo)
    if waiting.reason in _CONFIG_REASONS:
        return Diagnosis(Reason.CONFIG_ERROR, words)
    if waiting.reason == "CrashLoopBackOff":
        # Only a native sidecar is restarted, and what comes after it does not start until it runs.
        failed = Reason.XCOM_SIDECAR_FAILED if status.name == names.RESULT_CONTAINER else Reason.INIT_CONTAINER_FAILED
        return Diagnosis(failed, words)
    return None
