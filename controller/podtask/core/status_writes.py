"""Plans that write the status, with the Event that goes with it."""

from datetime import datetime

from ..api.reasons import Reason
from ..api.v1alpha1.values import Phase
from . import status, times
from .plan import Event, Plan, WriteStatus
from .pod import Pod
from .settings import Settings
from .snapshot import Task, TaskSnapshot, TaskStatus


def write(written: TaskStatus) -> Plan:
    """Return the plan that writes a status. Failures and retries are also reported as an Event."""
    events: tuple[Event, ...] = ()
    if written.phase == Phase.FAILED or written.reason == Reason.BACKOFF:
        events = (Event(kind="Warning", reason=written.reason, message=written.message),)
    return Plan(actions=(WriteStatus(status=written),), events=events)


def finish(task: Task, phase: Phase, reason: Reason, message: str, now: datetime) -> Plan:
    """Return the plan that finishes a task whose current attempt has no Pod."""
    return write(status.finished(task, task.status, phase, reason, message, now))


def set_reason_debounced(
    snapshot: TaskSnapshot, phase: str, reason: Reason, message: str, pod: Pod | None, settings: Settings, now: datetime
) -> Plan:
    """Plan a status write for a waiting reason, debounced, or nothing where the status says so already.

    It is not written before `settings.diagnosis_seconds` after the creation of the Pod (without one: of the task) and
    after the previous such write.
    """
    task = snapshot.task
    written = status.with_reason(task, phase, reason, message, pod)
    if (task.status.phase, task.status.reason, task.status.message) == (written.phase, written.reason, written.message):
        return Plan()
    created_at = pod.metadata.creation_timestamp if pod else task.metadata.creation_timestamp
    last = max((t for t in (created_at, snapshot.diagnosed_at) if t is not None), default=now)
    at = times.add_saturating(last, settings.diagnosis_seconds)
    if at > now:
        return Plan(wake_at=at)
    return Plan(actions=(WriteStatus(status=written),))
