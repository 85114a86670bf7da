"""Cleanup of Pods whose attempt is recorded in the status: their finalizer, what still runs in them, their deletion.

No Pod is deleted before its outcome is in the status. An ended Pod is kept for at least `settings.pod_hold_seconds`,
whatever the spec says: while it exists its name is taken, so no controller with an old cache can create it again.
"""

from datetime import datetime

from ..api import names
from ..api.reasons import Reason
from ..api.v1alpha1.values import AttemptOutcome, PodRetention
from . import pod_stops, termination, times
from .plan import Action, DeletePod, Plan, RemoveFinalizer, StopPod
from .pod import Pod
from .settings import Settings
from .snapshot import Attempt, Task, TaskSnapshot


def cleanup_pods(snapshot: TaskSnapshot, pods: tuple[Pod, ...], settings: Settings, now: datetime) -> Plan:
    """Return the plan that releases, stops and deletes Pods whose attempt is in the status."""
    actions: list[Action] = []
    wakes: list[datetime] = []
    for pod in pods:
        stopped = _stop(snapshot.task, pod, now)
        actions += stopped.actions
        wakes += [stopped.wake_at] if stopped.wake_at else []
        if pod.has_finalizer:
            actions.append(RemoveFinalizer(name=pod.metadata.name, uid=pod.metadata.uid))
        at = _delete_at(snapshot.task, pod, settings, now)
        if at is None or pod.metadata.deletion_timestamp is not None:
            continue
        if at <= now:
            actions.append(DeletePod(name=pod.metadata.name, uid=pod.metadata.uid))
        else:
            wakes.append(at)
    return Plan(actions=tuple(actions), wake_at=min(wakes, default=None))


def _stop(task: Task, pod: Pod, now: datetime) -> Plan:
    """Stop a Pod whose attempt has ended: its other containers, or a Pod that was created a second time."""
    if pod.is_terminal or pod.metadata.deletion_timestamp is not None:
        return Plan()
    if pod.is_stopping:
        return pod_stops.escalate(pod, now)
    statuses = {s.name: s for s in pod.status.container_statuses}
    running = [c.name for c in pod.spec.containers if (s := statuses.get(c.name)) is None or s.state.terminated is None]
    if not running:
        return Plan()
    name, uid, reason = pod.metadata.name, pod.metadata.uid, Reason.MAIN_CONTAINER_ENDED
    if termination.has_started(pod, task.spec.container_name):
        return Plan(actions=(StopPod(name=name, uid=uid, reason=reason),))
    return Plan(actions=(DeletePod(name=name, uid=uid, reason=reason),))


def retains_pod(task: Task, pod: Pod) -> bool:
    """Whether spec.podRetention keeps an ended Pod until its task is deleted."""
    attempt = _recorded_attempt(task, pod)
    succeeded = attempt is not None and attempt.outcome == AttemptOutcome.SUCCEEDED
    retention = task.spec.pod_retention
    return retention == PodRetention.KEEP or (retention == PodRetention.DELETE_SUCCEEDED and not succeeded)


def _recorded_attempt(task: Task, pod: Pod) -> Attempt | None:
    return next((a for a in task.status.attempts if a.number == pod.attempt), None)


def _delete_at(task: Task, pod: Pod, settings: Settings, now: datetime) -> datetime | None:
    if task.exact_pod_name and not task.status.phase_is_terminal and pod.is_terminal:
        # The next attempt's Pod has the same name, so this one is deleted at once.
        return now
    if retains_pod(task, pod) or not pod.is_terminal:
        return None
    attempt = _recorded_attempt(task, pod)
    moments = (
        attempt.completion_time if attempt else None,
        pod.metadata.creation_timestamp,
        # The hold counts from the record, which may be long after the end (the controller was down).
        task.status.completion_time if pod.attempt >= task.status.attempt_count else None,
    )
    ended_at = max((m for m in moments if m is not None), default=now)
    wanted = task.spec.pod_ttl_seconds_after_finished or 0
    if names.ANNOTATION_ACKNOWLEDGED in task.metadata.annotations:
        wanted = 0
    return times.add_saturating(
        ended_at, max(wanted, settings.pod_hold_seconds) + times.spread_seconds(pod.metadata.uid)
    )
