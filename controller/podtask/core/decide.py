"""The reconcile of one task, as a readable list of steps. Pure and total: the same facts and time give the same plan.

`decide` never waits and never asks; where it lacks a fact it plans the request that brings it (`ConfirmGone`,
`ReadResultLog`). Applying a plan and deciding again leads to an empty plan, or to a later time.
"""

from datetime import datetime

import msgspec

from ..api import names
from ..api.reasons import Reason
from ..api.v1alpha1.status import AttemptOutcome, Phase
from . import attempts, clock, collect, deadlines, diagnosis, identity, live, refusal, retention, status
from .ending import Ending, classify
from .observed import Attempt, Observed, Pod, Refusal, Task, TaskStatus
from .plan import ConfirmGone, CreatePod, Note, Plan, ReleasePod, Settings, Step, WriteStatus

_LONGEST_REFUSAL_WAIT_SECONDS = 60


def decide(observed: Observed, now: datetime, settings: Settings) -> Plan:
    """Say what to do about a task now, and when to look again if nothing happens before."""
    task = observed.task
    # 1. Another controller's task is not touched.
    if task.spec.managed_by != names.CONTROLLER:
        return Plan()
    owned = tuple(p for p in observed.pods if p.is_owned_by(task.metadata.uid))
    # 2. With the object going, there is no status left to write to: the garbage collector stops the Pods.
    if task.metadata.deletion_timestamp is not None:
        return retention.release_all(owned)
    # 3. Terminal is for ever: only tidying is left, of every Pod that names this task, late creates included.
    if task.status.phase_is_terminal:
        tidy = retention.tidy(observed, owned, settings, now)
        return _join(_observe_generation(task), tidy, retention.expire(task, now))
    # 4. What cannot be understood cannot be run. A Pod that lives is stopped once that stands in the status.
    if task.problem:
        return _finish(task, Phase.FAILED, Reason.INVALID_SPEC, task.problem, now)
    pods = _own_pods(task, owned)
    past = tuple(p for p in pods if p.attempt <= task.status.attempt_count)
    tidy = retention.tidy(observed, past, settings, now)
    current = next((p for p in pods if p.attempt == status.number_of_next(task)), None)
    if current is None:
        return _join(_without_pod(observed, pods, settings, now), tidy)
    # 5. The attempt has ended: collect its result, record it, and only then let go of its Pod.
    ended = classify(current, task.spec.container_name)
    if ended is not None:
        return _join(_conclude(observed, current, ended, settings, now), tidy)
    # 6. The attempt lives: stop it where that is wanted, else tell how it stands.
    return _join(live.follow(observed, current, settings, now), tidy)


def decide_orphans(pods: tuple[Pod, ...]) -> Plan:
    """Let go of Pods whose task does not exist any more (the caller has made sure of that by a live read)."""
    return retention.release_all(pods)


def _own_pods(task: Task, owned: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """Keep the Pods that are attempts of this task: those with the name that only we give."""
    return tuple(p for p in owned if p.attempt and p.metadata.name == pod_name(task, p.attempt))


def pod_name(task: Task, attempt: int) -> str:
    """Give the name of an attempt's Pod."""
    return task.exact_pod_name or identity.pod_name(task.metadata.name, task.metadata.uid, attempt)


def _without_pod(observed: Observed, others: tuple[Pod, ...], settings: Settings, now: datetime) -> Plan:
    """No Pod of the attempt that is due: it vanished, or may not begin yet, or is created now."""
    task = observed.task
    vanished = status.live_entry(task)
    if vanished is not None:
        return _vanished(observed, vanished, now)
    if task.spec.cancel:
        return _finish(task, Phase.CANCELLED, Reason.CANCELLED, "", now)
    if task.spec.cancel_after is not None and task.spec.cancel_after <= now:
        return _finish(task, Phase.CANCELLED, Reason.CANCEL_AFTER_REACHED, "", now)
    alarm = Plan(wake_at=task.spec.cancel_after)
    if task.spec.suspend:
        return _join(_suspend(task, now), alarm)
    if _is_suspended(task):
        return _write(status.resumed(task, now))
    total = deadlines.total(task, now)
    if total is not None and total.at <= now:
        return _finish(task, Phase.FAILED, total.reason, "", now)
    alarm = _join(alarm, Plan(wake_at=total.at if total else None))
    return _join(_begin(observed, others, settings, now), alarm)


def _begin(observed: Observed, others: tuple[Pod, ...], settings: Settings, now: datetime) -> Plan:
    """Begin the attempt that is due, unless something stands in its way."""
    task = observed.task
    # A new Pod never overlaps an old one. The old one's last event wakes this task.
    lingering = next((p for p in others if not p.is_terminal or task.exact_pod_name), None)
    if lingering is not None:
        return _linger(task, lingering, now)
    at = task.status.next_attempt_time
    if at is not None and at > now:
        return Plan(wake_at=at)
    pinned = task.status.spec_hash
    if pinned and pinned != live.spec_hash(task):
        message = "the spec is not the one the first attempt was made from"
        return _finish(task, Phase.FAILED, Reason.SPEC_CHANGED, message, now)
    number = status.number_of_next(task)
    name = pod_name(task, number)
    if name in {observed.foreign_pod, *(p.metadata.name for p in observed.pods)}:
        # In the cache and yet not an attempt of ours: somebody took its owner or its attempt's number away.
        return _finish(task, Phase.FAILED, Reason.NAME_CONFLICT, f"Pod {name} exists and is not this task's", now)
    create = Plan(steps=(CreatePod(attempt=number, name=name),))
    if observed.refusal is None or observed.refusal.attempt != number:
        return create
    return _refused(observed, observed.refusal, create, settings, now)


def _refused(observed: Observed, refused: Refusal, create: Plan, settings: Settings, now: datetime) -> Plan:
    task = observed.task
    verdict, reason = refusal.judge(refused)
    if verdict is refusal.Verdict.FAIL:
        return _finish(task, Phase.FAILED, reason, refused.message, now)
    if verdict is refusal.Verdict.STOP:
        return Plan()
    deadline = deadlines.without_pod(task)
    if deadline is not None and deadline.at <= now:
        return _finish(task, Phase.FAILED, deadline.reason, f"{reason}: {refused.message}", now)
    # Until its hour has come a refused create is not repeated, however often the task is looked at.
    again = clock.later(refused.at, min(2 ** min(refused.count, 6), _LONGEST_REFUSAL_WAIT_SECONDS))
    if again <= now:
        return create
    alarm = Plan(wake_at=min(again, deadline.at) if deadline else again)
    return _join(live.tell(observed, Phase.PENDING, reason, refused.message, None, settings, now), alarm)


def _linger(task: Task, pod: Pod, now: datetime) -> Plan:
    forced = live.force_delete(task, pod, now)
    if forced.steps or forced.wake_at:
        return forced
    if task.status.reason in {Reason.POD_TERMINATING, Reason.BACKOFF}:
        return Plan()
    return Plan(
        steps=(
            WriteStatus(
                status=status.told(task, Phase.PENDING, Reason.POD_TERMINATING, f"waits for Pod {pod.metadata.name}")
            ),
        )
    )


def _vanished(observed: Observed, entry: Attempt, now: datetime) -> Plan:
    """A recorded Pod is not in the cache: make sure, then count it. Its finalizer was taken by force."""
    if any(p.metadata.uid == entry.pod_uid for p in observed.pods):
        message = f"Pod {entry.pod_name} has lost its owner or its attempt's number, by which it is known"
        return _finish(observed.task, Phase.FAILED, Reason.NAME_CONFLICT, message, now)
    if entry.pod_uid not in observed.gone_pods:
        return Plan(steps=(ConfirmGone(name=entry.pod_name, uid=entry.pod_uid),))
    task = observed.task
    ended = Ending(
        outcome=AttemptOutcome.DISRUPTED,
        reason=Reason.POD_DELETED,
        message="the Pod vanished",
        started_at=entry.start_time,
    )
    if task.spec.cancel:
        ended = msgspec.structs.replace(ended, outcome=AttemptOutcome.STOPPED, reason=Reason.CANCELLED)
    return _write(attempts.conclude(task, entry, ended, None, None, now))


def _conclude(observed: Observed, pod: Pod, ended: Ending, settings: Settings, now: datetime) -> Plan:
    task = observed.task
    ended = _with_obstacle(task, pod, ended)
    collected = collect.collect(observed, pod, ended, settings, now)
    if isinstance(collected, collect.Waiting):
        # The sidecar is told to stop once the last main container has ended, so the others are stopped now.
        stop = live.stop_others(pod, task.spec.container_name)
        return Plan(steps=(*stop, *collected.steps), wake_at=collected.until)
    if collected.failure is not None and ended.outcome is AttemptOutcome.SUCCEEDED:
        ended = _without_result(task, ended, collected.failure.reason, collected.failure.message)
    entry = status.entry(task, pod)
    written = attempts.conclude(task, entry, ended, pod, collected.xcom, now)
    # A failure for want of the result ends the task: its work is done, and is not done again unless a rule says so.
    steps: tuple[Step, ...] = (WriteStatus(status=written), *live.stop_others(pod, task.spec.container_name))
    if pod.is_held:
        steps = (*steps, ReleasePod(name=pod.metadata.name, uid=pod.metadata.uid))
    return Plan(steps=steps, notes=_notes(written))


def _with_obstacle(task: Task, pod: Pod, ended: Ending) -> Ending:
    """Say what had held up a Pod that was stopped before it started: it was told while the Pod could still tell."""
    told = task.status
    if not pod.stop_reason or ended.started_at is not None or told.reason not in diagnosis.REASONS:
        return ended
    message = told.message if told.reason == ended.reason else f"{told.reason}: {told.message}"
    return msgspec.structs.replace(ended, message=message)


def _without_result(task: Task, ended: Ending, reason: str, message: str) -> Ending:
    xcom = task.spec.xcom
    again = reason == Reason.XCOM_LOST and xcom is not None and xcom.on_lost == "Retry"
    outcome = AttemptOutcome.DISRUPTED if again else AttemptOutcome.NO_RESULT
    return msgspec.structs.replace(ended, outcome=outcome, reason=reason, message=message)


def _suspend(task: Task, now: datetime) -> Plan:
    return Plan() if _is_suspended(task) else _write(status.suspended(task, now))


def _is_suspended(task: Task) -> bool:
    condition = task.status.condition(names.CONDITION_SUSPENDED)
    return condition is not None and condition.status == "True"


def _observe_generation(task: Task) -> Plan:
    """Say that an edit of the TTL was seen; tools that judge by observedGeneration wait for it otherwise."""
    if task.status.observed_generation == task.metadata.generation:
        return Plan()
    return Plan(
        steps=(WriteStatus(status=msgspec.structs.replace(task.status, observed_generation=task.metadata.generation)),)
    )


def _finish(task: Task, phase: Phase, reason: Reason, message: str, now: datetime) -> Plan:
    return _write(status.finished(task, task.status, phase, reason, message, now))


def _write(written: TaskStatus) -> Plan:
    return Plan(steps=(WriteStatus(status=written),), notes=_notes(written))


def _notes(written: TaskStatus) -> tuple[Note, ...]:
    """Events are for failures only: the happy path is told by the status."""
    if written.phase == Phase.FAILED or written.reason == Reason.BACKOFF:
        return (Note(kind="Warning", reason=written.reason, message=written.message),)
    return ()


def _join(*plans: Plan) -> Plan:
    wakes = [p.wake_at for p in plans if p.wake_at is not None]
    return Plan(
        steps=tuple(step for plan in plans for step in plan.steps),
        notes=tuple(note for plan in plans for note in plan.notes),
        wake_at=min(wakes, default=None),
    )
