"""What the end of an attempt means for the task: over, or another attempt, and against which budget.

Failures of the task itself count against backoffLimit, disruptions against disruptionLimit. A Pod that was disrupted
before its main container ever started has done nothing, and is always tried again.
"""

from datetime import datetime, timedelta

import msgspec

from ..api.reasons import Reason
from ..api.v1alpha1.values import AttemptOutcome, FailurePolicyAction, Phase
from . import backoff, failurepolicy, status
from .pod import Pod
from .snapshot import Attempt, Task, TaskStatus, XComStatus
from .termination import Termination, has_started

MAX_ATTEMPTS = 1000

_CANCELLED = frozenset({Reason.CANCELLED, Reason.CANCEL_TIME_REACHED})

_WAITS_ON = frozenset({Reason.SUSPENDED})
"""Our own stops after which the task goes on when it may."""


def conclude(
    task: Task, attempt: Attempt, termination: Termination, pod: Pod | None, xcom: XComStatus | None, now: datetime
) -> TaskStatus:
    """Give the status after the end of an attempt: its record, the counters, and what follows."""
    container = task.spec.container_name
    action = _action(task, pod, termination, container)
    if action is FailurePolicyAction.IGNORE:
        termination = msgspec.structs.replace(termination, outcome=AttemptOutcome.IGNORED)
    elif action is FailurePolicyAction.RETRY:
        termination = msgspec.structs.replace(termination, outcome=AttemptOutcome.FAILED)
    counts = _counts(attempt, termination, pod, container)
    written = status.recorded(task, attempt, termination, pod, now, counts)
    if termination.outcome is AttemptOutcome.SUCCEEDED:
        return status.finished(task, written, Phase.SUCCEEDED, Reason.COMPLETED, termination.message, now, xcom)
    if action is FailurePolicyAction.SKIP:
        return status.finished(task, written, Phase.SKIPPED, Reason.SKIPPED, termination.message, now, xcom)
    if action is FailurePolicyAction.FAIL:
        return status.finished(task, written, Phase.FAILED, termination.reason, termination.message, now, xcom)
    over = termination.outcome is AttemptOutcome.NO_RESULT or termination.outcome is AttemptOutcome.STOPPED
    if over and termination.reason not in _WAITS_ON:
        phase = Phase.CANCELLED if termination.reason in _CANCELLED else Phase.FAILED
        return status.finished(task, written, phase, termination.reason, termination.message, now, xcom)
    return _next_or_over(task, written, termination, xcom, now)


def _action(task: Task, pod: Pod | None, termination: Termination, container: str) -> FailurePolicyAction | None:
    if termination.outcome in {AttemptOutcome.SUCCEEDED, AttemptOutcome.STOPPED}:
        return None
    return failurepolicy.match(task.spec.failure_policy, pod, termination, container)


def _counts(attempt: Attempt, termination: Termination, pod: Pod | None, container: str) -> tuple[int, int]:
    if termination.outcome is AttemptOutcome.FAILED:
        return (1, 0)
    if termination.outcome is not AttemptOutcome.DISRUPTED or termination.reason == Reason.QUEUE_EVICTED:
        return (0, 0)
    ran = attempt.start_time is not None or (pod is not None and has_started(pod, container))
    return (0, 1 if ran else 0)


def _next_or_over(
    task: Task, written: TaskStatus, termination: Termination, xcom: XComStatus | None, now: datetime
) -> TaskStatus:
    spec = task.spec
    over, count = "", ""
    if written.failure_count > spec.backoff_limit:
        over = termination.reason if spec.backoff_limit == 0 else Reason.BACKOFF_LIMIT_EXCEEDED
        count = f"{written.failure_count} failures, and backoffLimit is {spec.backoff_limit}"
    elif written.disruption_count > spec.disruption_limit:
        over = termination.reason if spec.disruption_limit == 0 else Reason.DISRUPTION_LIMIT_EXCEEDED
        count = f"{written.disruption_count} disruptions, and disruptionLimit is {spec.disruption_limit}"
    elif written.attempt_count >= MAX_ATTEMPTS:
        over, count = Reason.ATTEMPT_LIMIT_EXCEEDED, f"{written.attempt_count} attempts, the most there can be"
    if over:
        message = termination.message
        if over != termination.reason:
            message = f"{count}; the last: {termination.reason}: {termination.message}".removesuffix(": ")
        return status.finished(task, written, Phase.FAILED, over, message, now, xcom)
    if termination.reason == Reason.SUSPENDED:
        return status.waiting_for_next(written, Reason.SUSPENDED, "the Pod was removed", None)
    at = now + timedelta(seconds=_delay(task, written, termination))
    return status.waiting_for_next(
        written, Reason.BACKOFF, f"{termination.reason}: {termination.message}".removesuffix(": "), at
    )


def _delay(task: Task, written: TaskStatus, termination: Termination) -> float:
    """Back off by the count that this end belongs to, so that a first disruption does not wait for old failures."""
    if termination.outcome is AttemptOutcome.FAILED:
        count = written.failure_count
    elif termination.outcome is AttemptOutcome.DISRUPTED and written.disruption_count > task.status.disruption_count:
        count = written.disruption_count
    else:
        count = written.attempt_count - written.failure_count - written.disruption_count
    return backoff.delay_seconds(task.spec.backoff, count, task.metadata.uid)
