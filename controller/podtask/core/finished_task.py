"""The task has finished, and its phase never changes again: its Pods are cleaned up, then the object itself expires."""

from datetime import datetime

from ..api.reasons import Reason
from ..api.v1alpha1.values import Phase
from . import policy, retention, status, task_pods, times
from .plan import DeleteTask, Event, Plan, WriteStatus, join
from .settings import Settings
from .snapshot import Task, TaskSnapshot


def make_plan(snapshot: TaskSnapshot, settings: Settings, now: datetime) -> Plan:
    """Return the plan for a finished task. It covers every Pod that the task owns, those of late creates included."""
    return join(
        _observe_generation(snapshot.task, settings),
        retention.cleanup_pods(snapshot, task_pods.owned_pods(snapshot), settings, now),
        _apply_ttl(snapshot, settings, now),
    )


def _observe_generation(task: Task, settings: Settings) -> Plan:
    """Write the observed generations after an edit of the TTL, because tools wait for them."""
    if task.status.observed_generation == task.metadata.generation:
        return Plan()
    # A finished task cannot be refused any more, so `_apply_ttl` enforces the ceiling, and this Event reports it.
    problems = "; ".join(policy.excesses(task.spec, settings.policy))
    events = (Event(kind="Warning", reason=Reason.POLICY_DENIED, message=problems),) if problems else ()
    return Plan(actions=(WriteStatus(status=status.observed(task)),), events=events)


def _apply_ttl(snapshot: TaskSnapshot, settings: Settings, now: datetime) -> Plan:
    """Delete the PodTask after its time to live, when none of our creates can still be carried out.

    The garbage collector deletes its Pods with it.
    """
    task = snapshot.task
    spec, finished_at = task.spec, task.status.completion_time
    seconds = spec.ttl_seconds_after_finished
    if task.status.phase in {Phase.SUCCEEDED, Phase.SKIPPED}:
        seconds = spec.ttl_seconds_after_succeeded if spec.ttl_seconds_after_succeeded is not None else seconds
    else:
        seconds = spec.ttl_seconds_after_failed if spec.ttl_seconds_after_failed is not None else seconds
    if seconds is None or finished_at is None:
        return Plan()
    # The policy was checked when the last Pod was created. An edit since then may have set more than the ceiling.
    ceiling = settings.policy.max_ttl_seconds
    seconds = seconds if ceiling is None else min(seconds, ceiling)
    at = times.add_saturating(finished_at, seconds + times.spread_seconds(task.metadata.uid) if seconds else 0)
    at = max(at, snapshot.unknown_create_deadline or at)
    return Plan(actions=(DeleteTask(),)) if at <= now else Plan(wake_at=at)
