"""How an attempt ended: whose fault it was, and in which words.

The main container's own status decides, not the Pod's phase: a mesh proxy that is killed after the task's exit 0
makes the Pod Failed and the task no worse. But exit 0 of a Pod that the kubelet itself brought to an end (evicted, shut
down, over its own deadline) is the program's answer to SIGTERM, and no success. Where the controller stopped the Pod
itself, its intent (an annotation) gives the reason, not the kubelet's DeadlineExceeded.
"""

from datetime import datetime

import msgspec

from ..api.reasons import Reason
from ..api.v1alpha1.values import MAX_LOG_TAIL, AttemptOutcome
from . import times, xcom_injection
from .pod import Condition, Pod, Terminated

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

They have no time. Nor has the condition that the kubelet sends along: it is stamped when it is sent, after the last
container has ended. So whether a container failed a moment before its eviction or by it cannot be told, and it counts
as evicted (docs/concepts.md says why)."""

_BY_KUBELET = "TerminationByKubelet"
"""The reason that the kubelet gives the condition DisruptionTarget.

From 1.27 on it makes the phase of a Pod that it evicts or shuts down of the exit codes alone: where all are 0 the Pod
is Succeeded, without a reason, and this condition is all that is left of the eviction."""

_FAILED_SOON = "PodFailed"
"""The reason of the condition Ready where the kubelet has found that the Pod failed.

The phase, and the reason why, follow once it has seen that nothing of the Pod runs any more, about a second later."""

_OWN_LIMIT = "exceed"
"""What the kubelet's words have in common for a Pod that outgrew an ephemeral-storage limit or an emptyDir of its own.

It sets no condition DisruptionTarget then: it would happen again. Nor does it for a Pod that it refuses after a
restart, because its node is short of memory now; so the words have to say it as well."""

_LAST_DELETE_SECONDS = 60
"""Within so long of the end of the last container its kubelet deletes a Pod for good."""

_START_ERRORS = frozenset({"StartError", "ContainerCannotRun", "CreateContainerError", "RunContainerError"})

_LOST_BY_KUBELET = "ContainerStatusUnknown"
"""The kubelet knew of the container and found it gone (a restart of the node), and made up the exit code."""

_LOST_BY_RUNTIME = ("Unknown", 255)
"""containerd knew of the container and found its process gone after a restart, and made up the exit code."""

_STOPPED_AS_FAILURE = frozenset(
    {Reason.RUN_DEADLINE_EXCEEDED, Reason.START_DEADLINE_EXCEEDED, Reason.IMAGE_PULL_DEADLINE_EXCEEDED}
)
"""Our own stops that count against backoffLimit; the others end the task, or cost nothing."""


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
    """Say how the attempt ended, or None while it lives (or is still being stopped).

    `was_running`: the container was seen to run, whatever the Pod's status still says of it.
    """
    main = pod.container(container)
    ended = main.state.terminated if main else None
    if pod.stop_reason and pod.stop_reason != Reason.MAIN_CONTAINER_ENDED:
        return _stopped(pod, container, ended, was_running=was_running)
    if not pod.is_terminal and (ended is None or (succeeded(ended) and _may_be_cut_off(pod))):
        return None
    return _by_itself(pod, container, ended, was_running=was_running)


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
    return ended is not None and times.nonzero(ended.started_at) is not None and ended.reason not in _START_ERRORS


def _is_lost(ended: Terminated) -> bool:
    """Whether nobody saw the container's end, and its exit code is made up."""
    return ended.reason == _LOST_BY_KUBELET or (ended.reason, ended.exit_code) == _LOST_BY_RUNTIME


def _by_itself(pod: Pod, container: str, ended: Terminated | None, *, was_running: bool) -> Termination:
    if _is_done(pod, ended):
        message = "" if ended else f"the Pod succeeded, and how container {container} ended was not reported"
        return _ending(AttemptOutcome.SUCCEEDED, Reason.COMPLETED, message, ended)
    if _outgrew_its_limit(pod):
        message = _join(pod.status.reason, pod.status.message)
        termination = _ending(AttemptOutcome.FAILED, Reason.EVICTED, message, ended)
        return msgspec.structs.replace(termination, log_tail=_log_tail(pod, container, ended))
    disruption = _disruption(pod, ended)
    if disruption is not None:
        reason, message = disruption
        return _ending(AttemptOutcome.DISRUPTED, reason, message, ended)
    is_over_deadline = pod.status.reason == "DeadlineExceeded"
    is_lost = ended is not None and _is_lost(ended)
    if ended is not None and not is_lost and (is_over_deadline or not succeeded(ended)):
        return _own_failure(pod, container, ended)
    failed_init = _failed_init(pod)
    if failed_init is not None and not (is_over_deadline and is_lost):
        return failed_init
    if is_over_deadline and was_running:
        message = f"container {container} was stopped by the Pod's own activeDeadlineSeconds, and its end is not known"
        return _ending(AttemptOutcome.FAILED, Reason.RUN_DEADLINE_EXCEEDED, message, None)
    if is_over_deadline:
        # The kubelet makes up an end for a container that it never started, such as one whose image it cannot pull.
        message = f"container {container} did not start within the Pod's own activeDeadlineSeconds"
        return _ending(AttemptOutcome.FAILED, Reason.START_DEADLINE_EXCEEDED, message, None)
    if ended is not None and is_lost:
        return _ending(AttemptOutcome.DISRUPTED, Reason.NODE_LOST, _join(ended.reason, ended.message), ended)
    message = _join(pod.status.reason, pod.status.message) or "the Pod ended before its containers started"
    return _ending(AttemptOutcome.DISRUPTED, Reason.NODE_REFUSED, message, ended)


def _is_done(pod: Pod, ended: Terminated | None) -> bool:
    """Whether the work is done: exit 0, or the phase where no container's end was reported, and nothing cut it off."""
    return (succeeded(ended) or (ended is None and pod.status.phase == "Succeeded")) and not _is_cut_off(pod)


def _is_cut_off(pod: Pod) -> bool:
    """Whether the kubelet brought the Pod to an end, whatever its containers' exit codes are."""
    if pod.stop_reason == Reason.MAIN_CONTAINER_ENDED:
        # The end of the main container was seen and judged before this stop: what came later is not why it ended.
        return False
    return (pod.status.phase == "Failed" and bool(pod.status.reason)) or _is_kubelets_target(pod)


def _may_be_cut_off(pod: Pod) -> bool:
    """Whether there is a sign that the Pod is being brought to an end, so that its phase is to be waited for."""
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
    return pod.status.reason == "Evicted" and not is_target and _OWN_LIMIT in pod.status.message


def _failed_init(pod: Pod) -> Termination | None:
    """Blame the init container that failed, and a sidecar (which is stopped in the wake of it) only without one."""
    sidecars = {c.name for c in pod.spec.init_containers if c.restart_policy == "Always"}
    ends = [(c.name, c.state.terminated) for c in pod.status.init_container_statuses]
    failed = [(name, end) for name, end in ends if end is not None and not succeeded(end)]
    for name, end in sorted(failed, key=lambda found: found[0] in sidecars):
        message = f"init container {name} {_how(end)}"
        termination = _ending(AttemptOutcome.FAILED, Reason.INIT_CONTAINER_FAILED, message, end)
        # The exit code and the start of an attempt are those of the task's container, which never ran.
        return msgspec.structs.replace(termination, started_at=None, exit_code=None)
    return None


def _stopped(pod: Pod, container: str, ended: Terminated | None, *, was_running: bool) -> Termination | None:
    """Judge a Pod that we stopped. Its container may have been quicker; then its own end counts."""
    if ended is not None and _before_stop(pod, ended):
        return _by_itself(pod, container, ended, was_running=was_running)
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
    termination = _ending(outcome, reason, "the controller stopped the Pod", ended)
    return msgspec.structs.replace(termination, log_tail=_log_tail(pod, container, ended))


def _before_stop(pod: Pod, ended: Terminated) -> bool:
    """Whether the container ended by itself before our stop reached it."""
    if pod.metadata.deletion_timestamp is not None and pod.spec.active_deadline_seconds != 1:
        return _was_before(pod, ended, deletion_requested_at(pod))
    # Stopped by deadline: the kubelet marks a Pod that it stopped, and a Pod that finished first is not marked. A
    # failure is ours in either case, or it would depend on whether the Pod's own end was seen before it was judged.
    return _is_done(pod, ended) and pod.is_terminal


def _was_before(pod: Pod, ended: Terminated | None, moment: datetime | None) -> bool:
    finished = times.nonzero(ended.finished_at) if ended else None
    return finished is not None and moment is not None and times.to_server_time(finished, pod) < moment


def deletion_requested_at(pod: Pod) -> datetime | None:
    """Give the time of the DELETE, or the earliest that it may have had.

    The server stores it plus the grace period. When the kubelet has done with the Pod and deletes it for good, the
    server moves what it stored to that moment, seconds after the last container has ended.
    """
    when, grace = pod.metadata.deletion_timestamp, pod.metadata.deletion_grace_period_seconds
    if when is None:
        return None
    return times.sub_saturating(when, grace or pod.spec.termination_grace_period_seconds + _LAST_DELETE_SECONDS)


def _disruption(pod: Pod, ended: Terminated | None) -> tuple[Reason, str] | None:
    evicted = _disrupting(pod, "TerminationTarget", ended)
    if evicted is not None:
        return Reason.QUEUE_EVICTED, _join(evicted.reason, evicted.message)
    target = _disrupting(pod, "DisruptionTarget", ended)
    by_pod = _BY_POD_REASON.get(pod.status.reason)
    if target is not None:
        reason = _BY_CONDITION.get(target.reason, by_pod or Reason.EVICTED)
        return reason, _join(target.reason, target.message)
    if by_pod is not None:
        return by_pod, _join(pod.status.reason, pod.status.message)
    requested = deletion_requested_at(pod)
    if requested is None or _was_before(pod, ended, requested):
        return None
    return Reason.POD_DELETED, "somebody deleted the Pod"


def _disrupting(pod: Pod, kind: str, ended: Terminated | None) -> Condition | None:
    """Give a condition that announced the end, and none that came after it (a node drained an hour later)."""
    found = pod.condition(kind)
    if found is None or found.status != "True":
        return None
    # The kubelet stamps its own when it sends it, which is after the end in any case.
    is_later = found.reason != _BY_KUBELET and _was_before(pod, ended, found.last_transition_time)
    return None if is_later else found


def _own_failure(pod: Pod, container: str, ended: Terminated) -> Termination:
    tail = _log_tail(pod, container, ended)
    message = f"container {container} {_how(ended)}"
    reason = Reason.NON_ZERO_EXIT
    if ended.reason == "OOMKilled":
        reason = Reason.OOM_KILLED
    elif ended.reason in _START_ERRORS:
        reason, message, tail = Reason.START_FAILED, f"container {container} could not be started: {ended.message}", ""
    elif pod.status.reason == "DeadlineExceeded" and not pod.stop_reason:
        reason = Reason.RUN_DEADLINE_EXCEEDED
        message += ", stopped by the Pod's own activeDeadlineSeconds"
    termination = _ending(AttemptOutcome.FAILED, reason, message, ended)
    return msgspec.structs.replace(termination, log_tail=tail)


def _log_tail(pod: Pod, container: str, ended: Terminated | None) -> str:
    is_tail = ended is not None and not _is_lost(ended) and not xcom_injection.is_message_result(pod, container)
    return ended.message[-MAX_LOG_TAIL:] if ended is not None and is_tail else ""


def _ending(outcome: AttemptOutcome, reason: Reason, message: str, ended: Terminated | None) -> Termination:
    return Termination(
        outcome=outcome,
        reason=reason,
        message=message[:_TEXT_LIMIT],
        exit_code=ended.exit_code if ended and not _is_lost(ended) else None,
        started_at=times.nonzero(ended.started_at) if ended else None,
        finished_at=times.nonzero(ended.finished_at) if ended else None,
    )


def _how(ended: Terminated) -> str:
    if ended.reason == "OOMKilled":
        return f"was killed for want of memory (exit code {ended.exit_code})"
    by_signal = f" (signal {ended.signal})" if ended.signal else ""
    return f"ended with exit code {ended.exit_code}{by_signal}"


def _join(reason: str, message: str) -> str:
    return f"{reason}: {message}" if reason and message else reason or message
