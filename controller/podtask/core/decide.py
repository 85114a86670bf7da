"""The reconcile of one task, as a readable list of steps. Pure and total: the same facts and time give the same plan.

`decide` never waits and never asks; where it lacks a fact it plans the request that brings it (`ConfirmGone`,
`ReadResultLog`). Applying a plan and deciding again leads to an empty plan, or to a later time.
"""

from datetime import datetime

import msgspec

from ..api import names
from ..api.reasons import Reason
from ..api.v1alpha1.values import AttemptOutcome, Phase
from . import (
    attempts,
    clock,
    collect,
    deadlines,
    diagnosis,
    identity,
    labels,
    live,
    namesake,
    podspec,
    policy,
    refusal,
    retention,
    status,
)
from .ending import Ending, classify
from .observed import Attempt, Observed, Pod, Refusal, Task, TaskStatus
from .plan import (
    ConfirmGone,
    CreatePod,
    DeletePod,
    Note,
    Plan,
    ReadPod,
    ReleasePod,
    RestoreLabels,
    Settings,
    Step,
    WriteStatus,
)

_LONGEST_REFUSAL_WAIT_SECONDS = 60

_MOST_RELABELLINGS = 6
"""With twice the pause after each, a Pod has a minute in which its labels do not stay on."""


def decide(observed: Observed, now: datetime, settings: Settings) -> Plan:
    """Say what to do about a task now, and when to look again if nothing happens before."""
    decided = _decide(_with_defaults(_in_namespace(observed), settings), now, settings)
    doubt = observed.create_in_doubt_until
    if settings.policy.max_running_pods is None or doubt is None or doubt <= now:
        return decided
    # Whatever was learnt since (a refusal, a cancellation), the create without a reply may still make its Pod.
    kept = msgspec.structs.replace(decided, keeps_place=True)
    return _join(kept, Plan(wake_at=doubt))


def _decide(observed: Observed, now: datetime, settings: Settings) -> Plan:
    task = observed.task
    # 1. Another controller's task is not touched.
    if task.spec.managed_by != names.CONTROLLER:
        return Plan()
    owned = tuple(p for p in observed.pods if p.is_owned_by(task.metadata.uid))
    # 2. With the object going, there is no status left to write to: the garbage collector stops the Pods.
    if task.metadata.deletion_timestamp is not None:
        return retention.release_with_task(observed, owned, now)
    # 3. Terminal is for ever: only tidying is left, of every Pod that names this task, late creates included.
    if task.status.phase_is_terminal:
        tidy = retention.tidy(observed, owned, settings, now)
        return _join(_observe_generation(task, settings), tidy, retention.expire(observed, settings, now))
    # 4. What cannot be understood cannot be run. A Pod that lives is stopped once that stands in the status.
    if task.problem:
        return _finish(task, Phase.FAILED, Reason.INVALID_SPEC, task.problem, now)
    pods = _own_pods(task, owned)
    past = tuple(p for p in pods if p.attempt <= task.status.attempt_count)
    tidy = retention.tidy(observed, past, settings, now)
    current = _current_pod(task, pods)
    if current is None:
        return _join(_without_pod(observed, pods, settings, now), tidy)
    if _is_doubtful(observed, current):
        return Plan(steps=(ReadPod(name=current.metadata.name, uid=current.metadata.uid),))
    # 5. The attempt has ended: collect its result, record it, and only then let go of its Pod.
    was_running = status.entry(task, current).start_time is not None
    ended = classify(current, task.spec.container_name, was_running=was_running)
    if ended is not None:
        return _join(_conclude(observed, current, ended, settings, now), tidy)
    # 6. The attempt lives: stop it where that is wanted, else tell how it stands.
    return _join(live.follow(observed, current, settings, now), tidy)


def _current_pod(task: Task, pods: tuple[Pod, ...]) -> Pod | None:
    """Give the Pod of the attempt that is due: the one that the status names, where the cache has two."""
    entry = status.live_entry(task)
    due = [p for p in pods if p.attempt == status.number_of_next(task)]
    named = (p for p in due if entry is not None and p.metadata.uid == entry.pod_uid)
    return next(named, due[0] if due else None)


def _is_doubtful(observed: Observed, pod: Pod) -> bool:
    """Whether the status names another Pod for this attempt, and no live read has shown yet that this is the one.

    A Pod whose finalizer was removed by force is made again under its name. Who still has the old one in the cache
    would record it over the new one, which another leader has recorded.
    """
    entry = status.live_entry(observed.task)
    is_named = entry is None or entry.pod_uid in {"", pod.metadata.uid}
    return not is_named and observed.live_version != pod.metadata.resource_version


def _in_namespace(observed: Observed) -> Observed:
    """Drop Pods of other namespaces: whatever labels and owner they have, they are not this task's."""
    namespace = observed.task.metadata.namespace
    pods = tuple(p for p in observed.pods if p.metadata.namespace == namespace)
    return observed if len(pods) == len(observed.pods) else msgspec.structs.replace(observed, pods=pods)


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
    number = status.number_of_next(task)
    unlabelled = labels.lost(observed, pod_name(task, number))
    if unlabelled is not None and labels.attempt_of(task, unlabelled) == number:
        return _relabel(observed, unlabelled, now)
    vanished = status.live_entry(task)
    if vanished is not None:
        return _vanished(observed, vanished, now)
    out_of_sight = _out_of_sight(observed)
    if out_of_sight:
        return Plan(steps=(ConfirmGone(name=pod_name(task, number), uid=out_of_sight),))
    cancelled = live.end_wanted(task, None, now)
    if cancelled is not None:
        return _finish(task, Phase.CANCELLED, cancelled, deadlines.words(task, cancelled), now)
    if too_large := policy.oversize(task.spec_bytes, settings.policy):
        return _finish(task, Phase.FAILED, Reason.SPEC_TOO_LARGE, too_large, now)
    alarm = Plan(wake_at=task.spec.cancel_after)
    if task.spec.suspend:
        return _join(_suspend(task, now), alarm)
    if _is_suspended(task):
        return _write(status.resumed(task, now))
    total = deadlines.total(task, now)
    if total is not None and total.at <= now:
        return _finish(task, Phase.FAILED, total.reason, deadlines.words(task, total.reason), now)
    alarm = _join(alarm, Plan(wake_at=total.at if total else None))
    return _join(_begin(observed, others, settings, now), alarm)


def _out_of_sight(observed: Observed) -> str:
    """Give the uid of a Pod that no status names and the cache has lost: its labels are off, or it is gone.

    It got its labels back once, or the watch reported its end while our finalizer was on it.
    """
    missing = [observed.lost_pod, observed.relabelled.pod_uid if observed.relabelled is not None else ""]
    known = {p.metadata.uid for p in observed.pods} | {a.pod_uid for a in observed.task.status.attempts}
    if observed.unlabelled_pod is not None:
        known.add(observed.unlabelled_pod.metadata.uid)
    return next((uid for uid in missing if uid and uid not in known | observed.gone_pods), "")


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
    past = labels.lost(observed, name) or labels.lost_last(observed)
    if past is not None:
        # The Pod of an earlier attempt, under the name that the user fixed or its own. With its labels on, it is
        # stopped and released.
        return _restore_labels(observed, past, now)
    if taken := _why_name_is_taken(observed, name):
        return _finish(task, Phase.FAILED, Reason.NAME_CONFLICT, taken, now)
    create = _create(observed, number, name, settings, now)
    if observed.refusal is None or observed.refusal.attempt != number:
        return create
    return _refused(observed, observed.refusal, create, settings, now)


def _why_name_is_taken(observed: Observed, name: str) -> str:
    if any(p.metadata.name == name for p in observed.pods):
        # In the cache and yet not an attempt of ours: somebody took its owner or its attempt's number away.
        return f"Pod {name} exists and is not this task's"
    foreign = observed.foreign_pod
    return namesake.why_it_stays(foreign, observed.foreign_task) if foreign is not None else ""


def _create(observed: Observed, number: int, name: str, settings: Settings, now: datetime) -> Plan:
    """Create the Pod, or wait until the namespace has a place for it."""
    task, limit = observed.task, settings.policy.max_running_pods
    if limit is None or observed.places_taken < limit:
        return Plan(steps=(CreatePod(attempt=number, name=name),))
    try:
        podspec.build(task, number, name, settings)
    except podspec.PolicyError as error:
        # Nobody is to stand in line for an hour to be told then what was known at once.
        return _finish(task, Phase.FAILED, Reason.POLICY_DENIED, str(error), now)
    except podspec.TemplateError as error:
        return _finish(task, Phase.FAILED, Reason.INVALID_POD_TEMPLATE, str(error), now)
    message = f"the platform allows namespace {task.metadata.namespace} {limit} running Pods of PodTasks at once"
    told = live.tell(observed, Phase.PENDING, Reason.CONCURRENCY_LIMIT, message, None, settings, now)
    return msgspec.structs.replace(told, waits_for_place=True)


def _refused(observed: Observed, refused: Refusal, create: Plan, settings: Settings, now: datetime) -> Plan:
    task = observed.task
    verdict, reason = refusal.judge(refused)
    if verdict is refusal.Verdict.FAIL:
        return _finish(task, Phase.FAILED, reason, refused.message, now)
    if verdict is refusal.Verdict.STOP:
        return Plan()
    if create.waits_for_place:
        return create
    # Until its hour has come a refused create is not repeated, however often the task is looked at.
    again = clock.later(refused.at, min(2 ** min(refused.count, 6), _LONGEST_REFUSAL_WAIT_SECONDS))
    if task.status.reason == Reason.CONCURRENCY_LIMIT and again > now:
        # Its turn has come only now: the time in line is not the schedule clock's.
        told = status.told(task, Phase.PENDING, reason, refused.message)
        return _write(msgspec.structs.replace(told, next_attempt_time=refused.at))
    deadline = deadlines.without_pod(task)
    if deadline is not None and deadline.at <= now and task.status.reason != Reason.CONCURRENCY_LIMIT:
        message = f"{deadlines.words(task, deadline.reason)}; {reason}: {refused.message}"
        return _finish(task, Phase.FAILED, deadline.reason, message, now)
    if again <= now:
        return create
    alarm = Plan(wake_at=min(again, deadline.at) if deadline else again)
    return _join(live.tell(observed, Phase.PENDING, reason, refused.message, None, settings, now), alarm)


def _linger(task: Task, pod: Pod, now: datetime) -> Plan:
    forced = live.force_delete(task, pod, now)
    if forced.steps or forced.wake_at:
        return forced
    at = task.status.next_attempt_time
    if task.status.reason == Reason.BACKOFF and at is not None and at > now:
        return Plan(wake_at=at)
    if pod.is_terminal or task.status.reason == Reason.POD_TERMINATING:
        return Plan()
    return Plan(
        steps=(
            WriteStatus(
                status=status.told(
                    task,
                    Phase.PENDING,
                    Reason.POD_TERMINATING,
                    f"attempt {status.number_of_next(task)} waits until Pod {pod.metadata.name} of the last has ended",
                )
            ),
        )
    )


def _relabel(observed: Observed, pod: Pod, now: datetime) -> Plan:
    """Give the attempt's Pod its labels back. Where they do not stay on, the task ends when it is to, or for that."""
    task, before = observed.task, observed.relabelled
    if before is None or before.pod_uid != pod.metadata.uid:
        return _restore_labels(observed, pod, now)
    total = deadlines.total(task, now)
    reason = live.end_wanted(task, total, now)
    message = deadlines.words(task, reason or "")
    if reason is None and before.count >= _MOST_RELABELLINGS:
        reason = Reason.NAME_CONFLICT
        message = f"Pod {pod.metadata.name} lacks the labels by which it is known; they were put back in vain"
    if reason is not None:
        return _give_up(task, pod, reason, message, now)
    alarm = _join(Plan(wake_at=task.spec.cancel_after), Plan(wake_at=total.at if total else None))
    return _join(_restore_labels(observed, pod, now), alarm)


def _restore_labels(observed: Observed, pod: Pod, now: datetime) -> Plan:
    """Put our labels back, with twice the pause after each time."""
    before, uid = observed.relabelled, pod.metadata.uid
    if before is not None and before.pod_uid == uid:
        again = clock.later(before.at, min(2 ** min(before.count, 6), _LONGEST_REFUSAL_WAIT_SECONDS))
        if again > now:
            return Plan(wake_at=again)
    number = labels.attempt_of(observed.task, pod)
    return Plan(steps=(RestoreLabels(attempt=number, name=pod.metadata.name, uid=uid),))


def _give_up(task: Task, pod: Pod, reason: Reason, message: str, now: datetime) -> Plan:
    """End the task, and its Pod first: once the task is over, no watch brings that Pod again.

    The reason is not noted on the Pod: what takes labels off, or refuses them, may refuse that too.
    """
    name, uid = pod.metadata.name, pod.metadata.uid
    entry = status.live_entry(task) or status.entry(task, pod)
    written = _stopped(task, msgspec.structs.replace(entry, number=status.number_of_next(task)), reason, message, now)
    steps = (DeletePod(name=name, uid=uid), WriteStatus(status=written), ReleasePod(name=name, uid=uid))
    return Plan(steps=steps, notes=_notes(written))


def _stopped(task: Task, entry: Attempt, reason: Reason, message: str, now: datetime) -> TaskStatus:
    """Give the status that records an attempt as stopped, which ends the task."""
    ended = Ending(outcome=AttemptOutcome.STOPPED, reason=reason, message=message, started_at=entry.start_time)
    return attempts.conclude(task, entry, ended, None, None, now)


def _vanished(observed: Observed, entry: Attempt, now: datetime) -> Plan:
    """A recorded Pod is not in the cache: make sure, then count it. Its finalizer was taken by force."""
    task = observed.task
    reason = live.end_wanted(task, deadlines.total(task, now), now)
    message = deadlines.words(task, reason or "")
    known = observed.pods if observed.unlabelled_pod is None else (*observed.pods, observed.unlabelled_pod)
    found = next((p for p in known if p.metadata.uid == entry.pod_uid), None)
    if found is not None:
        # It was taken from the task: it is let be, and what is ours on it is taken off.
        message = message or f"Pod {entry.pod_name} has lost its owner, by which it is known"
        written = _stopped(task, entry, reason or Reason.NAME_CONFLICT, message, now)
        released = (ReleasePod(name=entry.pod_name, uid=entry.pod_uid),) if found.is_held else ()
        return Plan(steps=(WriteStatus(status=written), *released), notes=_notes(written))
    if entry.pod_uid not in observed.gone_pods:
        return Plan(steps=(ConfirmGone(name=entry.pod_name, uid=entry.pod_uid),))
    if reason is not None:
        return _write(_stopped(task, entry, reason, message, now))
    ended = Ending(
        outcome=AttemptOutcome.DISRUPTED,
        reason=Reason.POD_DELETED,
        message=f"Pod {entry.pod_name} is gone without a trace: somebody deleted it and took its finalizer off",
        started_at=entry.start_time,
    )
    return _write(attempts.conclude(task, entry, ended, None, None, now))


def _conclude(observed: Observed, pod: Pod, ended: Ending, settings: Settings, now: datetime) -> Plan:
    task = observed.task
    ended = _with_cause(task, pod, ended)
    collected = collect.collect(observed, pod, ended, settings, now)
    if isinstance(collected, collect.Waiting):
        # The sidecar is told to stop once the last main container has ended, so the others are stopped now.
        stop = live.stop_others(pod, task.spec.container_name)
        asked = (*stop, *collected.steps)
        told = Plan() if asked else _tell_collecting(observed, pod, ended, collected.until, settings, now)
        return _join(Plan(steps=asked, wake_at=collected.until), told)
    if collected.failure is not None and ended.outcome is AttemptOutcome.SUCCEEDED:
        ended = _without_result(task, ended, collected.failure.reason, collected.failure.message)
    entry = status.entry(task, pod)
    written = attempts.conclude(task, entry, ended, pod, collected.xcom, now)
    # A failure for want of the result ends the task: its work is done, and is not done again unless a rule says so.
    steps: tuple[Step, ...] = (WriteStatus(status=written), *live.stop_others(pod, task.spec.container_name))
    if pod.is_held:
        steps = (*steps, ReleasePod(name=pod.metadata.name, uid=pod.metadata.uid))
    return Plan(steps=steps, notes=_notes(written))


def _tell_collecting(
    observed: Observed, pod: Pod, ended: Ending, until: datetime | None, settings: Settings, now: datetime
) -> Plan:
    """Say that the result is on the way, once it is late: most are there within a second or two."""
    finished = clock.by_kubelet(ended.finished_at, pod) if ended.finished_at else None
    late_at = clock.later(clock.bounded(finished, pod, now), settings.diagnosis_seconds)
    if late_at > now:
        return Plan(wake_at=late_at)
    limit = f"; it is given up at {until:%Y-%m-%dT%H:%M:%SZ}" if until else ""
    message = f"container {observed.task.spec.container_name} has ended, and its result has not come yet{limit}"
    return live.tell(observed, observed.task.status.phase, Reason.COLLECTING_RESULT, message, pod, settings, now)


def _with_cause(task: Task, pod: Pod, ended: Ending) -> Ending:
    """Say of a Pod that we stopped which limit was reached, and what had held it up until then.

    The latter was told while the Pod could still tell; where it is why the Pod was stopped it says all there is to say.
    """
    if ended.reason != pod.stop_reason:
        return ended
    told = task.status
    cause = deadlines.words(task, ended.reason)
    if ended.started_at is not None or told.reason not in diagnosis.REASONS:
        return msgspec.structs.replace(ended, message=cause or ended.message)
    obstacle = told.message if told.reason == ended.reason else f"{told.reason}: {told.message}"
    return msgspec.structs.replace(ended, message=f"{cause}; {obstacle}" if cause else obstacle)


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


def _observe_generation(task: Task, settings: Settings) -> Plan:
    """Say that an edit of the TTL was seen; tools that judge by observedGeneration wait for it otherwise."""
    if task.status.observed_generation == task.metadata.generation:
        return Plan()
    seen = msgspec.structs.replace(task.status, observed_generation=task.metadata.generation)
    # Too late for a refusal, so the ceiling holds instead (`retention.expire`); not without a word.
    problems = "; ".join(policy.excesses(task.spec, settings.policy))
    notes = (Note(kind="Warning", reason=Reason.POLICY_DENIED, message=problems),) if problems else ()
    return Plan(steps=(WriteStatus(status=seen),), notes=notes)


def _with_defaults(observed: Observed, settings: Settings) -> Observed:
    """Put the platform's deadlines and time to live where the task sets none."""
    task = observed.task
    spec = policy.with_defaults(task.spec, settings.policy)
    if spec is task.spec:
        return observed
    return msgspec.structs.replace(observed, task=msgspec.structs.replace(task, spec=spec))


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
        waits_for_place=any(plan.waits_for_place for plan in plans),
        keeps_place=any(plan.keeps_place for plan in plans),
    )
