"""Why a Pod has not started: one reason, and the message of the component that reports it."""

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
"""Reasons of the kubelet's Events for a Pod whose containers it cannot start: volumes, devices, sandbox, network."""
_SUMMARY = "Unable to attach or mount volumes"
"""The start of the kubelet's Event that lists all missing volumes. The Event for a single volume has the cause."""


class Diagnosis(msgspec.Struct, frozen=True):
    """Why a Pod does not start."""

    reason: Reason
    message: str
    is_fatal: bool = False
    """The Pod will never start, however long it waits."""
    is_backoff_repeat: bool = False
    """The kubelet only reports that it retries later. The message before has the cause."""


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
"""All reasons that a diagnosis can have."""


def diagnose(pod: Pod, events: PodEvents | None = None) -> Diagnosis | None:
    """Return why the Pod does not start, or None if nothing holds it up or nothing is known.

    Missing volumes and sandbox errors are only in `events`, the Events of the Pod; its status does not show them.
    """
    if pod.spec.scheduling_gates:
        gates = ", ".join(gate.name for gate in pod.spec.scheduling_gates)
        return Diagnosis(Reason.SCHEDULING_GATED, f"the Pod has the scheduling gates {gates}")
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False" and scheduled.reason != "SchedulingGated":
        missing_claim = "persistentvolumeclaim" in scheduled.message and "not found" in scheduled.message
        reason = Reason.CONFIG_ERROR if missing_claim else Reason.UNSCHEDULABLE
        return Diagnosis(reason, scheduled.message or scheduled.reason)
    statuses = pod.status.init_container_statuses + pod.status.container_statuses
    found = [d for d in map(_by_container, statuses) if d is not None]
    return min(found, key=lambda d: (not d.is_fatal, d.is_backoff_repeat), default=None) or _by_events(pod, events)


def progress(pod: Pod) -> str:
    """Return the message for the progress of a Pod that nothing holds up."""
    running = [s.name for s in pod.status.init_container_statuses if s.state.running is not None]
    if running:
        return f"init container {running[-1]} is running"
    return f"node {pod.spec.node_name} is starting the Pod" if pod.spec.node_name else "the Pod waits for the scheduler"


def waits_for_volumes_or_network(pod: Pod) -> bool:
    """Whether the Pod is on a node and its containers wait for volumes or the network.

    False while the kubelet has not reported any container, because it has not begun with the Pod's volumes.
    """
    ready = pod.condition("PodReadyToStartContainers")
    if not pod.spec.node_name or pod.is_terminal or (ready is not None and ready.status == "True"):
        return False
    statuses = pod.status.init_container_statuses + pod.status.container_statuses
    return bool(statuses) and all(
        s.state.waiting is not None and s.state.waiting.reason in _UNTOUCHED for s in statuses
    )


def _by_events(pod: Pod, read: PodEvents | None) -> Diagnosis | None:
    if read is None or read.pod_uid != pod.metadata.uid or not waits_for_volumes_or_network(pod):
        return None
    found = [event for event in read.events if event.reason in _NODE_EVENTS]
    if not found:
        return None
    latest = max(found, key=lambda event: (not event.message.startswith(_SUMMARY), _last_seen(event)))
    return Diagnosis(Reason.CONFIG_ERROR, f"{latest.reason}: {latest.message}")


def _last_seen(event: PodEvent) -> float:
    return event.last_timestamp.timestamp() if event.last_timestamp else 0.0


def has_pull_error(pod: Pod) -> bool:
    """Whether an image pull of the Pod fails at present."""
    statuses = pod.status.init_container_statuses + pod.status.container_statuses
    return any(s.state.waiting is not None and s.state.waiting.reason in _PULL_REASONS for s in statuses)


def _by_container(status: ContainerStatus) -> Diagnosis | None:
    waiting = status.state.waiting
    if waiting is None:
        return None
    subject = "the result sidecar" if status.name == names.RESULT_CONTAINER else f"container {status.name}"
    message = f"{subject}: {waiting.reason}: {waiting.message}".removesuffix(": ")
    if waiting.reason in _PULL_REASONS:
        is_fatal, is_repeat = waiting.reason in _FATAL_PULL_REASONS, waiting.reason == "ImagePullBackOff"
        return Diagnosis(Reason.IMAGE_PULL_FAILED, message, is_fatal=is_fatal, is_backoff_repeat=is_repeat)
    if waiting.reason in _CONFIG_REASONS:
        return Diagnosis(Reason.CONFIG_ERROR, message)
    if waiting.reason == "CrashLoopBackOff":
        # Only native sidecars are restarted. The containers after one start when it runs.
        failed = Reason.XCOM_SIDECAR_FAILED if status.name == names.RESULT_CONTAINER else Reason.INIT_CONTAINER_FAILED
        return Diagnosis(failed, message)
    return None
