"""What the end of an attempt means for the task: it finishes, or another attempt follows, after which delay.

Failures of the task itself count against backoffLimit, disruptions against disruptionLimit. A disruption before the
main container has started is not counted, and another attempt always follows.
"""

import hashlib
from datetime import datetime, timedelta

import msgspec

from ..api.reasons import Reason
from ..api.v1alpha1.values import AttemptOutcome, FailurePolicyAction, Phase
from . import failurepolicy, status
from .pod import Pod
from .snapshot import Attempt, BackoffSpec, Task, TaskStatus, XComStatus
from .termination import Termination, has_started

MAX_ATTEMPTS = 1000

_SPREAD = 0.1

_CANCELLED = frozenset({Reason.CANCELLED, Reason.CANCEL_TIME_REACHED})

_CONTINUED = frozenset({Reason.SUSPENDED})
"""Our own stops that do not finish the task."""


def conclude(
    task: Task, attempt: Attempt, termination: Termination, pod: Pod | None, xcom: XComStatus | None, now: datetime
) -> TaskStatus:
    """Return the status after the end of an attempt: the attempt is recorded and counted, and the phase set."""
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
    is_final = termination.outcome is AttemptOutcome.NO_RESULT or termination.outcome is AttemptOutcome.STOPPED
    if is_final and termination.reason not in _CONTINUED:
        phase = Phase.CANCELLED if termination.reason in _CANCELLED else Phase.FAILED
        return status.finished(task, written, phase, termination.reason, termination.message, now, xcom)
    return _retry_or_finish(task, written, termination, xcom, now)


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


def _retry_or_finish(
    task: Task, written: TaskStatus, termination: Termination, xcom: XComStatus | None, now: datetime
) -> TaskStatus:
    spec = task.spec
    reason, count = "", ""
    if written.failure_count > spec.backoff_limit:
        reason = termination.reason if spec.backoff_limit == 0 else Reason.BACKOFF_LIMIT_EXCEEDED
        count = f"{written.failure_count} failures exceed backoffLimit {spec.backoff_limit}"
    elif written.disruption_count > spec.disruption_limit:
        reason = termination.reason if spec.disruption_limit == 0 else Reason.DISRUPTION_LIMIT_EXCEEDED
        count = f"{written.disruption_count} disruptions exceed disruptionLimit {spec.disruption_limit}"
    elif written.attempt_count >= MAX_ATTEMPTS:
        reason, count = Reason.ATTEMPT_LIMIT_EXCEEDED, f"{written.attempt_count} attempts, which is the maximum"
    if reason:
        message = termination.message
        if reason != termination.reason:
            message = f"{count}; the last one: {termination.reason}: {termination.message}".removesuffix(": ")
        return status.finished(task, written, Phase.FAILED, reason, message, now, xcom)
    if termination.reason == Reason.SUSPENDED:
        return status.waiting_for_next(written, Reason.SUSPENDED, "spec.suspend was set, and the Pod deleted", None)
    at = now + timedelta(seconds=_delay(task, written, termination))
    return status.waiting_for_next(
        written, Reason.BACKOFF, f"{termination.reason}: {termination.message}".removesuffix(": "), at
    )


def _delay(task: Task, written: TaskStatus, termination: Termination) -> float:
    """Return the delay in seconds. Failures, disruptions and uncounted ends each have their own exponent."""
    if termination.outcome is AttemptOutcome.FAILED:
        count = written.failure_count
    elif termination.outcome is AttemptOutcome.DISRUPTED and written.disruption_count > task.status.disruption_count:
        count = written.disruption_count
    else:
        count = written.attempt_count - written.failure_count - written.disruption_count
    return delay_seconds(task.spec.backoff, count, task.metadata.uid)


def delay_seconds(spec: BackoffSpec, failures: int, seed: str) -> float:
    """Return the delay in seconds after the `failures`-th failure (from 1): exponential, with a maximum.

    Up to 10 % is added, so that tasks that failed together do not all start together. The share is derived from
    `seed`, so the same task and count always have the same delay.
    """
    exponent = min(max(failures - 1, 0), 32)
    base: int = min(spec.initial_seconds * spec.factor**exponent, spec.max_seconds)
    fraction = int.from_bytes(hashlib.sha256(f"{seed}/{failures}".encode()).digest()[:4], "big") / 2**32
    return base * (1 + _SPREAD * fraction)
