"""Build the next status from the previous one. No decisions are made here."""

from datetime import datetime

import msgspec

from ..api import names
from ..api.reasons import REASONS, Reason
from ..api.v1alpha1.values import MAX_ATTEMPTS_KEPT, ConditionStatus, Phase
from . import times
from .pod import Pod
from .snapshot import Attempt, Task, TaskCondition, TaskStatus, XComStatus
from .termination import Termination

_replace = msgspec.structs.replace
_TEXT_LIMIT = 4096
_STALLED_TEXT_LIMIT = 256
"""The cache holds this message of every failed task, so that it can be written again."""
_MESSAGES = {
    (names.CONDITION_RECONCILING, "True"): "The task has not ended.",
    (names.CONDITION_FINISHED, "True"): "The task has ended.",
    (names.CONDITION_SUCCEEDED, "True"): "The task has succeeded.",
    (names.CONDITION_SUCCEEDED, "False"): "The task has not succeeded.",
    (names.CONDITION_SUSPENDED, "True"): "spec.suspend is true.",
    (names.CONDITION_SUSPENDED, "False"): "spec.suspend is false again.",
}
"""Messages of conditions by type and status. What happened is in status.reason and status.message."""


def current_attempt_number(task: Task) -> int:
    """Return the number of the current attempt: the one in progress, or the next."""
    return task.status.attempt_count + 1


def current_attempt(task: Task) -> Attempt | None:
    """Return the current attempt as recorded in the status, or None."""
    last = task.status.attempts[-1] if task.status.attempts else None
    return last if last is not None and last.number == current_attempt_number(task) else None


def with_reason(task: Task, phase: str, reason: str, message: str, pod: Pod | None = None) -> TaskStatus:
    """Return the status with phase, reason and message; with a Pod also the attempt as it is. Counters stay."""
    status = _replace(
        task.status,
        phase=phase,
        reason=reason,
        message=message[:_TEXT_LIMIT],
        observed_generation=task.metadata.generation,
        next_attempt_time=task.status.next_attempt_time if pod is None else None,
        conditions=_in_progress(task),
    )
    return status if pod is None else _with_attempt(status, attempt_of_pod(task, pod), pod)


def attempt_of_pod(task: Task, pod: Pod) -> Attempt:
    """Return the attempt of a Pod that has not ended, as recorded in status.attempts."""
    main = pod.container(task.spec.container_name)
    running = main.state.running if main else None
    before = current_attempt(task)
    if before is not None and before.pod_uid != pod.metadata.uid:
        before = None
    # A start that was once recorded is kept, even if the kubelet has lost the container since.
    started_at = times.nonzero(running.started_at) if running else None
    return Attempt(
        number=pod.attempt,
        pod_name=pod.metadata.name,
        pod_uid=pod.metadata.uid,
        node_name=pod.spec.node_name,
        image_id=(main.image_id if main else "") or (before.image_id if before else ""),
        creation_time=pod.metadata.creation_timestamp,
        admission_time=before.admission_time if before else None,
        start_time=started_at or (before.start_time if before else None),
    )


def admitted(task: Task, pod: Pod, now: datetime) -> TaskStatus:
    """Return the status after the Pod's scheduling gates were removed. The schedule deadline counts from `now`."""
    status = with_reason(task, Phase.PENDING, Reason.CREATED, "the scheduling gates of the Pod were removed", pod)
    return _with_attempt(status, _replace(attempt_of_pod(task, pod), admission_time=now), pod)


def recorded(
    task: Task, attempt: Attempt, termination: Termination, pod: Pod | None, now: datetime, counts: tuple[int, int]
) -> TaskStatus:
    """Return the status with an ended attempt. `counts` are added to failureCount and disruptionCount."""
    finished_at = termination.finished_at
    if finished_at is not None and pod is not None:
        finished_at = times.clamp(times.to_server_time(finished_at, pod), pod, now)
    started_at = termination.started_at or attempt.start_time
    if started_at is not None and pod is not None:
        # If the kubelet's clock is ahead, the end would be in the future, and the Pod be kept longer.
        started_at = times.clamp(started_at, pod, now)
    finished_at = finished_at or now
    ended_attempt = _replace(
        attempt,
        start_time=started_at,
        # For a container that runs for milliseconds the runtime may report an end before its start.
        completion_time=max(finished_at, started_at or finished_at),
        outcome=termination.outcome,
        exit_code=termination.exit_code,
        reason=termination.reason,
        message=termination.message,
        log_tail=termination.log_tail,
    )
    before = task.status
    status = _replace(
        before,
        attempt_count=before.attempt_count + 1,
        failure_count=before.failure_count + counts[0],
        disruption_count=before.disruption_count + counts[1],
        exit_code=termination.exit_code,
        observed_generation=task.metadata.generation,
        conditions=_in_progress(task),
    )
    return _with_attempt(status, ended_attempt, pod)


def waiting_for_next(status: TaskStatus, reason: Reason, message: str, at: datetime | None) -> TaskStatus:
    """Return the status while the task waits for its next attempt."""
    return _replace(status, phase=Phase.PENDING, reason=reason, message=message[:_TEXT_LIMIT], next_attempt_time=at)


def suspended(task: Task, now: datetime) -> TaskStatus:
    """Return the status of a suspended task. A new task counts as suspended since its creation."""
    is_new = task.status.observed_generation == 0 and not task.status.attempts
    since = (task.metadata.creation_timestamp or now) if is_new else now
    status = with_reason(task, Phase.SUSPENDED, Reason.SUSPENDED, "spec.suspend is true")
    return _replace(
        status,
        next_attempt_time=None,
        conditions=_with_condition(
            _without_condition(status.conditions, names.CONDITION_RECONCILING),
            _condition(names.CONDITION_SUSPENDED, "True", Reason.SUSPENDED, since, task.metadata.generation),
        ),
    )


def resumed(task: Task, now: datetime) -> TaskStatus:
    """Return the status of a resumed task. The time it was suspended is added to suspendedSeconds."""
    status = with_reason(task, Phase.PENDING, Reason.CREATED, "spec.suspend is false again")
    before = status.condition(names.CONDITION_SUSPENDED)
    spent = max(0, round((now - before.last_transition_time).total_seconds())) if before else 0
    generation = task.metadata.generation
    conditions = _without_condition(status.conditions, names.CONDITION_RECONCILING)
    conditions = _with_condition(conditions, _condition(names.CONDITION_SUSPENDED, "False", _RESUMED, now, generation))
    conditions = _with_condition(
        conditions, _condition(names.CONDITION_RECONCILING, "True", _IN_PROGRESS, now, generation)
    )
    return _replace(status, suspended_seconds=status.suspended_seconds + spent, conditions=conditions)


def finished(
    task: Task,
    status: TaskStatus,
    phase: Phase,
    reason: str,
    message: str,
    now: datetime,
    xcom: XComStatus | None = None,
) -> TaskStatus:
    """Return the status of a finished task: terminal phase, reason, times and conditions."""
    succeeded: ConditionStatus = ConditionStatus.TRUE if phase is Phase.SUCCEEDED else ConditionStatus.FALSE
    generation = task.metadata.generation
    text = (message or REASONS[Reason(reason)].meaning)[:_TEXT_LIMIT]
    conditions = _without_condition(status.conditions, names.CONDITION_RECONCILING)
    conditions = _with_condition(conditions, _condition(names.CONDITION_FINISHED, "True", reason, now, generation))
    conditions = _with_condition(conditions, _condition(names.CONDITION_SUCCEEDED, succeeded, reason, now, generation))
    if phase in {Phase.FAILED, Phase.CANCELLED}:
        stalled = _condition(names.CONDITION_STALLED, "True", reason, now, generation, text[:_STALLED_TEXT_LIMIT])
        conditions = _with_condition(conditions, stalled)
    return _replace(
        status,
        phase=phase,
        reason=reason,
        message=text,
        start_time=status.start_time or now,
        completion_time=now,
        next_attempt_time=None,
        observed_generation=generation,
        conditions=conditions,
        xcom=xcom,
    )


def observed(task: Task) -> TaskStatus:
    """Return the status of a finished task after an edit: `kubectl wait` compares the generation of each condition.

    The cache holds no message of a condition but Stalled's; the others are derived again.
    """
    generation = task.metadata.generation
    return _replace(
        task.status,
        observed_generation=generation,
        conditions=tuple(
            _replace(c, observed_generation=generation, message=c.message or _MESSAGES.get((c.type, c.status), ""))
            for c in task.status.conditions
        ),
    )


def _with_attempt(status: TaskStatus, attempt: Attempt, pod: Pod | None) -> TaskStatus:
    kept = tuple(a for a in status.attempts if a.number != attempt.number)
    annotations = pod.metadata.annotations if pod else {}
    return _replace(
        status,
        attempts=(*kept, attempt)[-MAX_ATTEMPTS_KEPT:],
        start_time=status.start_time or attempt.creation_time,
        # The hash is read from the Pod, because the spec may have changed between its create and this write.
        spec_hash=status.spec_hash or annotations.get(names.ANNOTATION_SPEC_HASH, ""),
    )


_IN_PROGRESS = "InProgress"
_RESUMED = "Resumed"


def _in_progress(task: Task) -> tuple[TaskCondition, ...]:
    """Return the conditions with Reconciling=True: since the creation of the task, or since it was resumed."""
    conditions, since = task.status.conditions, task.metadata.creation_timestamp
    if since is None:
        return conditions
    new = _condition(names.CONDITION_RECONCILING, "True", _IN_PROGRESS, since, task.metadata.generation)
    if any(c.type == new.type and c.observed_generation == new.observed_generation for c in conditions):
        return conditions
    return _with_condition(conditions, new)


def _condition(kind: str, value: str, reason: str, now: datetime, generation: int, message: str = "") -> TaskCondition:
    return TaskCondition(
        type=kind,
        status=value,
        reason=reason,
        message=message or _MESSAGES[kind, value],
        last_transition_time=now,
        observed_generation=generation,
    )


def _without_condition(conditions: tuple[TaskCondition, ...], kind: str) -> tuple[TaskCondition, ...]:
    return tuple(c for c in conditions if c.type != kind)


def _with_condition(conditions: tuple[TaskCondition, ...], new: TaskCondition) -> tuple[TaskCondition, ...]:
    old = next((c for c in conditions if c.type == new.type), None)
    if old is not None and old.status == new.status:
        new = _replace(new, last_transition_time=old.last_transition_time)
    return (*(c for c in conditions if c.type != new.type), new)
