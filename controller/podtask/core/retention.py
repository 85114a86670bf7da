"""What stays after the end: when a finished Pod goes, when the object goes, and when a finalizer has done its work.

Nothing is deleted before its outcome stands in the status. A finished Pod stays for the hold (60 s) whatever the
spec says: as long as it is there its name is taken, so that no stale reader can run the attempt a second time.
"""

from datetime import datetime

from ..api import names
from ..api.reasons import Reason
from ..api.v1alpha1.values import Phase, PodRetention
from . import running_pod, status, termination, times
from .plan import Action, DeletePod, DeleteTask, Plan, RemoveFinalizer, StopPod
from .pod import Pod
from .settings import Settings
from .snapshot import Attempt, Task, TaskSnapshot


def cleanup_pods(snapshot: TaskSnapshot, pods: tuple[Pod, ...], settings: Settings, now: datetime) -> Plan:
    """Release, stop and delete Pods whose attempt is in the status."""
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


def apply_ttl(snapshot: TaskSnapshot, settings: Settings, now: datetime) -> Plan:
    """Delete a finished PodTask whose time is over, and no create of ours under way: its Pods go with it."""
    task = snapshot.task
    spec, done = task.spec, task.status.completion_time
    seconds = spec.ttl_seconds_after_finished
    if task.status.phase in {Phase.SUCCEEDED, Phase.SKIPPED}:
        seconds = spec.ttl_seconds_after_succeeded if spec.ttl_seconds_after_succeeded is not None else seconds
    else:
        seconds = spec.ttl_seconds_after_failed if spec.ttl_seconds_after_failed is not None else seconds
    if seconds is None or done is None:
        return Plan()
    # An edit may have raised it since the last Pod was made, which is when a value over the ceiling is refused.
    most = settings.policy.max_ttl_seconds
    seconds = seconds if most is None else min(seconds, most)
    at = times.add_saturating(done, seconds + times.spread_seconds(task.metadata.uid) if seconds else 0)
    at = max(at, snapshot.unknown_create_deadline or at)
    return Plan(actions=(DeleteTask(),)) if at <= now else Plan(wake_at=at)


def release_all(pods: tuple[Pod, ...]) -> Plan:
    """Let go of Pods whose task is going, or gone: there is no status left to write their outcome to."""
    return Plan(
        actions=tuple(RemoveFinalizer(name=p.metadata.name, uid=p.metadata.uid) for p in pods if p.has_finalizer)
    )


def release_on_delete(snapshot: TaskSnapshot, pods: tuple[Pod, ...], now: datetime) -> Plan:
    """Let go of the Pods of a task that is being deleted, once no create of ours is under way any more.

    As long as a Pod is there its name is taken; without it a late create would run the attempt a second time.
    """
    until = snapshot.unknown_create_deadline
    return Plan(wake_at=until) if until is not None and until > now else release_all(pods)


def _stop(task: Task, pod: Pod, now: datetime) -> Plan:
    """Stop what still runs in a Pod whose attempt is over: its other containers, or a second life nobody asked for."""
    if pod.is_terminal or pod.metadata.deletion_timestamp is not None:
        return Plan()
    if pod.is_stopping:
        return running_pod.escalate(pod, now)
    statuses = {s.name: s for s in pod.status.container_statuses}
    running = [c.name for c in pod.spec.containers if (s := statuses.get(c.name)) is None or s.state.terminated is None]
    if not running:
        return Plan()
    name, uid, reason = pod.metadata.name, pod.metadata.uid, Reason.MAIN_CONTAINER_ENDED
    if termination.has_started(pod, task.spec.container_name):
        return Plan(actions=(StopPod(name=name, uid=uid, reason=reason),))
    return Plan(actions=(DeletePod(name=name, uid=uid, reason=reason),))


def retains_pod(task: Task, pod: Pod) -> bool:
    """Whether a finished Pod of a task stays for good."""
    entry = _entry(task, pod)
    succeeded = entry is not None and status.is_success(entry.outcome)
    retention = task.spec.pod_retention
    return retention == PodRetention.KEEP or (retention == PodRetention.DELETE_SUCCEEDED and not succeeded)


def _entry(task: Task, pod: Pod) -> Attempt | None:
    return next((a for a in task.status.attempts if a.number == pod.attempt), None)


def _delete_at(task: Task, pod: Pod, settings: Settings, now: datetime) -> datetime | None:
    if task.exact_pod_name and not task.status.phase_is_terminal and pod.is_terminal:
        # The next attempt has the same name, so this Pod has to make room at once.
        return now
    if retains_pod(task, pod) or not pod.is_terminal:
        return None
    entry = _entry(task, pod)
    moments = (
        entry.completion_time if entry else None,
        pod.metadata.creation_timestamp,
        # The hold guards what was recorded, which may be long after the end (a controller that was down).
        task.status.completion_time if pod.attempt >= task.status.attempt_count else None,
    )
    ended = max((m for m in moments if m is not None), default=now)
    wanted = task.spec.pod_ttl_seconds_after_finished or 0
    if names.ANNOTATION_ACKNOWLEDGED in task.metadata.annotations:
        wanted = 0
    return times.add_saturating(ended, max(wanted, settings.pod_hold_seconds) + times.spread_seconds(pod.metadata.uid))
