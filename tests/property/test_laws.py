"""Properties of `decide`, for generated snapshots and for whole lives of tasks."""

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from podtask.api.v1alpha1.values import TERMINAL
from podtask.core import plan, status
from podtask.core.decide import decide
from podtask.core.pod import Pod
from podtask.core.settings import Settings
from podtask.core.snapshot import TaskSnapshot, TaskStatus
from podtask.kube.merge_patch import json_merge_patch
from podtask.runtime import decode
from tests.builders import UID
from tests.property import facts
from tests.property.life import ENDS, EVENTS, Life
from tests.property.model import Gone, over_the_wire, settle

SETTINGS = Settings()
MOST_ROUNDS = 12
BUDGET = {
    "deadline": None,
    "database": None,
    "phases": (Phase.explicit, Phase.generate),
    "suppress_health_check": list(HealthCheck),
}
many = settings(max_examples=150, **BUDGET)
few = settings(max_examples=60, **BUDGET)


def is_ours(found: Pod) -> bool:
    return found.is_owned_by(UID)


def written_status(decided: plan.Plan) -> TaskStatus | None:
    found = [s.status for s in decided.actions if isinstance(s, plan.WriteStatus)]
    assert len(found) <= 1, "one status write for each decision"
    return found[0] if found else None


@many
@given(snapshot=facts.observations(), now=facts.moments)
def test_the_same_facts_give_the_same_plan(snapshot: TaskSnapshot, now: object) -> None:
    """Deterministic and total: no exception for any snapshot, and the same arguments give the same plan."""
    copied = msgspec.json.decode(msgspec.json.encode(snapshot), type=TaskSnapshot)
    assert decide(snapshot, now, SETTINGS) == decide(copied, now, SETTINGS)


@many
@given(snapshot=facts.observations(), now=facts.moments)
def test_what_is_held_between_two_looks_gives_the_same_plan(snapshot: TaskSnapshot, now: object) -> None:
    """The informer keeps objects packed, without the fields that decisions never need."""
    task, pods = snapshot.task, snapshot.pods
    held = msgspec.structs.replace(
        snapshot,
        task=decode.TASK_CODEC.unpack(decode.TASK_CODEC.pack(task)),
        pods=tuple(decode.POD_CODEC.unpack(decode.POD_CODEC.pack(found)) for found in pods),
    )
    assert decide(snapshot, now, SETTINGS) == decide(held, now, SETTINGS)


@many
@given(snapshot=facts.observations(), now=facts.moments)
def test_an_applied_plan_leads_to_rest(snapshot: TaskSnapshot, now: object) -> None:
    """Idempotent: a plan applied and decided again soon gives no actions, and every write changed something."""
    for _ in range(MOST_ROUNDS):
        decided = decide(snapshot, now, SETTINGS)
        if not decided.actions:
            assert decided.wake_at is None or decided.wake_at > now, "a time that has passed is a hot loop"
            return
        before = msgspec.structs.replace(snapshot, diagnosed_at=None)
        try:
            snapshot = settle(snapshot, decided, now)
        except Gone:
            return
        assert msgspec.structs.replace(snapshot, diagnosed_at=None) != before, f"changes nothing: {decided.actions}"
    pytest.fail(f"does not come to rest: {decided}")


@many
@given(snapshot=facts.observations(), now=facts.moments)
def test_no_pod_is_created_beside_a_living_one(snapshot: TaskSnapshot, now: object) -> None:
    """Never two running Pods of one task: no plan creates one while another attempt's Pod may still run."""
    decided = decide(snapshot, now, SETTINGS)
    if not any(isinstance(s, plan.CreatePod) for s in decided.actions):
        return
    assert not [
        p for p in snapshot.pods if is_ours(p) and p.attempt and p.metadata.name != "stranger" and not p.is_terminal
    ]
    assert not snapshot.task.status.phase_is_terminal
    assert not snapshot.task.spec.cancel
    assert not snapshot.task.spec.suspend
    assert snapshot.task.metadata.deletion_timestamp is None


@many
@given(snapshot=facts.observations(), now=facts.moments)
def test_counters_only_rise_by_one_and_stay_in_their_budgets(snapshot: TaskSnapshot, now: object) -> None:
    """Counted attempts never exceed the budgets and never fall: a further attempt follows only within the budget."""
    status = written_status(decide(snapshot, now, SETTINGS))
    if status is None:
        return
    before, spec = snapshot.task.status, snapshot.task.spec
    assert status.attempt_count - before.attempt_count in {0, 1}
    counted = (status.failure_count + status.disruption_count) - (before.failure_count + before.disruption_count)
    assert 0 <= counted <= status.attempt_count - before.attempt_count
    assert status.failure_count >= before.failure_count
    assert status.disruption_count >= before.disruption_count
    if status.attempt_count > before.attempt_count and not status.phase_is_terminal:
        assert status.failure_count <= spec.backoff_limit
        assert status.disruption_count <= spec.disruption_limit


@many
@given(snapshot=facts.observations(), phase=st.sampled_from(sorted(TERMINAL)), now=facts.moments)
def test_a_terminal_status_stays(snapshot: TaskSnapshot, phase: str, now: object) -> None:
    """A terminal status never changes except observed generations, and no Pod is created after it."""
    over = msgspec.structs.replace(snapshot.task.status, phase=phase)
    snapshot = msgspec.structs.replace(snapshot, task=msgspec.structs.replace(snapshot.task, status=over))
    decided = decide(snapshot, now, SETTINGS)
    written = written_status(decided)
    if written is not None:
        assert written == status.observed(snapshot.task)
    assert not any(isinstance(s, plan.CreatePod) for s in decided.actions)


@many
@given(snapshot=facts.observations(), now=facts.moments)
def test_no_pod_goes_before_its_outcome_is_written(snapshot: TaskSnapshot, now: object) -> None:
    """A plan never releases a Pod, or deletes one without a reason, before its outcome is in the status."""
    task = snapshot.task
    if task.metadata.deletion_timestamp is not None:
        return
    by_uid = {p.metadata.uid: p for p in snapshot.pods}
    counted = task.status.attempt_count
    over = task.status.phase_is_terminal
    decided = decide(snapshot, now, SETTINGS)
    recorded = written_status(decided)
    ends = recorded is not None and recorded.phase_is_terminal
    for action in decided.actions:
        if isinstance(action, plan.WriteStatus):
            counted = action.status.attempt_count
            over = action.status.phase_is_terminal
        # A Pod that does not keep our labels is deleted before the task ends, because it is not seen after that.
        deletes = isinstance(action, plan.DeletePod) and not action.reason and not ends
        if isinstance(action, plan.RemoveFinalizer) or deletes:
            assert over or by_uid[action.uid].attempt <= counted


def waits_for_an_event(snapshot: TaskSnapshot) -> bool:
    """Return whether an event certainly re-queues a task without a `wake_at`. Each comment names the event."""
    task = snapshot.task
    if task.metadata.deletion_timestamp is not None or task.status.phase_is_terminal:
        return True  # none is needed: all there was to do is done
    if any(not p.is_terminal for p in snapshot.pods):
        return True  # the kubelet's, scheduler's or node controller's next word about a Pod that lives or is stopped
    if task.exact_pod_name and snapshot.pods:
        return True  # the Pod's own DELETED
    if task.spec.suspend:
        return True  # an edit of the task
    refused = snapshot.create_error
    return refused is not None and refused.code == 404  # the namespace goes, and the task with it


@many
@given(snapshot=facts.observations(), now=facts.moments)
def test_every_state_has_a_wake_up(snapshot: TaskSnapshot, now: object) -> None:
    """No lost wake-up: a plan without actions for an unfinished task has a `wake_at`, or an event is certain."""
    decided = decide(snapshot, now, SETTINGS)
    if decided.actions or decided.wake_at is not None:
        return
    refused = snapshot.create_error
    stops = refused is not None and "being terminated" in refused.message
    assert stops or waits_for_an_event(snapshot)


values = st.recursive(
    st.booleans() | st.integers(0, 2) | st.text("ab", max_size=1),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def merged(target: object, patch: object) -> object:
    """The algorithm of RFC 7386, literally."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@many
@given(before=objects, after=objects)
def test_a_merge_patch_makes_one_of_the_other(before: dict[str, object], after: dict[str, object]) -> None:
    patch = json_merge_patch(after, before)
    assert merged(before, patch) == after
    assert (patch == {}) == (before == after)


lives = st.lists(st.sampled_from(EVENTS), max_size=14)


@few
@given(made=facts.specs(), events=lives, ends=st.lists(st.sampled_from(ENDS), max_size=6), every=st.integers(1, 3))
def test_a_whole_life_keeps_the_laws(made, events, ends, every) -> None:  # type: ignore[no-untyped-def]
    """Over a random life: at most one running Pod, exact counters, a terminal phase that stays, and always an end."""
    life = Life(made.build(), ends)
    for number, event in enumerate(events):
        life.happen(event)
        if number % every == 0:
            life.reconcile()
    life.run_out()
    status = life.snapshot.task.status
    spec = life.snapshot.task.spec
    assert status.phase_is_terminal or life.is_deleted
    assert status.failure_count <= spec.backoff_limit + 1
    assert status.disruption_count <= spec.disruption_limit + 1
    if not life.is_deleted:
        assert not [p for p in life.snapshot.pods if p.has_finalizer], "every finalizer is released in the end"
        assert not [p for p in life.snapshot.pods if not p.is_terminal], "nothing runs on"


@few
@given(made=facts.specs(), ends=st.lists(st.sampled_from(ENDS), min_size=1, max_size=6), repeats=st.integers(2, 4))
def test_any_order_and_repetition_of_observations_comes_to_the_same_end(made, ends, repeats) -> None:  # type: ignore[no-untyped-def]
    """Level-based: the final state does not depend on which states of a Pod were observed, and how often."""
    task = made.build()
    spec = msgspec.structs.replace(
        task.spec, suspend=False, cancel=False, cancel_time=None, deadlines=type(task.spec.deadlines)()
    )
    task = msgspec.structs.replace(task, spec=spec)
    attentive, sleepy = Life(task, ends), Life(task, ends)
    attentive.run_out(looks=repeats)
    sleepy.run_out(looks=1, only_ends=True)
    assert attentive.final_state() == sleepy.final_state()


def test_a_status_reads_back_as_it_was_written() -> None:
    """A return to Pending writes the phase, although it is the default on reading."""
    written = over_the_wire(TaskStatus(phase="Pending", reason="Backoff"))
    assert written == TaskStatus(reason="Backoff")
    assert b'"phase":"Pending"' in msgspec.json.encode(written)
