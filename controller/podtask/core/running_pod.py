"""A Pod that lives: stop it where something demands that, else say in the status how it stands.

A started Pod is stopped by a PATCH of activeDeadlineSeconds: the kubelet then ends every container with its grace,
the sidecar delivers the result, and Pod and log stay. A DELETE would lose the log; it is for Pods that never started,
are lost, or make room (suspend).
"""

from datetime import datetime

from ..api.reasons import Reason
from ..api.v1alpha1.values import Phase
from . import deadlines, diagnosis, identity, status, termination, times
from .plan import Action, DeletePod, Plan, ReadPodEvents, StopPod, WriteStatus
from .pod import Pod
from .settings import Settings
from .snapshot import Task, TaskSnapshot, spec_as_dict

_UNREACHABLE_SECONDS = 30
"""A Pod that is still there so long after its grace has a node that does not answer."""

_UNHEEDED_SECONDS = 60
"""A Pod that is asked to stop, and still runs so long after its grace, has a kubelet that does not do it."""

_EVENTS_AFTER_SECONDS = 10
"""A Pod that its node has for so long and has not begun to start is asked after in its Events."""


def reconcile_pod(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Plan:
    """Decide about the live Pod of the attempt under way."""
    task = snapshot.task
    if pod.metadata.deletion_timestamp is not None:
        return _terminating(snapshot, pod, settings, now)
    if pod.is_stopping:
        return _stopping(snapshot, pod, settings, now)
    if pod.stop_reason:
        # The reason was noted and the DELETE did not follow (a restart in between).
        return Plan(actions=(DeletePod(name=pod.metadata.name, uid=pod.metadata.uid, reason=pod.stop_reason),))
    if _gates_lifted(task, pod):
        # Noted before any clock is read: the schedule clock begins with it.
        return Plan(actions=(WriteStatus(status=status.admitted(task, pod, now)),))
    deadline = deadlines.of_pod(task, pod, status.current_attempt(task), now)
    total = deadlines.total(task, now)
    reason = _stop_reason(task, pod, now, deadline, total)
    if reason is not None:
        return _stop(snapshot, pod, reason)
    alarms = [d.at for d in (deadline, total) if d is not None]
    if task.spec.cancel_time is not None:
        alarms.append(task.spec.cancel_time)
    told = _report_state(snapshot, pod, settings, now)
    if told.wake_at is not None:
        alarms.append(told.wake_at)
    return Plan(actions=told.actions, events=told.events, wake_at=min(alarms, default=None))


def stop_others(pod: Pod, container: str) -> tuple[Action, ...]:
    """Stop a Pod whose main container has ended while others run on. Native sidecars are for the kubelet to end.

    A stop that is noted already keeps its reason: the attempt was judged by it, and is judged again with every change.
    """
    if pod.is_terminal or pod.is_stopping:
        return ()
    others = [s for s in pod.status.container_statuses if s.name != container and s.state.terminated is None]
    if not others:
        return ()
    reason = pod.stop_reason or Reason.MAIN_CONTAINER_ENDED
    return (StopPod(name=pod.metadata.name, uid=pod.metadata.uid, reason=reason),)


def escalate(pod: Pod, now: datetime) -> Plan:
    """Delete a Pod that was asked to stop and does not, a minute after its grace; the noted reason stays on it.

    The time of the request stands on the Pod, where any controller reads it. A Pod that an older one has stopped is
    without it, and gets it now.
    """
    name, uid, reason = pod.metadata.name, pod.metadata.uid, pod.stop_reason
    if pod.stop_time is None:
        return Plan(actions=(StopPod(name=name, uid=uid, reason=reason),))
    at = times.add_saturating(pod.stop_time, pod.spec.termination_grace_period_seconds + _UNHEEDED_SECONDS)
    return Plan(actions=(DeletePod(name=name, uid=uid, reason=reason),)) if at <= now else Plan(wake_at=at)


def force_delete(task: Task, pod: Pod, now: datetime) -> Plan:
    """Give up a Pod on an unreachable node after the time that the user allowed for it, and not before."""
    gone_at, patience = pod.metadata.deletion_timestamp, task.spec.force_delete_pod_after_seconds
    if gone_at is None or patience is None or pod.is_terminal:
        return Plan()
    at = times.add_saturating(gone_at, patience)
    if at > now:
        return Plan(wake_at=at)
    return Plan(
        actions=(DeletePod(name=pod.metadata.name, uid=pod.metadata.uid, reason=Reason.NODE_LOST, grace_seconds=0),)
    )


def set_reason_debounced(
    snapshot: TaskSnapshot, phase: str, reason: Reason, message: str, pod: Pod | None, settings: Settings, now: datetime
) -> Plan:
    """Write a diagnosis once it has lasted, and not more often than every few seconds."""
    task = snapshot.task
    told = status.with_reason(task, phase, reason, message, pod)
    if (task.status.phase, task.status.reason, task.status.message) == (told.phase, told.reason, told.message):
        return Plan()
    begin = pod.metadata.creation_timestamp if pod else task.metadata.creation_timestamp
    last = max((t for t in (begin, snapshot.diagnosed_at) if t is not None), default=now)
    at = times.add_saturating(last, settings.diagnosis_seconds)
    if at > now:
        return Plan(wake_at=at)
    return Plan(actions=(WriteStatus(status=told),))


def end_wanted(task: Task, total: deadlines.Deadline | None, now: datetime) -> Reason | None:
    """Give the wish or limit of the spec that ends the whole task now. To suspend comes before the total time."""
    if task.spec.cancel:
        return Reason.CANCELLED
    if task.spec.cancel_time is not None and task.spec.cancel_time <= now:
        return Reason.CANCEL_TIME_REACHED
    return total.reason if total is not None and total.at <= now and not task.spec.suspend else None


def spec_hash(task: Task) -> str:
    """Digest the spec as it stands."""
    return identity.spec_hash(spec_as_dict(task))


def _stop_reason(
    task: Task, pod: Pod, now: datetime, deadline: deadlines.Deadline | None, total: deadlines.Deadline | None
) -> Reason | None:
    wanted = end_wanted(task, total, now)
    if wanted is not None:
        return wanted
    if task.spec.suspend:
        return Reason.SUSPENDED
    if deadline is not None and deadline.at <= now:
        return deadline.reason
    found = diagnosis.diagnose(pod)
    return found.reason if found is not None and found.is_fatal else None


def _stop(snapshot: TaskSnapshot, pod: Pod, reason: Reason) -> Plan:
    task, name, uid = snapshot.task, pod.metadata.name, pod.metadata.uid
    if not termination.has_started(pod, task.spec.container_name):
        # What held it up is written first: a deleted Pod does not tell it any more.
        return Plan(actions=(*_report_obstacle(snapshot, pod), DeletePod(name=name, uid=uid, reason=reason)))
    if reason is Reason.SUSPENDED:
        return Plan(actions=(DeletePod(name=name, uid=uid, reason=reason),))
    return Plan(actions=(StopPod(name=name, uid=uid, reason=reason),))


def _report_obstacle(snapshot: TaskSnapshot, pod: Pod) -> tuple[Action, ...]:
    found = diagnosis.diagnose(pod, snapshot.pod_events)
    if found is None or found.reason == snapshot.task.status.reason:
        return ()
    return (WriteStatus(status=status.with_reason(snapshot.task, Phase.PENDING, found.reason, found.message, pod)),)


def _terminating(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Plan:
    """Deleted and not gone: its node is at work on it, or does not answer."""
    forced = force_delete(snapshot.task, pod, now)
    gone_at = pod.metadata.deletion_timestamp
    if forced.actions or gone_at is None:
        return forced
    overdue_at = times.add_saturating(gone_at, _UNREACHABLE_SECONDS)
    wakes = [at for at in (forced.wake_at, overdue_at if overdue_at > now else None) if at is not None]
    if overdue_at > now:
        return Plan(wake_at=min(wakes, default=None))
    message = (
        f"Pod {pod.metadata.name} was to end by {gone_at:%Y-%m-%dT%H:%M:%SZ} and has not;"
        f" node {pod.spec.node_name} may be unreachable"
    )
    told = set_reason_debounced(
        snapshot, snapshot.task.status.phase, Reason.NODE_UNREACHABLE, message, pod, settings, now
    )
    wakes += [told.wake_at] if told.wake_at else []
    return Plan(actions=told.actions, wake_at=min(wakes, default=None))


def _report_state(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Plan:
    task = snapshot.task
    if termination.has_started(pod, task.spec.container_name):
        return _report_running(task, pod, settings, now)
    events_at = _events_due_at(snapshot, pod, now)
    if events_at is not None and events_at <= now:
        return Plan(actions=(ReadPodEvents(name=pod.metadata.name, uid=pod.metadata.uid),))
    told = _report_waiting(snapshot, pod, settings, now)
    wakes = [at for at in (told.wake_at, events_at) if at is not None]
    return Plan(actions=told.actions, wake_at=min(wakes, default=None))


def _events_due_at(snapshot: TaskSnapshot, pod: Pod, now: datetime) -> datetime | None:
    """Say when the Events of a Pod are to be read: never of one that starts as it should."""
    scheduled = deadlines.scheduled_at(pod, now)
    if scheduled is None or not diagnosis.waits_for_volumes_or_network(pod):
        return None
    read = snapshot.pod_events
    if read is not None and read.pod_uid == pod.metadata.uid:
        return read.again_at
    return times.add_saturating(scheduled, _EVENTS_AFTER_SECONDS)


def _stopping(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Plan:
    """Asked to stop, and not deleted: the kubelet is at work on it, or does not do it."""
    escalated = escalate(pod, now)
    if escalated.wake_at is not None:
        stopping = _report_stopping(snapshot, pod, settings, now)
        return Plan(actions=stopping.actions, wake_at=min(stopping.wake_at or escalated.wake_at, escalated.wake_at))
    task = snapshot.task
    if pod.stop_time is None or task.status.reason == Reason.NODE_UNREACHABLE:
        return escalated
    message = (
        f"Pod {pod.metadata.name} was asked to stop at {pod.stop_time:%Y-%m-%dT%H:%M:%SZ} and runs on after its grace"
        f" of {pod.spec.termination_grace_period_seconds} s: it is deleted; node {pod.spec.node_name} may be"
        " unreachable"
    )
    told = status.with_reason(task, task.status.phase, Reason.NODE_UNREACHABLE, message, pod)
    return Plan(actions=(WriteStatus(status=told), *escalated.actions))


def _report_stopping(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Plan:
    """Say that it is being stopped, and why: a long grace would look as if nothing had been heard."""
    task = snapshot.task
    cause = deadlines.message_for(task, pod.stop_reason)
    if not cause:
        return Plan()
    grace = pod.spec.termination_grace_period_seconds
    message = f"{cause}; Pod {pod.metadata.name} is being stopped and has {grace} s for it"
    return set_reason_debounced(snapshot, task.status.phase, Reason.STOPPING, message, pod, settings, now)


def _report_waiting(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Plan:
    task = snapshot.task
    found = diagnosis.diagnose(pod, snapshot.pod_events)
    if found is not None and found.is_backoff_repeat and found.reason == task.status.reason:
        return Plan()
    if found is not None:
        return set_reason_debounced(snapshot, Phase.PENDING, found.reason, found.message, pod, settings, now)
    if task.status.reason in _CURED:
        return set_reason_debounced(
            snapshot, Phase.PENDING, Reason.CREATED, diagnosis.progress(pod), pod, settings, now
        )
    return _report_progress(snapshot, pod, settings, now)


_CURED = diagnosis.REASONS | {
    Reason.QUOTA_EXCEEDED,
    Reason.CREATE_REFUSED,
    Reason.NAME_TAKEN,
    Reason.CONCURRENCY_LIMIT,
    Reason.POD_TERMINATING,
    Reason.BACKOFF,
    Reason.SUSPENDED,
}
"""What no longer holds once there is a Pod that nothing holds up, though it has not started yet."""


def _report_progress(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Plan:
    """Say that a slow start goes on: whoever waits learns that a controller is at work, and at what."""
    at = times.add_saturating(pod.metadata.creation_timestamp or now, settings.progress_seconds)
    if at > now:
        return Plan(wake_at=at)
    return set_reason_debounced(snapshot, Phase.PENDING, Reason.CREATED, diagnosis.progress(pod), pod, settings, now)


def _report_running(task: Task, pod: Pod, settings: Settings, now: datetime) -> Plan:
    entry = status.current_attempt(task)
    known = entry is not None and entry.pod_uid == pod.metadata.uid
    if task.status.phase == Phase.RUNNING and known and not _is_stale(task):
        return Plan()
    at = _report_due_at(task, pod, settings)
    if at is not None and now < at <= times.add_saturating(now, settings.running_seconds + 1):
        return Plan(wake_at=at)
    return Plan(actions=(WriteStatus(status=status.with_reason(task, Phase.RUNNING, Reason.RUNNING, "", pod)),))


def _report_due_at(task: Task, pod: Pod, settings: Settings) -> datetime | None:
    """Say from when on it is told that the task runs: one that is over by then saves the write.

    A clock that is ahead must not put it off: a start in the future is not waited for.
    """
    main = pod.container(task.spec.container_name)
    running = main.state.running if main is not None else None
    if running is None or running.started_at is None:
        return None
    return times.add_saturating(running.started_at, settings.running_seconds + times.spread_seconds(pod.metadata.uid))


def _is_stale(task: Task) -> bool:
    return task.status.observed_generation != task.metadata.generation


def _gates_lifted(task: Task, pod: Pod) -> bool:
    entry = status.current_attempt(task)
    waited = entry is not None and entry.admission_time is None and task.status.reason == Reason.SCHEDULING_GATED
    return waited and not pod.spec.scheduling_gates
