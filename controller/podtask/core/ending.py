"""How an attempt ended: whose fault it was, and in which words.

The main container's own status decides, not the Pod's phase: a mesh proxy that is killed after the task's exit 0
makes the Pod Failed and the task no worse. Where the controller stopped the Pod itself, its intent (an annotation)
gives the reason, not the kubelet's DeadlineExceeded.
"""

from datetime import datetime, timedelta

import msgspec

from ..api.reasons import Reason
from ..api.v1alpha1.status import MAX_LOG_TAIL, AttemptOutcome
from . import transport
from .observed import ContainerStatus, Pod, Terminated

_TEXT_LIMIT = 1024

_BY_CONDITION = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
    "EvictionByEvictionAPI": Reason.EVICTED,
}
"""Reasons of the Pod condition DisruptionTarget (kubernetes.io/docs/concepts/workloads/pods/disruptions)."""

_BY_POD_REASON = {
    "Evicted": Reason.EVICTED,
    "Preempting": Reason.PREEMPTED,
    "Terminated": Reason.NODE_SHUTDOWN,
    "NodeShutdown": Reason.NODE_SHUTDOWN,
    "Shutdown": Reason.NODE_SHUTDOWN,
    "NodeLost": Reason.NODE_LOST,
}
"""Reasons that the kubelet and the node controllers give a Pod's status."""

_START_ERRORS = frozenset({"StartError", "ContainerCannotRun", "CreateContainerError", "RunContainerError"})

_STOPPED_AS_FAILURE = frozenset(
    {Reason.RUN_DEADLINE_EXCEEDED, Reason.START_DEADLINE_EXCEEDED, Reason.IMAGE_PULL_DEADLINE_EXCEEDED}
)
"""Our own stops that count against backoffLimit; the others end the task, or cost nothing."""


class Ending(msgspec.Struct, frozen=True):
    """The end of one attempt."""

    outcome: AttemptOutcome
    reason: str
    message: str = ""
    exit_code: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    log_tail: str = ""


def classify(pod: Pod, container: str) -> Ending | None:
    """Say how the attempt ended, or None while it lives (or is still being stopped)."""
    main = pod.container(container)
    ended = main.state.terminated if main else None
    if pod.stop_reason and pod.stop_reason != Reason.MAIN_CONTAINER_ENDED:
        return _stopped(pod, container, ended)
    if ended is None and not pod.is_terminal:
        return None
    return _by_itself(pod, container, ended)


def succeeded(ended: Terminated | None) -> bool:
    """Whether the container did its work. The kernel may kill a child and leave exit code 0: that is no success."""
    return ended is not None and ended.exit_code == 0 and ended.reason != "OOMKilled"


def has_started(pod: Pod, container: str) -> bool:
    """Whether the task's container has ever run."""
    status = pod.container(container)
    if status is None:
        return False
    if status.state.running is not None:
        return True
    ended = status.state.terminated
    # A container that could not be started has a termination record too; so has one whose status the kubelet lost.
    return ended is not None and ended.started_at is not None and ended.reason not in _START_ERRORS


def _by_itself(pod: Pod, container: str, ended: Terminated | None) -> Ending:
    if ended is not None and succeeded(ended):
        return _ending(AttemptOutcome.SUCCEEDED, Reason.COMPLETED, "", ended)
    disruption = _disruption(pod, ended)
    if disruption is not None:
        reason, message = disruption
        return _ending(AttemptOutcome.DISRUPTED, reason, message, ended)
    if ended is not None:
        return _own_failure(pod, container, ended)
    failed_init = next((c for c in pod.status.init_container_statuses if _failed(c)), None)
    if failed_init is not None and failed_init.state.terminated is not None:
        message = f"init container {failed_init.name} {_how(failed_init.state.terminated)}"
        ending = _ending(AttemptOutcome.FAILED, Reason.INIT_CONTAINER_FAILED, message, failed_init.state.terminated)
        return msgspec.structs.replace(ending, started_at=None)
    message = _join(pod.status.reason, pod.status.message) or "the Pod ended before its containers started"
    return _ending(AttemptOutcome.DISRUPTED, Reason.NODE_REFUSED, message, None)


def _stopped(pod: Pod, container: str, ended: Terminated | None) -> Ending | None:
    """Judge a Pod that we stopped. Its container may have been quicker; then its own end counts."""
    if ended is not None and _before_stop(pod, ended):
        return _by_itself(pod, container, ended)
    if not pod.is_terminal and (ended is None or succeeded(ended)):
        return None
    try:
        reason = Reason(pod.stop_reason)
    except ValueError:
        reason = Reason.POD_DELETED
    outcome = AttemptOutcome.STOPPED
    if reason in _STOPPED_AS_FAILURE:
        outcome = AttemptOutcome.FAILED
    elif reason in {Reason.NODE_LOST, Reason.POD_DELETED}:
        outcome = AttemptOutcome.DISRUPTED
    return _ending(outcome, reason, "the controller stopped the Pod", ended)


def _before_stop(pod: Pod, ended: Terminated) -> bool:
    """Whether the container ended by itself before our stop reached it."""
    if pod.metadata.deletion_timestamp is not None:
        requested = deletion_requested_at(pod)
        return ended.finished_at is not None and requested is not None and ended.finished_at < requested
    # Stopped by deadline: the kubelet marks a Pod that it stopped, and a Pod that finished first is not marked.
    return pod.status.phase == "Succeeded" or (pod.status.phase == "Failed" and pod.status.reason != "DeadlineExceeded")


def deletion_requested_at(pod: Pod) -> datetime | None:
    """Give the time of the DELETE: the server stores it plus the grace period."""
    when = pod.metadata.deletion_timestamp
    return when - timedelta(seconds=pod.metadata.deletion_grace_period_seconds or 0) if when else None


def _disruption(pod: Pod, ended: Terminated | None) -> tuple[Reason, str] | None:
    evicted = pod.condition("TerminationTarget")
    if evicted is not None and evicted.status == "True":
        return Reason.QUEUE_EVICTED, _join(evicted.reason, evicted.message)
    target = pod.condition("DisruptionTarget")
    by_pod = _BY_POD_REASON.get(pod.status.reason)
    if target is not None and target.status == "True":
        reason = _BY_CONDITION.get(target.reason, by_pod or Reason.EVICTED)
        return reason, _join(target.reason, target.message)
    if by_pod is not None:
        return by_pod, _join(pod.status.reason, pod.status.message)
    requested = deletion_requested_at(pod)
    if requested is None:
        return None
    if ended is not None and ended.finished_at is not None and ended.finished_at < requested:
        return None
    return Reason.POD_DELETED, "somebody deleted the Pod"


def _own_failure(pod: Pod, container: str, ended: Terminated) -> Ending:
    tail = "" if transport.is_message_result(pod, container) else ended.message[-MAX_LOG_TAIL:]
    message = f"container {container} {_how(ended)}"
    reason = Reason.NON_ZERO_EXIT
    if ended.reason == "OOMKilled":
        reason = Reason.OOM_KILLED
    elif ended.reason in _START_ERRORS:
        reason, message, tail = Reason.START_FAILED, f"container {container} could not be started: {ended.message}", ""
    elif pod.status.reason == "DeadlineExceeded" and not pod.stop_reason:
        reason = Reason.RUN_DEADLINE_EXCEEDED
        message += ", stopped by the Pod's own activeDeadlineSeconds"
    ending = _ending(AttemptOutcome.FAILED, reason, message, ended)
    return msgspec.structs.replace(ending, log_tail=tail)


def _ending(outcome: AttemptOutcome, reason: Reason, message: str, ended: Terminated | None) -> Ending:
    return Ending(
        outcome=outcome,
        reason=reason,
        message=message[:_TEXT_LIMIT],
        exit_code=ended.exit_code if ended else None,
        started_at=ended.started_at if ended else None,
        finished_at=ended.finished_at if ended else None,
    )


def _failed(status: ContainerStatus) -> bool:
    ended = status.state.terminated
    return ended is not None and not succeeded(ended)


def _how(ended: Terminated) -> str:
    if ended.reason == "OOMKilled":
        return f"was killed for want of memory (exit code {ended.exit_code})"
    by_signal = f" (signal {ended.signal})" if ended.signal else ""
    return f"ended with exit code {ended.exit_code}{by_signal}"


def _join(reason: str, message: str) -> str:
    return f"{reason}: {message}" if reason and message else reason or message
