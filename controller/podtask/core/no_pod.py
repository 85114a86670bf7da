"""The current attempt has no Pod: it is created now, or must wait, or was recorded and has disappeared."""

from datetime import datetime

import msgspec

from ..api import names
from ..api.reasons import Reason
from ..api.v1alpha1.values import AttemptOutcome, Phase
from . import (
    attempts,
    create_errors,
    deadlines,
    label_recovery,
    pod_stops,
    podspec,
    policy,
    retention,
    status,
    status_writes,
    stop_messages,
    task_pods,
    times,
)
from .plan import CreatePod, DeletePod, Plan, RemoveFinalizer, VerifyDeleted, WriteStatus, join
from .pod import Pod
from .settings import Settings
from .snapshot import Attempt, CreateError, Task, TaskSnapshot, TaskStatus, spec_hash
from .termination import Termination

_MAX_RELABELLINGS = 6
"""With a delay that doubles each time, the labels of a Pod have a minute in which to stay."""


def make_plan(snapshot: TaskSnapshot, settings: Settings, now: datetime) -> Plan:
    """Return the plan for a task without a Pod of the current attempt."""
    task = snapshot.task
    number = status.current_attempt_number(task)
    name = task_pods.pod_name(task, number)
    unlabelled = label_recovery.find_unlabelled(snapshot, name)
    if unlabelled is not None and label_recovery.attempt_number(task, unlabelled) == number:
        return _restore_labels(snapshot, unlabelled, now)
    attempt = status.current_attempt(task)
    if attempt is not None:
        return _record_missing_pod(snapshot, attempt, now)
    unseen = _unseen_pod_uid(snapshot)
    if unseen:
        return Plan(actions=(VerifyDeleted(name=name, uid=unseen),))
    cancelled = deadlines.end_reason(task, None, now)
    if cancelled is not None:
        return _finish_by_limit(task, Phase.CANCELLED, cancelled, now)
    if too_large := policy.oversize(task.spec_bytes, settings.policy):
        return status_writes.finish(task, Phase.FAILED, Reason.SPEC_TOO_LARGE, too_large, now)
    alarm = Plan(wake_at=task.spec.cancel_time)
    if task.spec.suspend:
        return alarm if _is_suspended(task) else join(status_writes.write(status.suspended(task, now)), alarm)
    if _is_suspended(task):
        return status_writes.write(status.resumed(task, now))
    total = deadlines.total(task, now)
    if total is not None and total.at <= now:
        return _finish_by_limit(task, Phase.FAILED, total.reason, now)
    alarm = join(alarm, Plan(wake_at=total.at if total else None))
    return join(_start_attempt(snapshot, number, name, settings, now), alarm)


# ---- a Pod of the current attempt that is not in the cache ----


def _restore_labels(snapshot: TaskSnapshot, pod: Pod, now: datetime) -> Plan:
    """Restore the labels of the attempt's Pod. If they were removed again, the task's own limits still end it."""
    task, before = snapshot.task, snapshot.relabelled
    if before is None or before.pod_uid != pod.metadata.uid:
        return label_recovery.restore(snapshot, pod, now)
    total = deadlines.total(task, now)
    reason = deadlines.end_reason(task, total, now)
    message = stop_messages.message_for(task, reason or "")
    if reason is None and before.count >= _MAX_RELABELLINGS:
        reason = Reason.NAME_CONFLICT
        message = f"the labels of Pod {pod.metadata.name} were removed again each time they were restored"
    if reason is not None:
        return _finish_with_unlabelled_pod(task, pod, reason, message, now)
    alarm = join(Plan(wake_at=task.spec.cancel_time), Plan(wake_at=total.at if total else None))
    return join(label_recovery.restore(snapshot, pod, now), alarm)


def _finish_with_unlabelled_pod(task: Task, pod: Pod, reason: Reason, message: str, now: datetime) -> Plan:
    """Delete the Pod, then finish the task: the watch does not see this Pod after that.

    The reason is not written to the Pod: what removes the labels, or refuses them, may refuse that annotation too.
    """
    name, uid = pod.metadata.name, pod.metadata.uid
    attempt = status.current_attempt(task) or status.attempt_of_pod(task, pod)
    numbered = msgspec.structs.replace(attempt, number=status.current_attempt_number(task))
    return join(
        Plan(actions=(DeletePod(name=name, uid=uid),)),
        status_writes.write(_stopped_status(task, numbered, reason, message, now)),
        Plan(actions=(RemoveFinalizer(name=name, uid=uid),)),
    )


def _stopped_status(task: Task, attempt: Attempt, reason: Reason, message: str, now: datetime) -> TaskStatus:
    """Return the status with the attempt recorded as stopped, which finishes the task."""
    termination = Termination(
        outcome=AttemptOutcome.STOPPED, reason=reason, message=message, started_at=attempt.start_time
    )
    return attempts.conclude(task, attempt, termination, None, None, now)


def _record_missing_pod(snapshot: TaskSnapshot, attempt: Attempt, now: datetime) -> Plan:
    """Record the end of an attempt whose Pod is not in the cache, once a live read has shown that it is gone."""
    task = snapshot.task
    reason = deadlines.end_reason(task, deadlines.total(task, now), now)
    message = stop_messages.message_for(task, reason or "")
    known = snapshot.pods if snapshot.unlabelled_pod is None else (*snapshot.pods, snapshot.unlabelled_pod)
    found = next((p for p in known if p.metadata.uid == attempt.pod_uid), None)
    if found is not None:
        # The Pod exists and lost its owner reference. It is not stopped; our finalizer is removed.
        message = message or f"Pod {attempt.pod_name} has lost its owner reference to this PodTask"
        release = (RemoveFinalizer(name=attempt.pod_name, uid=attempt.pod_uid),) if found.has_finalizer else ()
        written = _stopped_status(task, attempt, reason or Reason.NAME_CONFLICT, message, now)
        return join(status_writes.write(written), Plan(actions=release))
    if attempt.pod_uid not in snapshot.gone_pods:
        return Plan(actions=(VerifyDeleted(name=attempt.pod_name, uid=attempt.pod_uid),))
    if reason is not None:
        return status_writes.write(_stopped_status(task, attempt, reason, message, now))
    termination = Termination(
        outcome=AttemptOutcome.DISRUPTED,
        reason=Reason.POD_DELETED,
        message=f"Pod {attempt.pod_name} was deleted and its finalizer removed, so its end is not known",
        started_at=attempt.start_time,
    )
    return status_writes.write(attempts.conclude(task, attempt, termination, None, None, now))


def _unseen_pod_uid(snapshot: TaskSnapshot) -> str:
    """Return the uid of a Pod that no status names and the cache no longer has, or an empty string.

    Either its labels were restored once, or the watch reported its deletion while it still had our finalizer.
    """
    missing = [snapshot.lost_pod, snapshot.relabelled.pod_uid if snapshot.relabelled is not None else ""]
    known = {p.metadata.uid for p in snapshot.pods} | {a.pod_uid for a in snapshot.task.status.attempts}
    if snapshot.unlabelled_pod is not None:
        known.add(snapshot.unlabelled_pod.metadata.uid)
    return next((uid for uid in missing if uid and uid not in known | snapshot.gone_pods), "")


# ---- the task does not go on, or not now ----


def _finish_by_limit(task: Task, phase: Phase, reason: Reason, now: datetime) -> Plan:
    return status_writes.finish(task, phase, reason, stop_messages.message_for(task, reason), now)


def _is_suspended(task: Task) -> bool:
    condition = task.status.condition(names.CONDITION_SUSPENDED)
    return condition is not None and condition.status == "True"


# ---- a new attempt ----


def _start_attempt(snapshot: TaskSnapshot, number: int, name: str, settings: Settings, now: datetime) -> Plan:
    """Create the attempt's Pod, unless a previous Pod, the backoff, the spec or the name prevents it."""
    task = snapshot.task
    # Two Pods of a task never run at once. An event of the previous Pod re-queues this task.
    previous = next((p for p in task_pods.attempt_pods(snapshot) if not p.is_terminal or task.exact_pod_name), None)
    if previous is not None:
        return _wait_for_previous_pod(task, previous, now)
    at = task.status.next_attempt_time
    if at is not None and at > now:
        return Plan(wake_at=at)
    pinned = task.status.spec_hash
    if pinned and pinned != spec_hash(task):
        message = "the spec has changed since the first attempt"
        return status_writes.finish(task, Phase.FAILED, Reason.SPEC_CHANGED, message, now)
    past = label_recovery.find_unlabelled(snapshot, name) or label_recovery.find_unlabelled_past(snapshot)
    if past is not None:
        # An earlier attempt's Pod, with a fixed name or its own. With its labels it can be stopped and released.
        return label_recovery.restore(snapshot, past, now)
    if conflict := _permanent_conflict_reason(snapshot, name):
        return status_writes.finish(task, Phase.FAILED, Reason.NAME_CONFLICT, conflict, now)
    create = _create_pod(snapshot, number, name, settings, now)
    error = snapshot.create_error
    if error is None or error.attempt != number:
        return create
    return _create_again(snapshot, error, create, settings, now)


def _wait_for_previous_pod(task: Task, pod: Pod, now: datetime) -> Plan:
    forced = pod_stops.force_delete(task, pod, now)
    if forced.actions or forced.wake_at:
        return forced
    at = task.status.next_attempt_time
    if task.status.reason == Reason.BACKOFF and at is not None and at > now:
        return Plan(wake_at=at)
    if pod.is_terminal or task.status.reason == Reason.POD_TERMINATING:
        return Plan()
    number = status.current_attempt_number(task)
    message = f"attempt {number} waits until Pod {pod.metadata.name} of the previous attempt has ended"
    return Plan(actions=(WriteStatus(status=status.with_reason(task, Phase.PENDING, Reason.POD_TERMINATING, message)),))


def _permanent_conflict_reason(snapshot: TaskSnapshot, name: str) -> str:
    """Return why another Pod keeps the attempt's name for good. Empty if the name is free, or will be.

    Names conflict only where the user fixed them (`template.metadata.name`), such as daily runs that share one name.
    The Pod of another PodTask ends and is deleted after its retention time, so this task waits for it.
    """
    if any(p.metadata.name == name for p in snapshot.pods):
        # The cache has it among the task's Pods: its owner reference or its attempt's number was removed.
        return f"Pod {name} exists and does not belong to this PodTask"
    pod, owner = snapshot.conflicting_pod, snapshot.conflicting_task
    if pod is None:
        return ""
    name, uid = pod.metadata.name, pod.metadata.labels.get(names.LABEL_TASK_UID, "")
    if not uid or not pod.is_owned_by(uid):
        return f"Pod {name} exists and does not belong to this PodTask"
    is_over = owner is not None and owner.status.phase_is_terminal and pod.is_terminal
    if owner is not None and is_over and retention.retains_pod(owner, pod):
        kept = owner.spec.pod_retention
        return f"Pod {name} of PodTask {pod.task_name} has ended and is kept: podRetention is {kept}"
    return ""


def _create_pod(snapshot: TaskSnapshot, number: int, name: str, settings: Settings, now: datetime) -> Plan:
    """Create the Pod, or wait until the namespace has a free slot for it."""
    task, limit = snapshot.task, settings.policy.max_running_pods
    if limit is None or snapshot.slots_used < limit:
        return Plan(actions=(CreatePod(attempt=number, name=name),))
    try:
        podspec.build(task, number, name, settings)
    except policy.PolicyError as error:
        # Checked before the wait: a task that can never start must not wait for an hour to fail.
        return status_writes.finish(task, Phase.FAILED, Reason.POLICY_DENIED, str(error), now)
    except podspec.TemplateError as error:
        return status_writes.finish(task, Phase.FAILED, Reason.INVALID_POD_TEMPLATE, str(error), now)
    message = f"the platform allows {limit} running Pods of PodTasks at once in namespace {task.metadata.namespace}"
    report = status_writes.set_reason_debounced(
        snapshot, Phase.PENDING, Reason.CONCURRENCY_LIMIT, message, None, settings, now
    )
    return msgspec.structs.replace(report, waits_for_slot=True)


def _create_again(snapshot: TaskSnapshot, error: CreateError, create: Plan, settings: Settings, now: datetime) -> Plan:
    """Decide what follows an error of the last create: fail, wait for the retry time, or create again."""
    task = snapshot.task
    decision, reason = create_errors.classify_create_error(error)
    if decision is create_errors.Decision.FAIL:
        return status_writes.finish(task, Phase.FAILED, reason, error.message, now)
    if decision is create_errors.Decision.STOP:
        return Plan()
    if create.waits_for_slot:
        return create
    retry_at = times.retry_at(error.at, error.count)
    if task.status.reason == Reason.CONCURRENCY_LIMIT and retry_at > now:
        # The slot became free only now. The time in the queue does not count against the schedule deadline.
        written = status.with_reason(task, Phase.PENDING, reason, error.message)
        return status_writes.write(msgspec.structs.replace(written, next_attempt_time=error.at))
    deadline = deadlines.without_pod(task)
    if deadline is not None and deadline.at <= now and task.status.reason != Reason.CONCURRENCY_LIMIT:
        cause = stop_messages.message_for(task, deadline.reason)
        message = stop_messages.with_obstacle(cause, reason, error.message)
        return status_writes.finish(task, Phase.FAILED, deadline.reason, message, now)
    if retry_at <= now:
        return create
    report = status_writes.set_reason_debounced(snapshot, Phase.PENDING, reason, error.message, None, settings, now)
    return join(report, Plan(wake_at=min(retry_at, deadline.at) if deadline else retry_at))
