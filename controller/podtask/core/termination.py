"""How an attempt ended: its outcome, reason and message.

The status of the main container decides, not the phase of the Pod: a mesh proxy that is killed after the task's exit 0
marks the Pod Failed but does not affect the task. Exit 0 in a Pod that the kubelet terminated (evicted, shut down, over
its own activeDeadlineSeconds) is the program's answer to SIGTERM and no success. If the controller stopped the Pod, the
reason is that of its annotation, not the kubelet's DeadlineExceeded.
"""

from datetime import datetime

import msgspec

from ..api.reasons import Reason
from ..api.v1alpha1.values import MAX_LOG_TAIL, AttemptOutcome
from . import stop_messages, times, xcom_injection
from .pod import Condition, Pod, Terminated
from .snapshot import Task, XComStatus

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
    "NodeAffinity": Reason.NODE_REFUSED,
    "UnexpectedAdmissionError": Reason.NODE_REFUSED,
}
"""Reasons that the kubelet and the node controllers give a Pod's status.

They have no time, and the condition that the kubelet sets with them has the time after the last container's end. So it
is not known whether a container failed just before its eviction or because of it; it counts as evicted
(docs/concepts.md has the reason)."""

_BY_KUBELET = "TerminationByKubelet"
"""The reason that the kubelet gives the condition DisruptionTarget.

Since 1.27 the phase of a Pod that it evicts or shuts down depends only on the exit codes: if all are 0 the Pod is
Succeeded without a reason, and only this condition shows the eviction."""

_FAILED_SOON = "PodFailed"
"""The reason of the condition Ready when the kubelet has found that the Pod failed.

The phase and its reason follow about a second later, when no container runs any more."""

_EXCEEDED_OWN_LIMIT = "exceed"
"""Part of the kubelet's message for a Pod that exceeded its ephemeral-storage limit or the size of its emptyDir.

The kubelet sets no condition DisruptionTarget then, because a new Pod would exceed it too. It sets none either for a
Pod that it refuses after a restart for lack of memory on the node, so the message has to be checked as well."""

_LAST_DELETE_SECONDS = 60
"""The kubelet deletes a Pod finally within this time after its last container has ended."""

_START_ERRORS = frozenset({"StartError", "ContainerCannotRun", "CreateContainerError", "RunContainerError"})

_LOST_BY_KUBELET = "ContainerStatusUnknown"
"""The kubelet did not find the container any more (restart of the node). The exit code is invented."""

_LOST_BY_RUNTIME = ("Unknown", 255)
"""containerd did not find the container's process any more after a restart. The exit code is invented."""

_STOPPED_AS_FAILURE = frozenset(
    {Reason.RUN_DEADLINE_EXCEEDED, Reason.START_DEADLINE_EXCEEDED, Reason.IMAGE_PULL_DEADLINE_EXCEEDED}
)
"""Our own stops that count against backoffLimit. The others finish the task or are not counted."""


class Termination(msgspec.Struct, frozen=True):
    """The end of one attempt."""

    outcome: AttemptOutcome
    reason: str
    message: str = ""
    exit_code: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    log_tail: str = ""


def classify_termination(pod: Pod, container: str, *, was_running: bool = False) -> Termination | None:
    """Return how the attempt ended, or None if it has not ended (or its stop is in progress).

    `was_running`: the status has a start of the container, even if the Pod no longer shows one.
    """
    main = pod.container(container)
    terminated = main.state.terminated if main else None
    if pod.stop_reason and pod.stop_reason != Reason.MAIN_CONTAINER_ENDED:
        return _classify_stop(pod, container, terminated, was_running=was_running)
    if not pod.is_terminal and (terminated is None or (succeeded(terminated) and _may_be_cut_off(pod))):
        return None
    return _classify_own_end(pod, container, terminated, was_running=was_running)


def with_cause(termination: Termination, task: Task, pod: Pod) -> Termination:
    """Give a termination by our own stop the message that names its cause. Others are returned as they are."""
    if termination.reason != pod.stop_reason:
        return termination
    has_started = termination.started_at is not None
    message = stop_messages.after_stop(task, termination.reason, has_started=has_started)
    return msgspec.structs.replace(termination, message=message or termination.message)


def without_xcom(termination: Termination, task: Task, failure: XComStatus) -> Termination:
    """Turn the success of an attempt whose result could not be collected into a failure or a disruption.

    A failure for this reason finishes the task, because its work is done. It is repeated only if spec.xcom.onLost or a
    rule of the failure policy says so.
    """
    if termination.outcome is not AttemptOutcome.SUCCEEDED:
        return termination
    xcom = task.spec.xcom
    is_retried = failure.reason == Reason.XCOM_LOST and xcom is not None and xcom.on_lost == "Retry"
    outcome = AttemptOutcome.DISRUPTED if is_retried else AttemptOutcome.NO_RESULT
    return msgspec.structs.replace(termination, outcome=outcome, reason=failure.reason, message=failure.message)


def succeeded(terminated: Terminated | None) -> bool:
    """Whether the container succeeded. Exit code 0 with the reason OOMKilled (of a child process) is no success."""
    return terminated is not None and terminated.exit_code == 0 and terminated.reason != "OOMKilled"


def has_started(pod: Pod, container: str) -> bool:
    """Whether the container runs or has run."""
    status = pod.container(container)
    if status is None:
        return False
    if status.state.running is not None:
        return True
    terminated = status.state.terminated
    # A container that could not be started has a terminated state too, and so has one that the kubelet lost.
    return (
        terminated is not None
        and times.nonzero(terminated.started_at) is not None
        and terminated.reason not in _START_ERRORS
    )


def _is_lost(terminated: Terminated) -> bool:
    """Whether the container's end was not observed and its exit code is invented."""
    return terminated.reason == _LOST_BY_KUBELET or (terminated.reason, terminated.exit_code) == _LOST_BY_RUNTIME


def _classify_own_end(pod: Pod, container: str, terminated: Terminated | None, *, was_running: bool) -> Termination:
    if _is_done(pod, terminated):
        message = "" if terminated else f"the Pod succeeded, and the end of container {container} was not reported"
        return _make_termination(AttemptOutcome.SUCCEEDED, Reason.COMPLETED, message, terminated)
    if _outgrew_its_limit(pod):
        message = _join(pod.status.reason, pod.status.message)
        termination = _make_termination(AttemptOutcome.FAILED, Reason.EVICTED, message, terminated)
        return msgspec.structs.replace(termination, log_tail=_log_tail(pod, container, terminated))
    disruption = _disruption(pod, terminated)
    if disruption is not None:
        reason, message = disruption
        return _make_termination(AttemptOutcome.DISRUPTED, reason, message, terminated)
    is_over_deadline = pod.status.reason == "DeadlineExceeded"
    is_lost = terminated is not None and _is_lost(terminated)
    if terminated is not None and not is_lost and (is_over_deadline or not succeeded(terminated)):
        return _own_failure(pod, container, terminated)
    failed_init = _failed_init(pod)
    if failed_init is not None and not (is_over_deadline and is_lost):
        return failed_init
    if is_over_deadline and was_running:
        message = f"container {container} was stopped by the Pod's own activeDeadlineSeconds, and its end is not known"
        return _make_termination(AttemptOutcome.FAILED, Reason.RUN_DEADLINE_EXCEEDED, message, None)
    if is_over_deadline:
        # The kubelet invents an end for a container that it never started, for example if its image is missing.
        message = f"container {container} did not start within the Pod's own activeDeadlineSeconds"
        return _make_termination(AttemptOutcome.FAILED, Reason.START_DEADLINE_EXCEEDED, message, None)
    if terminated is not None and is_lost:
        return _make_termination(
            AttemptOutcome.DISRUPTED, Reason.NODE_LOST, _join(terminated.reason, terminated.message), terminated
        )
    message = _join(pod.status.reason, pod.status.message) or "the Pod ended before its containers started"
    return _make_termination(AttemptOutcome.DISRUPTED, Reason.NODE_REFUSED, message, terminated)


def _is_done(pod: Pod, terminated: Terminated | None) -> bool:
    """Whether the attempt succeeded: exit 0 (or the phase, without a container's end) and not cut off."""
    return (succeeded(terminated) or (terminated is None and pod.status.phase == "Succeeded")) and not _is_cut_off(pod)


def _is_cut_off(pod: Pod) -> bool:
    """Whether the kubelet terminated the Pod, whatever its containers' exit codes are."""
    if pod.stop_reason == Reason.MAIN_CONTAINER_ENDED:
        # The main container had ended before this stop, so nothing after the stop is the cause of its end.
        return False
    return (pod.status.phase == "Failed" and bool(pod.status.reason)) or _is_kubelets_target(pod)


def _may_be_cut_off(pod: Pod) -> bool:
    """Whether the Pod may be in termination by the kubelet, so that its phase has to be awaited."""
    if pod.stop_reason == Reason.MAIN_CONTAINER_ENDED:
        return False
    ready = pod.condition("Ready")
    return (ready is not None and ready.reason == _FAILED_SOON) or _is_kubelets_target(pod)


def _is_kubelets_target(pod: Pod) -> bool:
    target = pod.condition("DisruptionTarget")
    return target is not None and (target.status, target.reason) == ("True", _BY_KUBELET)


def _outgrew_its_limit(pod: Pod) -> bool:
    target = pod.condition("DisruptionTarget")
    is_target = target is not None and target.status == "True"
    return pod.status.reason == "Evicted" and not is_target and _EXCEEDED_OWN_LIMIT in pod.status.message


def _failed_init(pod: Pod) -> Termination | None:
    """Return the failure of an init container. A sidecar, which is stopped after it, is named only without one."""
    sidecars = {c.name for c in pod.spec.init_containers if c.restart_policy == "Always"}
    ends = [(c.name, c.state.terminated) for c in pod.status.init_container_statuses]
    failed = [(name, end) for name, end in ends if end is not None and not succeeded(end)]
    for name, end in sorted(failed, key=lambda found: found[0] in sidecars):
        message = f"init container {name} {_describe_end(end)}"
        termination = _make_termination(AttemptOutcome.FAILED, Reason.INIT_CONTAINER_FAILED, message, end)
        # Exit code and start of an attempt are those of the task's container, which has not run.
        return msgspec.structs.replace(termination, started_at=None, exit_code=None)
    return None


def _classify_stop(pod: Pod, container: str, terminated: Terminated | None, *, was_running: bool) -> Termination | None:
    """Classify the end of a Pod that we stopped. If its container had ended before the stop, that end counts."""
    if terminated is not None and _before_stop(pod, terminated):
        return _classify_own_end(pod, container, terminated, was_running=was_running)
    if not pod.is_terminal and (terminated is None or succeeded(terminated)):
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
    termination = _make_termination(outcome, reason, stop_messages.UNEXPLAINED, terminated)
    return msgspec.structs.replace(termination, log_tail=_log_tail(pod, container, terminated))


def _before_stop(pod: Pod, terminated: Terminated) -> bool:
    """Whether the container ended by itself before our stop."""
    if pod.metadata.deletion_timestamp is not None and pod.spec.active_deadline_seconds != 1:
        return _was_before(pod, terminated, deletion_requested_at(pod))
    # Stopped by activeDeadlineSeconds: the kubelet marks a Pod that it stopped, and not one that succeeded before. A
    # failure counts as the stop's in either case. Otherwise the result would depend on which change is seen first.
    return _is_done(pod, terminated) and pod.is_terminal


def _was_before(pod: Pod, terminated: Terminated | None, moment: datetime | None) -> bool:
    finished = times.nonzero(terminated.finished_at) if terminated else None
    return finished is not None and moment is not None and times.to_server_time(finished, pod) < moment


def deletion_requested_at(pod: Pod) -> datetime | None:
    """Return the time of the DELETE request, or the earliest possible one. None if the Pod is not deleted.

    deletionTimestamp is that time plus the grace period. When the kubelet deletes the Pod finally, seconds after the
    last container's end, the API server changes deletionTimestamp to that time.
    """
    when, grace = pod.metadata.deletion_timestamp, pod.metadata.deletion_grace_period_seconds
    if when is None:
        return None
    return times.sub_saturating(when, grace or pod.spec.termination_grace_period_seconds + _LAST_DELETE_SECONDS)


def _disruption(pod: Pod, terminated: Terminated | None) -> tuple[Reason, str] | None:
    evicted = _disrupting(pod, "TerminationTarget", terminated)
    if evicted is not None:
        return Reason.QUEUE_EVICTED, _join(evicted.reason, evicted.message)
    target = _disrupting(pod, "DisruptionTarget", terminated)
    by_pod = _BY_POD_REASON.get(pod.status.reason)
    if target is not None:
        reason = _BY_CONDITION.get(target.reason, by_pod or Reason.EVICTED)
        return reason, _join(target.reason, target.message)
    if by_pod is not None:
        return by_pod, _join(pod.status.reason, pod.status.message)
    requested = deletion_requested_at(pod)
    if requested is None or _was_before(pod, terminated, requested):
        return None
    return Reason.POD_DELETED, "the Pod was deleted, and not by the controller"


def _disrupting(pod: Pod, kind: str, terminated: Terminated | None) -> Condition | None:
    """Return a condition that was set before the end, not one set after it (a node drained an hour later)."""
    found = pod.condition(kind)
    if found is None or found.status != "True":
        return None
    # The kubelet's own condition always has a time after the end, the time when it was sent.
    is_later = found.reason != _BY_KUBELET and _was_before(pod, terminated, found.last_transition_time)
    return None if is_later else found


def _own_failure(pod: Pod, container: str, terminated: Terminated) -> Termination:
    tail = _log_tail(pod, container, terminated)
    message = f"container {container} {_describe_end(terminated)}"
    reason = Reason.NON_ZERO_EXIT
    if terminated.reason == "OOMKilled":
        reason = Reason.OOM_KILLED
    elif terminated.reason in _START_ERRORS:
        reason, message, tail = (
            Reason.START_FAILED,
            f"container {container} could not be started: {terminated.message}",
            "",
        )
    elif pod.status.reason == "DeadlineExceeded" and not pod.stop_reason:
        reason = Reason.RUN_DEADLINE_EXCEEDED
        message += ", stopped by the Pod's own activeDeadlineSeconds"
    termination = _make_termination(AttemptOutcome.FAILED, reason, message, terminated)
    return msgspec.structs.replace(termination, log_tail=tail)


def _log_tail(pod: Pod, container: str, terminated: Terminated | None) -> str:
    is_tail = (
        terminated is not None and not _is_lost(terminated) and not xcom_injection.is_message_result(pod, container)
    )
    return terminated.message[-MAX_LOG_TAIL:] if terminated is not None and is_tail else ""


def _make_termination(
    outcome: AttemptOutcome, reason: Reason, message: str, terminated: Terminated | None
) -> Termination:
    return Termination(
        outcome=outcome,
        reason=reason,
        message=message[:_TEXT_LIMIT],
        exit_code=terminated.exit_code if terminated and not _is_lost(terminated) else None,
        started_at=times.nonzero(terminated.started_at) if terminated else None,
        finished_at=times.nonzero(terminated.finished_at) if terminated else None,
    )


def _describe_end(terminated: Terminated) -> str:
    if terminated.reason == "OOMKilled":
        return f"was killed because it ran out of memory (exit code {terminated.exit_code})"
    by_signal = f" (signal {terminated.signal})" if terminated.signal else ""
    return f"ended with exit code {terminated.exit_code}{by_signal}"


def _join(reason: str, message: str) -> str:
    return f"{reason}: {message}" if reason and message else reason or message
