"""Places of a namespace: never one too many, oldest first, and nobody woken for nothing."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from podtask.api import names
from podtask.core import identity, plan
from podtask.core.observed import Pod, Task
from podtask.runtime.places import Places
from tests.builders import ORIGIN, make_pod, make_task

CREATE = plan.Plan(steps=(plan.CreatePod(attempt=1, name="p"),))
WAIT = plan.Plan(waits_for_place=True)
NOTHING = plan.Plan()
IN_DOUBT = plan.Plan(keeps_place=True)


def task(number: int, namespace: str = "default", reason: str = "") -> Task:
    """A task that was created so many seconds after the first."""
    born = ORIGIN + timedelta(seconds=number)
    made = make_task().metadata(name=f"task-{number}", uid=f"u{number}", namespace=namespace, creation_timestamp=born)
    return made.status(reason=reason).build()


def pod(number: int, phase: str = "Running", namespace: str = "default") -> Pod:
    return make_pod(number).metadata(uid=f"pod-u{number}", namespace=namespace).phase(phase).build()


def owned(number: int, phase: str) -> Pod:
    """The Pod of that very task."""
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


def test_a_create_takes_a_place_at_once_and_its_pod_keeps_it(woken: Woken) -> None:
    places = Places(1, woken.append)
    assert places.taken(task(1)) == 0
    places.settle(task(1), CREATE)
    assert (places.taken(task(1)), places.taken(task(2))) == (0, 1), "its own place does not stand in its way"
    places.pod_changed(None, pod(1))
    places.settle(task(1), NOTHING)
    assert places.taken(task(2)) == 1
    places.pod_changed(pod(1), pod(1, "Succeeded"))
    assert places.taken(task(2)) == 0


def test_those_who_wait_are_woken_oldest_first_and_only_as_many_as_there_are_places(woken: Woken) -> None:
    places = Places(2, woken.append)
    for number in (8, 9):
        places.pod_changed(None, pod(number))
    for number in (5, 3, 4):
        places.settle(task(number), WAIT)
    assert woken.take() == []
    places.pod_changed(pod(8), pod(8))
    assert woken.take() == [], "nothing has changed"
    places.pod_changed(pod(8), None)
    assert woken.take() == [key(3)]
    places.settle(task(3), CREATE)
    places.pod_changed(pod(9), pod(9, "Failed"))
    assert woken.take() == [key(4)]


def test_a_younger_task_does_not_overtake_one_that_waits(woken: Woken) -> None:
    places = Places(1, woken.append)
    places.settle(task(2), WAIT)
    assert places.taken(task(3)) == 1
    assert places.taken(task(1)) == 0, "an older one goes first"


def test_who_leaves_the_line_makes_way(woken: Woken) -> None:
    places = Places(1, woken.append)
    places.settle(task(1), WAIT)
    places.settle(task(2), WAIT)
    places.settle(task(1), NOTHING)
    assert woken.take() == [key(2)]
    places.leave(key(2))
    places.leave(key(2))
    assert (woken.take(), places.taken(task(3))) == ([], 0)


def test_a_create_that_came_to_nothing_gives_its_place_back(woken: Woken) -> None:
    places = Places(1, woken.append)
    places.settle(task(2), CREATE)
    places.settle(task(1), WAIT)
    places.settle(task(2), WAIT)
    assert woken.take() == [key(1)]


def test_a_refusal_does_not_free_the_place_of_an_earlier_create_that_may_still_arrive(woken: Woken) -> None:
    places = Places(1, woken.append)
    places.settle(task(1), CREATE)
    places.settle(task(2), WAIT)
    places.settle(task(1), IN_DOUBT)
    assert (woken.take(), places.taken(task(2))) == ([], 1)
    places.settle(task(1), NOTHING)
    assert (woken.take(), places.taken(task(2))) == ([key(2)], 0)


@pytest.mark.parametrize("phase", ["Running", "Succeeded"])
def test_a_create_that_was_in_doubt_and_is_there_has_one_place_and_no_two(woken: Woken, phase: str) -> None:
    """A Pod that ends is not followed by a minute in which nobody may have its place."""
    places = Places(2, woken.append)
    places.settle(task(1), CREATE)
    places.settle(task(1), IN_DOUBT)
    places.pod_changed(None, owned(1, phase))
    places.settle(task(1), IN_DOUBT)
    assert places.taken(task(2)) == (1 if phase == "Running" else 0)


def test_who_never_had_a_place_takes_none_by_a_doubt(woken: Woken) -> None:
    places = Places(1, woken.append)
    places.settle(task(1), IN_DOUBT)
    assert places.taken(task(2)) == 0


def test_who_has_a_place_keeps_it_whoever_lines_up_before(woken: Woken) -> None:
    """Its create may have been carried out without a reply: whoever took the place would make one Pod too many."""
    places = Places(1, woken.append)
    places.settle(task(2), CREATE)
    places.settle(task(1), WAIT)
    assert (places.taken(task(2)), places.taken(task(1))) == (0, 1)


def test_an_orphaned_pod_has_no_place(woken: Woken) -> None:
    """Nobody stops what runs on in it, so that who waited for its end could wait for ever."""
    places = Places(1, woken.append)
    places.pod_changed(None, pod(1))
    places.settle(task(2), WAIT)
    orphan = msgspec.structs.replace(
        pod(1), metadata=msgspec.structs.replace(pod(1).metadata, owner_references=(), resource_version="9")
    )
    places.pod_changed(pod(1), orphan)
    assert (woken.take(), places.taken(task(2))) == ([key(2)], 0)


def test_namespaces_do_not_share(woken: Woken) -> None:
    places = Places(1, woken.append)
    places.pod_changed(None, pod(1, namespace="other"))
    places.settle(task(1), WAIT)
    places.pod_changed(pod(1, namespace="other"), None)
    assert (woken.take(), places.taken(task(2, "other"))) == ([], 0)


def test_a_task_that_waited_before_the_restart_keeps_its_turn(woken: Woken) -> None:
    places = Places(1, woken.append)
    places.line_up([task(1, reason="ConcurrencyLimit"), task(2, reason="Running")])
    assert places.taken(task(3)) == 1


def test_what_was_under_way_when_the_work_was_lost_holds_no_place_when_it_is_taken_up_again(woken: Woken) -> None:
    places = Places(2, woken.append)
    places.pod_changed(None, pod(9))
    places.settle(task(1), CREATE)
    places.settle(task(2), WAIT)
    places.line_up([])
    assert places.taken(task(3)) == 1, "the Pod alone"


def test_without_a_limit_nothing_is_kept(woken: Woken) -> None:
    places = Places(None, woken.append)
    places.pod_changed(None, pod(1))
    places.line_up([task(1, reason="ConcurrencyLimit")])
    places.settle(task(1), CREATE)
    assert (places.taken(task(2)), woken.take()) == (0, [])


class AnyOrder(RuleBasedStateMachine):
    """Tasks are looked at, Pods come and go, in any order: never too many live, and nobody is forgotten."""

    numbers = st.integers(1, 8)

    @initialize(limit=st.integers(1, 3))
    def begin(self, limit: int) -> None:
        self.limit = limit
        self.queue: set[str] = set()
        self.places = Places(limit, self.queue.add)
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
            self.places.settle(task(number), NOTHING)
        elif self.places.taken(task(number)) >= self.limit:
            self.places.settle(task(number), WAIT)
        else:
            self.places.settle(task(number), CREATE)
            if works:
                self.live.add(number)
                self.places.pod_changed(None, pod(number))
            self.queue.add(key(number))  # after a create, or its failure, the task is looked at again

    @rule(number=numbers, vanishes=st.booleans())
    def end(self, number: int, vanishes: bool) -> None:
        if number in self.live:
            self.live.remove(number)
            self.done.add(number)
            self.queue.add(key(number))
            self.places.pod_changed(pod(number), None if vanishes else pod(number, "Succeeded"))

    @invariant()
    def never_too_many(self) -> None:
        assert len(getattr(self, "live", ())) <= getattr(self, "limit", 0)

    def teardown(self) -> None:
        """Whatever was left: once everything woken is looked at, and Pods end, every task has had its Pod."""
        for _ in range(200):
            if self.queue:
                self.reconcile(int(min(self.queue).rpartition("u")[2]), works=True)
            elif self.live:
                self.end(min(self.live), vanishes=False)
        assert getattr(self, "done", set()) == getattr(self, "seen", set())
        assert not self.queue


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_pod_of_another_namespace_does_not_take_the_place_of_a_create(woken: Woken) -> None:
    """It has the task's uid as label and owner, so only the namespace tells it from the Pod that was created."""
    places = Places(1, woken.append)
    places.settle(task(1), CREATE)
    forged = owned(1, "Running")
    forged = msgspec.structs.replace(forged, metadata=msgspec.structs.replace(forged.metadata, namespace="attacker"))
    places.pod_changed(None, forged)
    places.pod_changed(forged, None)
    assert places.taken(task(2)) == 1, "the create is still under way"
    assert woken.take() == []


def test_the_message_of_a_turn_is_its_order() -> None:
    """Of the same second, the name decides, so that the order is the same after a restart."""
    same = [msgspec.structs.replace(task(0).metadata, name=name, uid=name) for name in ("b", "a")]
    places = Places(1, lambda _: None)
    first, second = (msgspec.structs.replace(task(0), metadata=meta) for meta in same)
    places.settle(first, WAIT)
    assert places.taken(second) == 0
    places.settle(second, WAIT)
    assert places.taken(first) == 1
