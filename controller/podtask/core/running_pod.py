"""The current attempt's Pod has not ended: stop it if the spec or a deadline demands it, else report its state."""

from datetime import datetime

from ..api.reasons import Reason
from ..api.v1alpha1.values import Phase
from . import deadlines, diagnosis, pod_stops, status, status_writes, stop_messages, termination, times
from .plan import Action, DeletePod, Plan, ReadPodEvents, StopPod, WriteStatus, join
from .pod import Pod
from .settings import Settings
from .snapshot import Task, TaskSnapshot

_UNREACHABLE_SECONDS = 30
"""A Pod that still exists this long after its deletionTimestamp is on a node that may be unreachable."""

_EVENTS_AFTER_SECONDS = 10
"""The Events of a Pod are read if it was scheduled this long ago and none of its containers has started."""

_OUTDATED_REASONS = diagnosis.REASONS | {
    Reason.QUOTA_EXCEEDED,
    Reason.CREATE_REFUSED,
    Reason.NAME_TAKEN,
    Reason.CONCURRENCY_LIMIT,
    Reason.POD_TERMINATING,
    Reason.BACKOFF,
    Reason.SUSPENDED,
}
"""Waiting reasons that no longer hold when the Pod exists and nothing holds it up, although it has not started."""


def make_plan(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Plan:
    """Return the plan for a task whose current attempt's Pod has not ended."""
    task = snapshot.task
    if pod.metadata.deletion_timestamp is not None:
        return _wait_for_deletion(snapshot, pod, settings, now)
    if pod.is_stopping:
        return _wait_for_stop(snapshot, pod, settings, now)
    if pod.stop_reason:
        # The stop reason was written and the DELETE did not follow: the controller restarted between the two.
        return Plan(actions=(DeletePod(name=pod.metadata.name, uid=pod.metadata.uid, reason=pod.stop_reason),))
    if _gates_removed(task, pod):
        # Written before any deadline is checked, because the schedule deadline counts from this time.
        return Plan(actions=(WriteStatus(status=status.admitted(task, pod, now)),))
    deadline = deadlines.of_pod(task, pod, status.current_attempt(task), now)
    total = deadlines.total(task, now)
    reason = _stop_reason(task, pod, now, deadline, total)
    if reason is not None:
        return _stop(snapshot, pod, reason)
    alarms = (deadline.at if deadline else None, total.at if total else None, task.spec.cancel_time)
    return join(_report_state(snapshot, pod, settings, now), *(Plan(wake_at=at) for at in alarms))


# ---- the Pod is being stopped ----


def _wait_for_deletion(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Plan:
    """Wait for a Pod that was deleted and still exists: its node stops it, or does not answer."""
    forced = pod_stops.force_delete(snapshot.task, pod, now)
    deleted_at = pod.metadata.deletion_timestamp
    if forced.actions or deleted_at is None:
        return forced
    overdue_at = times.add_saturating(deleted_at, _UNREACHABLE_SECONDS)
    if overdue_at > now:
        return join(forced, Plan(wake_at=overdue_at))
    message = (
        f"Pod {pod.metadata.name} should have ended by {deleted_at:%Y-%m-%dT%H:%M:%SZ};"
        f" node {pod.spec.node_name} may be unreachable"
    )
    phase = snapshot.task.status.phase
    report = status_writes.set_reason_debounced(snapshot, phase, Reason.NODE_UNREACHABLE, message, pod, settings, now)
    return join(report, forced)


def _wait_for_stop(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Plan:
    """Wait for a Pod that was asked to stop and is not deleted, and delete it if its kubelet does not act."""
    task = snapshot.task
    escalated = pod_stops.escalate(pod, now)
    if escalated.wake_at is not None:
        return join(_report_stopping(snapshot, pod, settings, now), escalated)
    if pod.stop_time is None or task.status.reason == Reason.NODE_UNREACHABLE:
        return escalated
    message = (
        f"Pod {pod.metadata.name} was requested to stop at {pod.stop_time:%Y-%m-%dT%H:%M:%SZ} and still runs after its"
        f" grace period of {pod.spec.termination_grace_period_seconds} s, so it is deleted; node"
        f" {pod.spec.node_name} may be unreachable"
    )
    written = status.with_reason(task, task.status.phase, Reason.NODE_UNREACHABLE, message, pod)
    return join(Plan(actions=(WriteStatus(status=written),)), escalated)


def _report_stopping(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Plan:
    """Report that the Pod is being stopped, and why: its grace period may be long."""
    message = stop_messages.while_stopping(snapshot.task, pod)
    if not message:
        return Plan()
    phase = snapshot.task.status.phase
    return status_writes.set_reason_debounced(snapshot, phase, Reason.STOPPING, message, pod, settings, now)


# ---- the Pod is to be stopped ----


def _gates_removed(task: Task, pod: Pod) -> bool:
    attempt = status.current_attempt(task)
    was_gated = attempt is not None and attempt.admission_time is None and task.status.reason == Reason.SCHEDULING_GATED
    return was_gated and not pod.spec.scheduling_gates


def _stop_reason(
    task: Task, pod: Pod, now: datetime, deadline: deadlines.Deadline | None, total: deadlines.Deadline | None
) -> Reason | None:
    end_reason = deadlines.end_reason(task, total, now)
    if end_reason is not None:
        return end_reason
    if task.spec.suspend:
        return Reason.SUSPENDED
    if deadline is not None and deadline.at <= now:
        return deadline.reason
    found = diagnosis.diagnose(pod)
    return found.reason if found is not None and found.is_fatal else None


def _stop(snapshot: TaskSnapshot, pod: Pod, reason: Reason) -> Plan:
    name, uid = pod.metadata.name, pod.metadata.uid
    if not termination.has_started(pod, snapshot.task.spec.container_name):
        # What held the Pod up is written first: a deleted Pod does not report it any more.
        return Plan(actions=(*_write_obstacle(snapshot, pod), DeletePod(name=name, uid=uid, reason=reason)))
    if reason is Reason.SUSPENDED:
        return Plan(actions=(DeletePod(name=name, uid=uid, reason=reason),))
    return Plan(actions=(StopPod(name=name, uid=uid, reason=reason),))


def _write_obstacle(snapshot: TaskSnapshot, pod: Pod) -> tuple[Action, ...]:
    found = diagnosis.diagnose(pod, snapshot.pod_events)
    if found is None or found.reason == snapshot.task.status.reason:
        return ()
    return (WriteStatus(status=status.with_reason(snapshot.task, Phase.PENDING, found.reason, found.message, pod)),)


# ---- the Pod goes on ----


def _report_state(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Plan:
    if termination.has_started(pod, snapshot.task.spec.container_name):
        return _report_running(snapshot.task, pod, settings, now)
    events_at = _events_due_at(snapshot, pod, now)
    if events_at is not None and events_at <= now:
        return Plan(actions=(ReadPodEvents(name=pod.metadata.name, uid=pod.metadata.uid),))
    return join(_report_waiting(snapshot, pod, settings, now), Plan(wake_at=events_at))


def _report_running(task: Task, pod: Pod, settings: Settings, now: datetime) -> Plan:
    attempt = status.current_attempt(task)
    is_recorded = attempt is not None and attempt.pod_uid == pod.metadata.uid
    is_observed = task.status.observed_generation == task.metadata.generation
    if task.status.phase == Phase.RUNNING and is_recorded and is_observed:
        return Plan()
    at = _running_due_at(task, pod, settings)
    if at is not None and now < at <= times.add_saturating(now, settings.running_seconds + 1):
        return Plan(wake_at=at)
    return Plan(actions=(WriteStatus(status=status.with_reason(task, Phase.RUNNING, Reason.RUNNING, "", pod)),))


def _running_due_at(task: Task, pod: Pod, settings: Settings) -> datetime | None:
    """Return when the phase Running is to be written. A task that has ended by then needs one write less.

    None if the start is not known. The caller does not wait for a start in the future (a kubelet's clock ahead).
    """
    main = pod.container(task.spec.container_name)
    running = main.state.running if main is not None else None
    if running is None or running.started_at is None:
        return None
    return times.add_saturating(running.started_at, settings.running_seconds + times.spread_seconds(pod.metadata.uid))


def _events_due_at(snapshot: TaskSnapshot, pod: Pod, now: datetime) -> datetime | None:
    """Return when the Pod's Events are to be read, or None: Pods that start normally need no such read."""
    scheduled_at = deadlines.scheduled_at(pod, now)
    if scheduled_at is None or not diagnosis.waits_for_volumes_or_network(pod):
        return None
    read = snapshot.pod_events
    if read is not None and read.pod_uid == pod.metadata.uid:
        return read.again_at
    return times.add_saturating(scheduled_at, _EVENTS_AFTER_SECONDS)


def _report_waiting(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Plan:
    """Report what holds the Pod up, or the progress of a slow start: a user sees that the controller works on it."""
    last_reason = snapshot.task.status.reason
    found = diagnosis.diagnose(pod, snapshot.pod_events)
    if found is not None and found.is_backoff_repeat and found.reason == last_reason:
        return Plan()
    reason, message = Reason.CREATED, diagnosis.progress(pod)
    if found is not None:
        reason, message = found.reason, found.message
    elif last_reason not in _OUTDATED_REASONS:
        at = times.add_saturating(pod.metadata.creation_timestamp or now, settings.progress_seconds)
        if at > now:
            return Plan(wake_at=at)
    return status_writes.set_reason_debounced(snapshot, Phase.PENDING, reason, message, pod, settings, now)
