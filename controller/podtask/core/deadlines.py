"""The deadlines of a task: each has a time, and the reason for the status when that time has passed.

Deadlines count from times that the objects contain (creationTimestamp, the PodScheduled condition, the container's
startedAt), so a restart of the controller does not change them. The kubelet's clock may be wrong; `times` corrects it.
"""

from datetime import datetime
from typing import NamedTuple

from ..api import names
from ..api.reasons import Reason
from . import diagnosis, times
from .pod import Pod
from .snapshot import Attempt, Task


class Deadline(NamedTuple):
    """When a deadline passes, and its reason."""

    at: datetime
    reason: Reason


def total(task: Task, now: datetime) -> Deadline | None:
    """Return the deadline for all attempts (deadlines.totalSeconds). Time spent suspended does not count."""
    seconds = task.spec.deadlines.total_seconds
    created = task.metadata.creation_timestamp
    if seconds is None or created is None:
        return None
    at = times.add_saturating(created, seconds + task.status.suspended_seconds)
    suspended = task.status.condition(names.CONDITION_SUSPENDED)
    if suspended is not None and suspended.status == "True":
        at = times.add_saturating(at, max((now - suspended.last_transition_time).total_seconds(), 0))
    return Deadline(at, Reason.TOTAL_DEADLINE_EXCEEDED)


def end_reason(task: Task, total: Deadline | None, now: datetime) -> Reason | None:
    """Return the field of the spec that ends the whole task now, or None. `total` is None where it is checked later.

    A task that is to be suspended does not end by its total deadline.
    """
    if task.spec.cancel:
        return Reason.CANCELLED
    if task.spec.cancel_time is not None and task.spec.cancel_time <= now:
        return Reason.CANCEL_TIME_REACHED
    return total.reason if total is not None and total.at <= now and not task.spec.suspend else None


def without_pod(task: Task) -> Deadline | None:
    """Return the schedule deadline of an attempt whose Pod the API server does not accept."""
    return _after(_attempt_due_at(task), task.spec.deadlines.schedule_seconds, Reason.SCHEDULE_DEADLINE_EXCEEDED)


def of_pod(task: Task, pod: Pod, attempt: Attempt | None, now: datetime) -> Deadline | None:
    """Return the next deadline of a Pod that has not ended. The total deadline is not among them."""
    limits = task.spec.deadlines
    started = started_at(pod, task.spec.container_name, now)
    if started is not None:
        return _after(started, limits.run_seconds, Reason.RUN_DEADLINE_EXCEEDED)
    scheduled = scheduled_at(pod, now)
    if scheduled is None:
        if pod.spec.scheduling_gates:
            return None
        admitted = attempt.admission_time if attempt else None
        return _after(
            admitted or pod.metadata.creation_timestamp, limits.schedule_seconds, Reason.SCHEDULE_DEADLINE_EXCEEDED
        )
    pull = limits.image_pull_seconds if diagnosis.has_pull_error(pod) else None
    candidates = (
        _after(scheduled, pull, Reason.IMAGE_PULL_DEADLINE_EXCEEDED),
        _after(scheduled, limits.start_seconds, Reason.START_DEADLINE_EXCEEDED),
    )
    return min((c for c in candidates if c is not None), default=None)


def started_at(pod: Pod, container: str, now: datetime) -> datetime | None:
    """Return the start of the task's container by the API server's clock, or None if it does not run."""
    status = pod.container(container)
    running = status.state.running if status else None
    if running is None:
        return None
    return times.to_server_time_within(times.nonzero(running.started_at), pod, now)


def scheduled_at(pod: Pod, now: datetime) -> datetime | None:
    """Return when the Pod was scheduled, or None if it is not."""
    condition = pod.condition("PodScheduled")
    if condition is not None and condition.status == "True":
        return times.clamp(condition.last_transition_time, pod, now)
    return times.clamp(None, pod, now) if pod.spec.node_name else None


def _attempt_due_at(task: Task) -> datetime | None:
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


def _after(start: datetime | None, seconds: int | None, reason: Reason) -> Deadline | None:
    if start is None or seconds is None:
        return None
    return Deadline(times.add_saturating(start, seconds), reason)
