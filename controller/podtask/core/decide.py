"""Choose what to do about one task. `core` does no I/O: the same snapshot, time and settings always give the same plan.

One module answers each case: `deleted_task`, `finished_task`, `no_pod`, `running_pod`, `ended_pod`. Where a fact is
missing the plan contains the request that reads it (`VerifyDeleted`, `ReadPod`, `ReadPodEvents`, `ReadResultLog`).
After a plan was applied, `decide` returns an empty plan or a later `wake_at`.
"""

from datetime import datetime

import msgspec

from ..api import names
from ..api.reasons import Reason
from ..api.v1alpha1.values import Phase
from . import (
    deleted_task,
    ended_pod,
    finished_task,
    no_pod,
    policy,
    retention,
    running_pod,
    status,
    status_writes,
    task_pods,
)
from .plan import Plan, ReadPod, join
from .pod import Pod
from .settings import Settings
from .snapshot import TaskSnapshot
from .termination import classify_termination


def decide(snapshot: TaskSnapshot, now: datetime, settings: Settings) -> Plan:
    """Return the actions to take now, and the time at which to decide again if no event comes before."""
    chosen = _choose(_with_defaults(task_pods.in_namespace(snapshot), settings), now, settings)
    deadline = snapshot.unknown_create_deadline
    if settings.policy.max_running_pods is None or deadline is None or deadline <= now:
        return chosen
    # A create without a reply may still make its Pod, whatever was learnt since (a refusal, a cancellation).
    return join(chosen, Plan(wake_at=deadline, reserves_slot=True))


def decide_orphans(pods: tuple[Pod, ...]) -> Plan:
    """Return the plan for Pods whose task does not exist (the caller has confirmed that by a live read)."""
    return deleted_task.release(pods)


def _with_defaults(snapshot: TaskSnapshot, settings: Settings) -> TaskSnapshot:
    """Fill in the platform's deadlines, time to live and result size where the task sets none."""
    task = snapshot.task
    spec = policy.with_defaults(task.spec, settings.policy)
    if spec is task.spec:
        return snapshot
    return msgspec.structs.replace(snapshot, task=msgspec.structs.replace(task, spec=spec))


def _choose(snapshot: TaskSnapshot, now: datetime, settings: Settings) -> Plan:
    task = snapshot.task
    if task.spec.managed_by != names.CONTROLLER:
        return Plan()
    if task.metadata.deletion_timestamp is not None:
        return deleted_task.make_plan(snapshot, now)
    if task.status.phase_is_terminal:
        return finished_task.make_plan(snapshot, settings, now)
    if task.problem:
        # A Pod that still runs is stopped by `finished_task`, after this status was written.
        return status_writes.finish(task, Phase.FAILED, Reason.INVALID_SPEC, task.problem, now)
    pods = task_pods.attempt_pods(snapshot)
    pod = task_pods.current_pod(task, pods)
    if pod is not None and task_pods.is_unconfirmed(snapshot, pod):
        return Plan(actions=(ReadPod(name=pod.metadata.name, uid=pod.metadata.uid),))
    past = tuple(p for p in pods if p.attempt <= task.status.attempt_count)
    cleanup = retention.cleanup_pods(snapshot, past, settings, now)
    return join(_choose_by_pod(snapshot, pod, settings, now), cleanup)


def _choose_by_pod(snapshot: TaskSnapshot, pod: Pod | None, settings: Settings, now: datetime) -> Plan:
    if pod is None:
        return no_pod.make_plan(snapshot, settings, now)
    task = snapshot.task
    was_running = status.attempt_of_pod(task, pod).start_time is not None
    termination = classify_termination(pod, task.spec.container_name, was_running=was_running)
    if termination is None:
        return running_pod.make_plan(snapshot, pod, settings, now)
    return ended_pod.make_plan(snapshot, pod, termination, settings, now)
