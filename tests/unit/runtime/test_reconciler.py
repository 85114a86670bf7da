"""How often a task is judged: once more after what was done for it, and not again for the echo of our own writes."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from podtask.core import identity, plan
from podtask.core.plan import Plan
from podtask.core.pod import Pod
from podtask.core.settings import Settings
from podtask.core.snapshot import Task, TaskSnapshot, TaskStatus
from podtask.core.wire import Metadata
from podtask.runtime import reconciler
from podtask.runtime.pod_slots import PodSlots
from podtask.runtime.queue import WorkQueue
from podtask.runtime.task_facts import TaskFacts
from tests.builders import UID, MadePod, make_attempt, make_pod, make_task, pod_name

TASK = Task(metadata=Metadata(name="t", namespace="n", uid="u", resource_version="1"))


class World:
    """A cache that asks for the task at every write, as the informer does, and plans that are handed out in order."""

    def __init__(self, *plans: Plan) -> None:
        self.plans = list(plans)
        self.judged = 0
        self.found: Task | None = TASK
        self.queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop())

    def task(self, key: str) -> Task | None:
        return self.found

    def is_elsewhere(self, key: str) -> bool:
        return False

    def pods_of(self, key: str) -> tuple[Pod, ...]:
        return ()

    def record(self, task: Task, note: plan.Event) -> None:
        return

    async def apply(self, snapshot: TaskSnapshot, action: plan.Action) -> None:
        self.queue.add(TASK.key)

    def decide(self, *_: object) -> Plan:
        self.judged += 1
        return self.plans.pop(0) if self.plans else Plan()


class Passes:
    """Counts what the reconciler says about its passes."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.unsettled_count = 0

    def reconciled(self, outcome: str, seconds: float) -> None:
        self.outcomes.append(outcome)

    def unsettled(self) -> None:
        self.unsettled_count += 1

    def pod_created(self, uid: str) -> None: ...

    def status_written(self, task: Task, status: TaskStatus) -> None: ...


def reconciler_of(world: World, **given: Any) -> reconciler.Reconciler:
    """Make the reconciler of this world; `given` replaces what it is usually made with."""
    usual: dict[str, Any] = {
        "task_facts": TaskFacts(),
        "slots": PodSlots(None, world.queue.add),
        "now": lambda: datetime(2026, 1, 1, tzinfo=UTC),
        "reads_live": lambda: False,
    }
    made = {"cache": world, "applier": world, "queue": world.queue, "recorder": world, "settings": Settings()}
    return reconciler.Reconciler(**(made | usual | given))


async def run(world: World, monkeypatch: pytest.MonkeyPatch, observer: Passes | None = None) -> None:
    monkeypatch.setattr(reconciler, "decide", world.decide)
    made = reconciler_of(world, observer=observer)
    world.queue.add(TASK.key)
    working = asyncio.create_task(made.work())
    while len(world.queue) or world.queue.processing or not world.judged:  # noqa: ASYNC110 - turns of the loop
        await asyncio.sleep(0)
    world.queue.close()
    await working


WRITE = plan.RemoveFinalizer(name="p", uid="x")


async def test_a_write_of_our_own_is_followed_by_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Plan(actions=(WRITE,)))
    await run(world, monkeypatch)
    assert world.judged == 2


async def test_each_write_of_several_has_one_look_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Plan(actions=(WRITE,)), Plan(actions=(WRITE, WRITE)))
    await run(world, monkeypatch)
    assert world.judged == 3


async def test_what_changes_behind_the_last_look_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that deletes ends the pass without another look, so what its other actions changed is still to be seen."""
    world = World(Plan(actions=(WRITE, plan.DeletePod(name="p", uid="x"))))
    await run(world, monkeypatch)
    assert world.judged == 2


async def test_a_task_that_does_not_come_to_rest_is_counted_and_from_the_third_time_on_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A state without an exit is not to be found by its requests alone."""
    passes = Passes()
    world = World(*(Plan(actions=(WRITE,)) for _ in range(4 * 8)))
    await run(world, monkeypatch, passes)
    assert (passes.outcomes, passes.unsettled_count) == (["retry"] * 4 + ["done"], 4)
    said = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [(r.task, r.planned, r.passes) for r in said] == [("n/t", "RemoveFinalizer", n) for n in (3, 4)]  # type: ignore[attr-defined]


async def test_a_task_that_is_gone_keeps_its_place_while_its_create_is_in_doubt() -> None:
    world = World()
    world.found = None
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    task_facts, slots = TaskFacts(), PodSlots(1, world.queue.add)
    made = reconciler_of(world, task_facts=task_facts, slots=slots, now=lambda: now[0])
    slots.update(TASK, Plan(actions=(plan.CreatePod(attempt=1, name="p"),)))
    task_facts.get_or_create("u").in_doubt_until = now[0] + timedelta(seconds=60)
    other = Task(metadata=Metadata(name="o", namespace="n", uid="o", resource_version="1"))
    await made.reconcile(TASK.key)
    assert slots.used(other) == 1
    now[0] += timedelta(seconds=61)
    await made.reconcile(TASK.key)
    assert slots.used(other) == 0


class Orphans(World):
    """Pods whose task is not in the cache; notes each request."""

    def __init__(self, *, elsewhere: bool, owner: str) -> None:
        super().__init__()
        self.elsewhere = elsewhere
        self.requests: list[tuple[str, str]] = []
        self.owner = owner

    def task(self, key: str) -> Task | None:
        return TASK if key == TASK.key else None

    def is_elsewhere(self, key: str) -> bool:
        return self.elsewhere

    def pods_of(self, key: str) -> tuple[Pod, ...]:
        made = make_pod().build()
        owner = msgspec.structs.replace(made.metadata.owner_references[0], uid=self.owner)
        meta = msgspec.structs.replace(made.metadata, namespace="n", owner_references=(owner,))
        return (msgspec.structs.replace(made, metadata=meta),)

    async def read_task(self, namespace: str, name: str) -> Task | None:
        self.requests.append(("read", namespace))
        return None

    async def release_pod(self, namespace: str, action: plan.RemoveFinalizer) -> None:
        self.requests.append(("release", namespace))


@pytest.mark.parametrize(
    ("elsewhere", "owner", "requests"),
    [
        pytest.param(False, UID, [("read", "n"), ("release", "n")], id="orphan"),
        pytest.param(False, "gone", [("read", "n"), ("release", "n")], id="orphan with another owner"),
        pytest.param(False, TASK.metadata.uid, [], id="owned by a task that exists, its label changed"),
        pytest.param(True, UID, [], id="foreign"),
    ],
)
async def test_an_orphan_is_released_in_its_namespace_and_a_foreign_pod_costs_no_request(
    elsewhere: bool, owner: str, requests: list[tuple[str, str]]
) -> None:
    world = Orphans(elsewhere=elsewhere, owner=owner)
    made = reconciler_of(world)
    await made.reconcile(identity.task_key("n", UID))
    assert world.requests == requests


class AfterTakeover(World):
    """The last attempt's Pod still runs, as a live read shows; the cache does not have it."""

    def __init__(self, pod: MadePod) -> None:
        super().__init__(Plan(actions=(plan.CreatePod(attempt=2, name=pod_name(2)),)))
        self.found = make_task().attempts(make_attempt()).status(attempt_count=1).build()
        self.pod = pod.build()

    async def read_task(self, namespace: str, name: str) -> Task | None:
        return self.found

    async def read_pod(self, namespace: str, name: str) -> Pod | None:
        return self.pod


@pytest.mark.parametrize(
    ("pod", "handed_over"),
    [(make_pod().running(), ""), (make_pod().running().metadata(labels={}), "pod-1")],
    ids=["seen by the next decision", "without labels"],
)
async def test_a_live_pod_of_the_last_attempt_holds_the_next_one_off(
    pod: MadePod, handed_over: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that no watch brings is handed over to the next decision, instead of being read in a circle."""
    world = AfterTakeover(pod)
    monkeypatch.setattr(reconciler, "decide", world.decide)
    task_facts = TaskFacts()
    made = reconciler_of(world, task_facts=task_facts, reads_live=lambda: True)
    await made.reconcile(TASK.key)
    found = task_facts.get(UID).unlabelled_pod
    assert (world.judged, found.metadata.uid if found is not None else "") == (2, handed_over)
