"""The reconcile of one task, as a readable list of actions. Pure and total: the same facts and time give the same plan.

`decide` never waits and never asks; where it lacks a fact it plans the request that brings it (`VerifyDeleted`,
`ReadResultLog`). Applying a plan and deciding again leads to an empty plan, or to a later time.
"""

from datetime import datetime

import msgspec

from ..api import names
from ..api.reasons import Reason
from ..api.v1alpha1.values import AttemptOutcome, Phase
from . import (
    attempts,
    collect,
    create_errors,
    deadlines,
    diagnosis,
    identity,
    labels,
    name_conflict,
    podspec,
    policy,
    retention,
    running_pod,
    status,
    times,
)
from .plan import (
    Action,
    CreatePod,
    DeletePod,
    Event,
    Plan,
    ReadPod,
    RemoveFinalizer,
    RestoreLabels,
    VerifyDeleted,
    WriteStatus,
)
from .pod import Pod
from .settings import Settings
from .snapshot import Attempt, Refusal, Task, TaskSnapshot, TaskStatus
from .termination import Termination, classify_termination

_LONGEST_REFUSAL_WAIT_SECONDS = 60

_MOST_RELABELLINGS = 6
"""With twice the pause after each, a Pod has a minute in which its labels do not stay on."""


def decide(snapshot: TaskSnapshot, now: datetime, settings: Settings) -> Plan:
    """Say what to do about a task now, and when to look again if nothing happens before."""
    decided = _decide(_with_defaults(_in_namespace(snapshot), settings), now, settings)
    doubt = snapshot.unknown_create_deadline
    if settings.policy.max_running_pods is None or doubt is None or doubt <= now:
        return decided
    # Whatever was learnt since (a refusal, a cancellation), the create without a reply may still make its Pod.
    kept = msgspec.structs.replace(decided, reserves_slot=True)
    return _join(kept, Plan(wake_at=doubt))


def _decide(snapshot: TaskSnapshot, now: datetime, settings: Settings) -> Plan:
    task = snapshot.task
    # 1. Another controller's task is not touched.
    if task.spec.managed_by != names.CONTROLLER:
        return Plan()
    owned = tuple(p for p in snapshot.pods if p.is_owned_by(task.metadata.uid))
    # 2. With the object going, there is no status left to write to: the garbage collector stops the Pods.
    if task.metadata.deletion_timestamp is not None:
        return retention.release_on_delete(snapshot, owned, now)
    # 3. Terminal is for ever: only tidying is left, of every Pod that names this task, late creates included.
    if task.status.phase_is_terminal:
        tidy = retention.cleanup_pods(snapshot, owned, settings, now)
        return _join(_observe_generation(task, settings), tidy, retention.apply_ttl(snapshot, settings, now))
    # 4. What cannot be understood cannot be run. A Pod that lives is stopped once that stands in the status.
    if task.problem:
        return _finish(task, Phase.FAILED, Reason.INVALID_SPEC, task.problem, now)
    pods = _own_pods(task, owned)
    past = tuple(p for p in pods if p.attempt <= task.status.attempt_count)
    tidy = retention.cleanup_pods(snapshot, past, settings, now)
    current = _current_pod(task, pods)
    if current is None:
        return _join(_without_pod(snapshot, pods, settings, now), tidy)
    if _is_doubtful(snapshot, current):
        return Plan(actions=(ReadPod(name=current.metadata.name, uid=current.metadata.uid),))
    # 5. The attempt has ended: collect its result, record it, and only then let go of its Pod.
    was_running = status.entry(task, current).start_time is not None
    ended = classify_termination(current, task.spec.container_name, was_running=was_running)
    if ended is not None:
        return _join(_conclude(snapshot, current, ended, settings, now), tidy)
    # 6. The attempt lives: stop it where that is wanted, else tell how it stands.
    return _join(running_pod.reconcile_pod(snapshot, current, settings, now), tidy)


def _current_pod(task: Task, pods: tuple[Pod, ...]) -> Pod | None:
    """Give the Pod of the attempt that is due: the one that the status names, where the cache has two."""
    entry = status.current_attempt(task)
    due = [p for p in pods if p.attempt == status.current_attempt_number(task)]
    named = (p for p in due if entry is not None and p.metadata.uid == entry.pod_uid)
    return next(named, due[0] if due else None)


def _is_doubtful(snapshot: TaskSnapshot, pod: Pod) -> bool:
    """Whether the status names another Pod for this attempt, and no live read has shown yet that this is the one.

    A Pod whose finalizer was removed by force is made again under its name. Who still has the old one in the cache
    would record it over the new one, which another leader has recorded.
    """
    entry = status.current_attempt(snapshot.task)
    is_named = entry is None or entry.pod_uid in {"", pod.metadata.uid}
    return not is_named and snapshot.live_version != pod.metadata.resource_version


def _in_namespace(snapshot: TaskSnapshot) -> TaskSnapshot:
    """Drop Pods of other namespaces: whatever labels and owner they have, they are not this task's."""
    namespace = snapshot.task.metadata.namespace
    pods = tuple(p for p in snapshot.pods if p.metadata.namespace == namespace)
    return snapshot if len(pods) == len(snapshot.pods) else msgspec.structs.replace(snapshot, pods=pods)


def decide_orphans(pods: tuple[Pod, ...]) -> Plan:
    """Let go of Pods whose task does not exist any more (the caller has made sure of that by a live read)."""
    return retention.release_all(pods)


def _own_pods(task: Task, owned: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """Keep the Pods that are attempts of this task: those with the name that only we give."""
    return tuple(p for p in owned if p.attempt and p.metadata.name == pod_name(task, p.attempt))


def pod_name(task: Task, attempt: int) -> str:
    """Give the name of an attempt's Pod."""
    return task.exact_pod_name or identity.pod_name(task.metadata.name, task.metadata.uid, attempt)


def _without_pod(snapshot: TaskSnapshot, others: tuple[Pod, ...], settings: Settings, now: datetime) -> Plan:
    """No Pod of the attempt that is due: it vanished, or may not begin yet, or is created now."""
    task = snapshot.task
    number = status.current_attempt_number(task)
    unlabelled = labels.lost(snapshot, pod_name(task, number))
    if unlabelled is not None and labels.attempt_of(task, unlabelled) == number:
        return _relabel(snapshot, unlabelled, now)
    vanished = status.current_attempt(task)
    if vanished is not None:
        return _vanished(snapshot, vanished, now)
    out_of_sight = _out_of_sight(snapshot)
    if out_of_sight:
        return Plan(actions=(VerifyDeleted(name=pod_name(task, number), uid=out_of_sight),))
    cancelled = running_pod.end_wanted(task, None, now)
    if cancelled is not None:
        return _finish(task, Phase.CANCELLED, cancelled, deadlines.message_for(task, cancelled), now)
    if too_large := policy.oversize(task.spec_bytes, settings.policy):
        return _finish(task, Phase.FAILED, Reason.SPEC_TOO_LARGE, too_large, now)
    alarm = Plan(wake_at=task.spec.cancel_time)
    if task.spec.suspend:
        return _join(_suspend(task, now), alarm)
    if _is_suspended(task):
        return _write(status.resumed(task, now))
    total = deadlines.total(task, now)
    if total is not None and total.at <= now:
        return _finish(task, Phase.FAILED, total.reason, deadlines.message_for(task, total.reason), now)
    alarm = _join(alarm, Plan(wake_at=total.at if total else None))
    return _join(_begin(snapshot, others, settings, now), alarm)


def _out_of_sight(snapshot: TaskSnapshot) -> str:
    """Give the uid of a Pod that no status names and the cache has lost: its labels are off, or it is gone.

    It got its labels back once, or the watch reported its end while our finalizer was on it.
    """
    missing = [snapshot.lost_pod, snapshot.relabelled.pod_uid if snapshot.relabelled is not None else ""]
    known = {p.metadata.uid for p in snapshot.pods} | {a.pod_uid for a in snapshot.task.status.attempts}
    if snapshot.unlabelled_pod is not None:
        known.add(snapshot.unlabelled_pod.metadata.uid)
    return next((uid for uid in missing if uid and uid not in known | snapshot.gone_pods), "")


def _begin(snapshot: TaskSnapshot, others: tuple[Pod, ...], settings: Settings, now: datetime) -> Plan:
    """Begin the attempt that is due, unless something stands in its way."""
    task = snapshot.task
    # A new Pod never overlaps an old one. The old one's last event wakes this task.
    lingering = next((p for p in others if not p.is_terminal or task.exact_pod_name), None)
    if lingering is not None:
        return _linger(task, lingering, now)
    at = task.status.next_attempt_time
    if at is not None and at > now:
        return Plan(wake_at=at)
    pinned = task.status.spec_hash
    if pinned and pinned != running_pod.spec_hash(task):
        message = "the spec is not the one the first attempt was made from"
        return _finish(task, Phase.FAILED, Reason.SPEC_CHANGED, message, now)
    number = status.current_attempt_number(task)
    name = pod_name(task, number)
    past = labels.lost(snapshot, name) or labels.lost_last(snapshot)
    if past is not None:
        # The Pod of an earlier attempt, under the name that the user fixed or its own. With its labels on, it is
        # stopped and released.
        return _restore_labels(snapshot, past, now)
    if taken := _why_name_is_taken(snapshot, name):
        return _finish(task, Phase.FAILED, Reason.NAME_CONFLICT, taken, now)
    create = _create(snapshot, number, name, settings, now)
    if snapshot.refusal is None or snapshot.refusal.attempt != number:
        return create
    return _refused(snapshot, snapshot.refusal, create, settings, now)


def _why_name_is_taken(snapshot: TaskSnapshot, name: str) -> str:
    if any(p.metadata.name == name for p in snapshot.pods):
        # In the cache and yet not an attempt of ours: somebody took its owner or its attempt's number away.
        return f"Pod {name} exists and is not this task's"
    foreign = snapshot.conflicting_pod
    return name_conflict.permanent_conflict_reason(foreign, snapshot.conflicting_task) if foreign is not None else ""


def _create(snapshot: TaskSnapshot, number: int, name: str, settings: Settings, now: datetime) -> Plan:
    """Create the Pod, or wait until the namespace has a place for it."""
    task, limit = snapshot.task, settings.policy.max_running_pods
    if limit is None or snapshot.slots_used < limit:
        return Plan(actions=(CreatePod(attempt=number, name=name),))
    try:
        podspec.build(task, number, name, settings)
    except podspec.PolicyError as error:
        # Nobody is to stand in line for an hour to be told then what was known at once.
        return _finish(task, Phase.FAILED, Reason.POLICY_DENIED, str(error), now)
    except podspec.TemplateError as error:
        return _finish(task, Phase.FAILED, Reason.INVALID_POD_TEMPLATE, str(error), now)
    message = f"the platform allows namespace {task.metadata.namespace} {limit} running Pods of PodTasks at once"
    told = running_pod.set_reason_debounced(
        snapshot, Phase.PENDING, Reason.CONCURRENCY_LIMIT, message, None, settings, now
    )
    return msgspec.structs.replace(told, waits_for_slot=True)


def _refused(snapshot: TaskSnapshot, refused: Refusal, create: Plan, settings: Settings, now: datetime) -> Plan:
    task = snapshot.task
    decision, reason = create_errors.classify_create_error(refused)
    if decision is create_errors.Decision.FAIL:
        return _finish(task, Phase.FAILED, reason, refused.message, now)
    if decision is create_errors.Decision.STOP:
        return Plan()
    if create.waits_for_slot:
        return create
    # Until its hour has come a refused create is not repeated, however often the task is looked at.
    again = times.add_saturating(refused.at, min(2 ** min(refused.count, 6), _LONGEST_REFUSAL_WAIT_SECONDS))
    if task.status.reason == Reason.CONCURRENCY_LIMIT and again > now:
        # Its turn has come only now: the time in line is not the schedule clock's.
        told = status.with_reason(task, Phase.PENDING, reason, refused.message)
        return _write(msgspec.structs.replace(told, next_attempt_time=refused.at))
    deadline = deadlines.without_pod(task)
    if deadline is not None and deadline.at <= now and task.status.reason != Reason.CONCURRENCY_LIMIT:
        message = f"{deadlines.message_for(task, deadline.reason)}; {reason}: {refused.message}"
        return _finish(task, Phase.FAILED, deadline.reason, message, now)
    if again <= now:
        return create
    alarm = Plan(wake_at=min(again, deadline.at) if deadline else again)
    return _join(
        running_pod.set_reason_debounced(snapshot, Phase.PENDING, reason, refused.message, None, settings, now), alarm
    )


def _linger(task: Task, pod: Pod, now: datetime) -> Plan:
    forced = running_pod.force_delete(task, pod, now)
    if forced.actions or forced.wake_at:
        return forced
    at = task.status.next_attempt_time
    if task.status.reason == Reason.BACKOFF and at is not None and at > now:
        return Plan(wake_at=at)
    if pod.is_terminal or task.status.reason == Reason.POD_TERMINATING:
        return Plan()
    return Plan(
        actions=(
            WriteStatus(
                status=status.with_reason(
                    task,
                    Phase.PENDING,
                    Reason.POD_TERMINATING,
                    f"attempt {status.current_attempt_number(task)} waits until Pod {pod.metadata.name}"
                    " of the last has ended",
                )
            ),
        )
    )


def _relabel(snapshot: TaskSnapshot, pod: Pod, now: datetime) -> Plan:
    """Give the attempt's Pod its labels back. Where they do not stay on, the task ends when it is to, or for that."""
    task, before = snapshot.task, snapshot.relabelled
    if before is None or before.pod_uid != pod.metadata.uid:
        return _restore_labels(snapshot, pod, now)
    total = deadlines.total(task, now)
    reason = running_pod.end_wanted(task, total, now)
    message = deadlines.message_for(task, reason or "")
    if reason is None and before.count >= _MOST_RELABELLINGS:
        reason = Reason.NAME_CONFLICT
        message = f"Pod {pod.metadata.name} lacks the labels by which it is known; they were put back in vain"
    if reason is not None:
        return _give_up(task, pod, reason, message, now)
    alarm = _join(Plan(wake_at=task.spec.cancel_time), Plan(wake_at=total.at if total else None))
    return _join(_restore_labels(snapshot, pod, now), alarm)


def _restore_labels(snapshot: TaskSnapshot, pod: Pod, now: datetime) -> Plan:
    """Put our labels back, with twice the pause after each time."""
    before, uid = snapshot.relabelled, pod.metadata.uid
    if before is not None and before.pod_uid == uid:
        again = times.add_saturating(before.at, min(2 ** min(before.count, 6), _LONGEST_REFUSAL_WAIT_SECONDS))
        if again > now:
            return Plan(wake_at=again)
    number = labels.attempt_of(snapshot.task, pod)
    return Plan(actions=(RestoreLabels(attempt=number, name=pod.metadata.name, uid=uid),))


def _give_up(task: Task, pod: Pod, reason: Reason, message: str, now: datetime) -> Plan:
    """End the task, and its Pod first: once the task is over, no watch brings that Pod again.

    The reason is not noted on the Pod: what takes labels off, or refuses them, may refuse that too.
    """
    name, uid = pod.metadata.name, pod.metadata.uid
    entry = status.current_attempt(task) or status.entry(task, pod)
    written = _stopped(
        task, msgspec.structs.replace(entry, number=status.current_attempt_number(task)), reason, message, now
    )
    actions = (DeletePod(name=name, uid=uid), WriteStatus(status=written), RemoveFinalizer(name=name, uid=uid))
    return Plan(actions=actions, events=_events(written))


def _stopped(task: Task, entry: Attempt, reason: Reason, message: str, now: datetime) -> TaskStatus:
    """Give the status that records an attempt as stopped, which ends the task."""
    ended = Termination(outcome=AttemptOutcome.STOPPED, reason=reason, message=message, started_at=entry.start_time)
    return attempts.conclude(task, entry, ended, None, None, now)


def _vanished(snapshot: TaskSnapshot, entry: Attempt, now: datetime) -> Plan:
    """A recorded Pod is not in the cache: make sure, then count it. Its finalizer was taken by force."""
    task = snapshot.task
    reason = running_pod.end_wanted(task, deadlines.total(task, now), now)
    message = deadlines.message_for(task, reason or "")
    known = snapshot.pods if snapshot.unlabelled_pod is None else (*snapshot.pods, snapshot.unlabelled_pod)
    found = next((p for p in known if p.metadata.uid == entry.pod_uid), None)
    if found is not None:
        # It was taken from the task: it is let be, and what is ours on it is taken off.
        message = message or f"Pod {entry.pod_name} has lost its owner, by which it is known"
        written = _stopped(task, entry, reason or Reason.NAME_CONFLICT, message, now)
        released = (RemoveFinalizer(name=entry.pod_name, uid=entry.pod_uid),) if found.has_finalizer else ()
        return Plan(actions=(WriteStatus(status=written), *released), events=_events(written))
    if entry.pod_uid not in snapshot.gone_pods:
        return Plan(actions=(VerifyDeleted(name=entry.pod_name, uid=entry.pod_uid),))
    if reason is not None:
        return _write(_stopped(task, entry, reason, message, now))
    ended = Termination(
        outcome=AttemptOutcome.DISRUPTED,
        reason=Reason.POD_DELETED,
        message=f"Pod {entry.pod_name} is gone without a trace: somebody deleted it and took its finalizer off",
        started_at=entry.start_time,
    )
    return _write(attempts.conclude(task, entry, ended, None, None, now))


def _conclude(snapshot: TaskSnapshot, pod: Pod, ended: Termination, settings: Settings, now: datetime) -> Plan:
    task = snapshot.task
    ended = _with_cause(task, pod, ended)
    collected = collect.collect(snapshot, pod, ended, settings, now)
    if isinstance(collected, collect.Pending):
        # The sidecar is told to stop once the last main container has ended, so the others are stopped now.
        stop = running_pod.stop_others(pod, task.spec.container_name)
        asked = (*stop, *collected.actions)
        told = Plan() if asked else _report_collecting(snapshot, pod, ended, collected.until, settings, now)
        return _join(Plan(actions=asked, wake_at=collected.until), told)
    if collected.failure is not None and ended.outcome is AttemptOutcome.SUCCEEDED:
        ended = _without_result(task, ended, collected.failure.reason, collected.failure.message)
    entry = status.entry(task, pod)
    written = attempts.conclude(task, entry, ended, pod, collected.xcom, now)
    # A failure for want of the result ends the task: its work is done, and is not done again unless a rule says so.
    actions: tuple[Action, ...] = (WriteStatus(status=written), *running_pod.stop_others(pod, task.spec.container_name))
    if pod.has_finalizer:
        actions = (*actions, RemoveFinalizer(name=pod.metadata.name, uid=pod.metadata.uid))
    return Plan(actions=actions, events=_events(written))


def _report_collecting(
    snapshot: TaskSnapshot, pod: Pod, ended: Termination, until: datetime | None, settings: Settings, now: datetime
) -> Plan:
    """Say that the result is on the way, once it is late: most are there within a second or two."""
    finished = times.to_server_time(ended.finished_at, pod) if ended.finished_at else None
    late_at = times.add_saturating(times.clamp(finished, pod, now), settings.diagnosis_seconds)
    if late_at > now:
        return Plan(wake_at=late_at)
    limit = f"; it is given up at {until:%Y-%m-%dT%H:%M:%SZ}" if until else ""
    message = f"container {snapshot.task.spec.container_name} has ended, and its result has not come yet{limit}"
    return running_pod.set_reason_debounced(
        snapshot, snapshot.task.status.phase, Reason.COLLECTING_RESULT, message, pod, settings, now
    )


def _with_cause(task: Task, pod: Pod, ended: Termination) -> Termination:
    """Say of a Pod that we stopped which limit was reached, and what had held it up until then.

    The latter was told while the Pod could still tell; where it is why the Pod was stopped it says all there is to say.
    """
    if ended.reason != pod.stop_reason:
        return ended
    told = task.status
    cause = deadlines.message_for(task, ended.reason)
    if ended.started_at is not None or told.reason not in diagnosis.REASONS:
        return msgspec.structs.replace(ended, message=cause or ended.message)
    obstacle = told.message if told.reason == ended.reason else f"{told.reason}: {told.message}"
    return msgspec.structs.replace(ended, message=f"{cause}; {obstacle}" if cause else obstacle)


def _without_result(task: Task, ended: Termination, reason: str, message: str) -> Termination:
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
    """Say that an edit of the TTL was seen; tools that compare observedGeneration wait for it otherwise."""
    if task.status.observed_generation == task.metadata.generation:
        return Plan()
    # Too late for a refusal, so the ceiling holds instead (`retention.apply_ttl`); not without a word.
    problems = "; ".join(policy.excesses(task.spec, settings.policy))
    notes = (Event(kind="Warning", reason=Reason.POLICY_DENIED, message=problems),) if problems else ()
    return Plan(actions=(WriteStatus(status=status.observed(task)),), events=notes)


def _with_defaults(snapshot: TaskSnapshot, settings: Settings) -> TaskSnapshot:
    """Put the platform's deadlines and time to live where the task sets none."""
    task = snapshot.task
    spec = policy.with_defaults(task.spec, settings.policy)
    if spec is task.spec:
        return snapshot
    return msgspec.structs.replace(snapshot, task=msgspec.structs.replace(task, spec=spec))


def _finish(task: Task, phase: Phase, reason: Reason, message: str, now: datetime) -> Plan:
    return _write(status.finished(task, task.status, phase, reason, message, now))


def _write(written: TaskStatus) -> Plan:
    return Plan(actions=(WriteStatus(status=written),), events=_events(written))


def _events(written: TaskStatus) -> tuple[Event, ...]:
    """Events are for failures only: the happy path is told by the status."""
    if written.phase == Phase.FAILED or written.reason == Reason.BACKOFF:
        return (Event(kind="Warning", reason=written.reason, message=written.message),)
    return ()


def _join(*plans: Plan) -> Plan:
    wakes = [p.wake_at for p in plans if p.wake_at is not None]
    return Plan(
        actions=tuple(action for plan in plans for action in plan.actions),
        events=tuple(note for plan in plans for note in plan.events),
        wake_at=min(wakes, default=None),
        waits_for_slot=any(plan.waits_for_slot for plan in plans),
        reserves_slot=any(plan.reserves_slot for plan in plans),
    )
