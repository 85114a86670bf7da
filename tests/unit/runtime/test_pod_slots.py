"""PodSlots: the limit holds, the oldest task is first, and no task is woken without a free slot."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from podtask.api import names
from podtask.core import identity, plan
from podtask.core.pod import Pod
from podtask.core.snapshot import Task
from podtask.runtime.pod_slots import PodSlots
from tests.builders import ORIGIN, make_pod, make_task

CREATE = plan.Plan(actions=(plan.CreatePod(attempt=1, name="p"),))
WAIT = plan.Plan(waits_for_slot=True)
NOTHING = plan.Plan()
UNKNOWN_CREATE = plan.Plan(reserves_slot=True)


def task(number: int, namespace: str = "default", reason: str = "") -> Task:
    """A task, created `number` seconds after the first."""
    born = ORIGIN + timedelta(seconds=number)
    made = make_task().metadata(name=f"task-{number}", uid=f"u{number}", namespace=namespace, creation_timestamp=born)
    return made.status(reason=reason).build()


def pod(number: int, phase: str = "Running", namespace: str = "default") -> Pod:
    return make_pod(number).metadata(uid=f"pod-u{number}", namespace=namespace).phase(phase).build()


def owned(number: int, phase: str) -> Pod:
    """The Pod that this task owns."""
    made, uid = make_pod(), f"u{number}"
    owner = msgspec.structs.replace(made.pod.metadata.owner_references[0], uid=uid)
    labels = made.pod.metadata.labels | {names.LABEL_TASK_UID: uid}
    return made.metadata(uid=f"pod-{uid}", labels=labels, owner_references=(owner,)).phase(phase).build()


def key(number: int, namespace: str = "default") -> str:
    return identity.task_key(namespace, f"u{number}")


class Woken(list[str]):
    def take(self) -> list[str]:
        got = list(self)
        self.clear()
        return got


@pytest.fixture
def woken() -> Woken:
    return Woken()


def test_a_create_reserves_a_slot_at_once_and_its_pod_keeps_it(woken: Woken) -> None:
    slots = PodSlots(1, woken.append)
    assert slots.used(task(1)) == 0
    slots.update(task(1), CREATE)
    assert (slots.used(task(1)), slots.used(task(2))) == (0, 1), "its own slot is not counted"
    slots.pod_changed(None, pod(1))
    slots.update(task(1), NOTHING)
    assert slots.used(task(2)) == 1
    slots.pod_changed(pod(1), pod(1, "Succeeded"))
    assert slots.used(task(2)) == 0


def test_waiting_tasks_are_woken_oldest_first_one_per_free_slot(woken: Woken) -> None:
    slots = PodSlots(2, woken.append)
    for number in (8, 9):
        slots.pod_changed(None, pod(number))
    for number in (5, 3, 4):
        slots.update(task(number), WAIT)
    assert woken.take() == []
    slots.pod_changed(pod(8), pod(8))
    assert woken.take() == [], "nothing has changed"
    slots.pod_changed(pod(8), None)
    assert woken.take() == [key(3)]
    slots.update(task(3), CREATE)
    slots.pod_changed(pod(9), pod(9, "Failed"))
    assert woken.take() == [key(4)]


def test_a_younger_task_does_not_overtake_one_that_waits(woken: Woken) -> None:
    slots = PodSlots(1, woken.append)
    slots.update(task(2), WAIT)
    assert slots.used(task(3)) == 1
    assert slots.used(task(1)) == 0, "an older one goes first"


def test_a_task_that_stops_waiting_is_removed_from_the_queue(woken: Woken) -> None:
    slots = PodSlots(1, woken.append)
    slots.update(task(1), WAIT)
    slots.update(task(2), WAIT)
    slots.update(task(1), NOTHING)
    assert woken.take() == [key(2)]
    slots.release(key(2))
    slots.release(key(2))
    assert (woken.take(), slots.used(task(3))) == ([], 0)


def test_a_failed_create_releases_its_slot(woken: Woken) -> None:
    slots = PodSlots(1, woken.append)
    slots.update(task(2), CREATE)
    slots.update(task(1), WAIT)
    slots.update(task(2), WAIT)
    assert woken.take() == [key(1)]


def test_a_refusal_does_not_release_the_slot_of_a_create_of_unknown_outcome(woken: Woken) -> None:
    slots = PodSlots(1, woken.append)
    slots.update(task(1), CREATE)
    slots.update(task(2), WAIT)
    slots.update(task(1), UNKNOWN_CREATE)
    assert (woken.take(), slots.used(task(2))) == ([], 1)
    slots.update(task(1), NOTHING)
    assert (woken.take(), slots.used(task(2))) == ([key(2)], 0)


@pytest.mark.parametrize("phase", ["Running", "Succeeded"])
def test_a_pod_of_a_create_of_unknown_outcome_uses_one_slot(woken: Woken, phase: str) -> None:
    """The slot of a Pod that ends is free at once."""
    slots = PodSlots(2, woken.append)
    slots.update(task(1), CREATE)
    slots.update(task(1), UNKNOWN_CREATE)
    slots.pod_changed(None, owned(1, phase))
    slots.update(task(1), UNKNOWN_CREATE)
    assert slots.used(task(2)) == (1 if phase == "Running" else 0)


def test_reserves_slot_without_a_create_reserves_none(woken: Woken) -> None:
    slots = PodSlots(1, woken.append)
    slots.update(task(1), UNKNOWN_CREATE)
    assert slots.used(task(2)) == 0


def test_a_reserved_slot_is_kept_when_an_older_task_begins_to_wait(woken: Woken) -> None:
    """Its create may have been carried out without a reply: another task's create would exceed the limit."""
    slots = PodSlots(1, woken.append)
    slots.update(task(2), CREATE)
    slots.update(task(1), WAIT)
    assert (slots.used(task(2)), slots.used(task(1))) == (0, 1)


def test_an_orphaned_pod_uses_no_slot(woken: Woken) -> None:
    """No controller stops it, so a wait for its end might never end."""
    slots = PodSlots(1, woken.append)
    slots.pod_changed(None, pod(1))
    slots.update(task(2), WAIT)
    orphan = msgspec.structs.replace(
        pod(1), metadata=msgspec.structs.replace(pod(1).metadata, owner_references=(), resource_version="9")
    )
    slots.pod_changed(pod(1), orphan)
    assert (woken.take(), slots.used(task(2))) == ([key(2)], 0)


def test_namespaces_have_separate_slots(woken: Woken) -> None:
    slots = PodSlots(1, woken.append)
    slots.pod_changed(None, pod(1, namespace="other"))
    slots.update(task(1), WAIT)
    slots.pod_changed(pod(1, namespace="other"), None)
    assert (woken.take(), slots.used(task(2, "other"))) == ([], 0)


def test_a_task_that_waited_before_the_restart_is_queued_again(woken: Woken) -> None:
    slots = PodSlots(1, woken.append)
    slots.rebuild([task(1, reason="ConcurrencyLimit"), task(2, reason="Running")])
    assert slots.used(task(3)) == 1


def test_creates_of_an_earlier_term_reserve_no_slots(woken: Woken) -> None:
    slots = PodSlots(2, woken.append)
    slots.pod_changed(None, pod(9))
    slots.update(task(1), CREATE)
    slots.update(task(2), WAIT)
    slots.rebuild([])
    assert slots.used(task(3)) == 1, "the Pod alone"


def test_without_a_limit_nothing_is_kept(woken: Woken) -> None:
    slots = PodSlots(None, woken.append)
    slots.pod_changed(None, pod(1))
    slots.rebuild([task(1, reason="ConcurrencyLimit")])
    slots.update(task(1), CREATE)
    assert (slots.used(task(2)), woken.take()) == (0, [])


class AnyOrder(RuleBasedStateMachine):
    """Reconciles and changes of Pods in any order: the limit holds, and every task gets its slot."""

    numbers = st.integers(1, 8)

    @initialize(limit=st.integers(1, 3))
    def begin(self, limit: int) -> None:
        self.limit = limit
        self.queue: set[str] = set()
        self.slots = PodSlots(limit, self.queue.add)
        self.live: set[int] = set()
        self.done: set[int] = set()
        self.seen: set[int] = set()

    @rule(number=numbers)
    def submit(self, number: int) -> None:
        if number not in self.seen:
            self.seen.add(number)
            self.queue.add(key(number))

    @rule(number=numbers, works=st.booleans())
    def reconcile(self, number: int, works: bool) -> None:
        if key(number) not in self.queue:
            return
        self.queue.discard(key(number))
        if number in self.live | self.done:
            self.slots.update(task(number), NOTHING)
        elif self.slots.used(task(number)) >= self.limit:
            self.slots.update(task(number), WAIT)
        else:
            self.slots.update(task(number), CREATE)
            if works:
                self.live.add(number)
                self.slots.pod_changed(None, pod(number))
            self.queue.add(key(number))  # after a create, or its failure, the task is reconciled again

    @rule(number=numbers, vanishes=st.booleans())
    def end(self, number: int, vanishes: bool) -> None:
        if number in self.live:
            self.live.remove(number)
            self.done.add(number)
            self.queue.add(key(number))
            self.slots.pod_changed(pod(number), None if vanishes else pod(number, "Succeeded"))

    @invariant()
    def never_too_many(self) -> None:
        assert len(getattr(self, "live", ())) <= getattr(self, "limit", 0)

    def teardown(self) -> None:
        """At the end, once all woken tasks are reconciled and all Pods have ended, every task has had its Pod."""
        for _ in range(200):
            if self.queue:
                self.reconcile(int(min(self.queue).rpartition("u")[2]), works=True)
            elif self.live:
                self.end(min(self.live), vanishes=False)
        assert getattr(self, "done", set()) == getattr(self, "seen", set())
        assert not self.queue


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_pod_of_another_namespace_does_not_replace_a_reservation(woken: Woken) -> None:
    """It has the task's uid as label and owner, so only the namespace distinguishes it from the created Pod."""
    slots = PodSlots(1, woken.append)
    slots.update(task(1), CREATE)
    forged = owned(1, "Running")
    forged = msgspec.structs.replace(forged, metadata=msgspec.structs.replace(forged.metadata, namespace="attacker"))
    slots.pod_changed(None, forged)
    slots.pod_changed(forged, None)
    assert slots.used(task(2)) == 1, "the create is still under way"
    assert woken.take() == []


def test_tasks_of_the_same_second_are_ordered_by_name() -> None:
    """Tasks of the same second are ordered by name, so that the order is the same after a restart."""
    same = [msgspec.structs.replace(task(0).metadata, name=name, uid=name) for name in ("b", "a")]
    slots = PodSlots(1, lambda _: None)
    first, second = (msgspec.structs.replace(task(0), metadata=meta) for meta in same)
    slots.update(first, WAIT)
    assert slots.used(second) == 0
    slots.update(second, WAIT)
    assert slots.used(first) == 1
