"""The task is being deleted, or is gone: no status can be written, and the garbage collector stops its Pods."""

from datetime import datetime

from . import task_pods
from .plan import Plan, RemoveFinalizer
from .pod import Pod
from .snapshot import TaskSnapshot


def make_plan(snapshot: TaskSnapshot, now: datetime) -> Plan:
    """Return the plan that releases the task's Pods, once none of our creates can still be carried out.

    While a Pod exists its name is taken. Without it a late create would run the attempt a second time.
    """
    until = snapshot.unknown_create_deadline
    if until is not None and until > now:
        return Plan(wake_at=until)
    return release(task_pods.owned_pods(snapshot))


def release(pods: tuple[Pod, ...]) -> Plan:
    """Return the plan that removes our finalizer from each Pod that has it."""
    return Plan(
        actions=tuple(RemoveFinalizer(name=p.metadata.name, uid=p.metadata.uid) for p in pods if p.has_finalizer)
    )
