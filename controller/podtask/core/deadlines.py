"""The clocks of a task. Each gives the moment at which it runs out and the reason that stands in the status then.

A clock begins at a moment that can be read from the objects at any time, so a restart of the controller neither
stops nor restarts it: the server's creation time, the scheduler's condition, the kubelet's start of the container.
The kubelet's clock may be wrong: `clock` says what its times are worth.
"""

from datetime import datetime
from typing import NamedTuple

from ..api import names
from ..api.reasons import Reason
from . import diagnosis, times
from .pod import Pod
from .snapshot import Attempt, Task


class Deadline(NamedTuple):
    """When a clock runs out."""

    at: datetime
    reason: Reason


_WORDS: dict[str, str] = {
    Reason.SCHEDULE_DEADLINE_EXCEEDED: "no node took the Pod within deadlines.scheduleSeconds"
    " ({0.deadlines.schedule_seconds} s)",
    Reason.IMAGE_PULL_DEADLINE_EXCEEDED: "the images were not there within deadlines.imagePullSeconds"
    " ({0.deadlines.image_pull_seconds} s)",
    Reason.START_DEADLINE_EXCEEDED: "container {0.container_name} did not start within deadlines.startSeconds"
    " ({0.deadlines.start_seconds} s)",
    Reason.RUN_DEADLINE_EXCEEDED: "container {0.container_name} ran longer than deadlines.runSeconds"
    " ({0.deadlines.run_seconds} s)",
    Reason.TOTAL_DEADLINE_EXCEEDED: "the task took longer than deadlines.totalSeconds"
    " ({0.deadlines.total_seconds} s) over all attempts",
    Reason.CANCELLED: "spec.cancel was set",
    Reason.CANCEL_TIME_REACHED: "spec.cancelTime ({0.cancel_time}) was reached: nobody waits for the task any more",
    Reason.SUSPENDED: "spec.suspend was set",
    Reason.NODE_LOST: "the Pod's node did not stop it, and forceDeletePodAfterSeconds"
    " ({0.force_delete_pod_after_seconds} s) gave it up",
}


def message_for(task: Task, reason: str) -> str:
    """Say which limit or wish of the spec ended an attempt, with its figure; nothing where none of them did."""
    return _WORDS.get(reason, "").format(task.spec)


def total(task: Task, now: datetime) -> Deadline | None:
    """Give the end of the task's total time; time spent suspended is left out."""
    seconds = task.spec.deadlines.total_seconds
    created = task.metadata.creation_timestamp
    if seconds is None or created is None:
        return None
    at = times.add_saturating(created, seconds + task.status.suspended_seconds)
    suspended = task.status.condition(names.CONDITION_SUSPENDED)
    if suspended is not None and suspended.status == "True":
        at = times.add_saturating(at, max((now - suspended.last_transition_time).total_seconds(), 0))
    return Deadline(at, Reason.TOTAL_DEADLINE_EXCEEDED)


def without_pod(task: Task) -> Deadline | None:
    """Give the schedule deadline of an attempt whose Pod the server does not accept yet."""
    begin = _begin_of_attempt(task)
    return _after(begin, task.spec.deadlines.schedule_seconds, Reason.SCHEDULE_DEADLINE_EXCEEDED)


def of_pod(task: Task, pod: Pod, attempt: Attempt | None, now: datetime) -> Deadline | None:
    """Give the first clock to run out for a live Pod, the total one aside."""
    limits = task.spec.deadlines
    started = started_at(pod, task.spec.container_name, now)
    if started is not None:
        return _after(started, limits.run_seconds, Reason.RUN_DEADLINE_EXCEEDED)
    scheduled = scheduled_at(pod, now)
    if scheduled is None:
        if pod.spec.scheduling_gates:
            return None
        admitted = attempt.admission_time if attempt else None
        begin = admitted or pod.metadata.creation_timestamp
        return _after(begin, limits.schedule_seconds, Reason.SCHEDULE_DEADLINE_EXCEEDED)
    pull = limits.image_pull_seconds if diagnosis.has_pull_error(pod) else None
    candidates = (
        _after(scheduled, pull, Reason.IMAGE_PULL_DEADLINE_EXCEEDED),
        _after(scheduled, limits.start_seconds, Reason.START_DEADLINE_EXCEEDED),
    )
    return min((c for c in candidates if c is not None), default=None)


def started_at(pod: Pod, container: str, now: datetime) -> datetime | None:
    """Give the start of the task's container, on the controller's side of the kubelet's clock."""
    status = pod.container(container)
    running = status.state.running if status else None
    if running is None:
        return None
    return times.to_server_time_within(times.nonzero(running.started_at), pod, now)


def scheduled_at(pod: Pod, now: datetime) -> datetime | None:
    """Give the time at which a node was found for the Pod."""
    condition = pod.condition("PodScheduled")
    if condition is not None and condition.status == "True":
        return times.clamp(condition.last_transition_time, pod, now)
    return times.clamp(None, pod, now) if pod.spec.node_name else None


def _begin_of_attempt(task: Task) -> datetime | None:
    status = task.status
    last = status.attempts[-1] if status.attempts else None
    suspended = status.condition(names.CONDITION_SUSPENDED)
    moments = [
        task.metadata.creation_timestamp,
        status.next_attempt_time,
        last.completion_time if last else None,
        suspended.last_transition_time if suspended else None,
    ]
    return max((m for m in moments if m is not None), default=None)


def _after(begin: datetime | None, seconds: int | None, reason: Reason) -> Deadline | None:
    if begin is None or seconds is None:
        return None
    return Deadline(times.add_saturating(begin, seconds), reason)
