"""How often a task is judged: once more after what was done for it, and not again for the echo of our own writes."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from podtask.core import plan
from podtask.core.observed import Metadata, Observed, Pod, Task
from podtask.core.plan import Plan
from podtask.runtime import reconciler
from podtask.runtime.memory import Memories
from podtask.runtime.places import Places
from podtask.runtime.queue import WorkQueue

TASK = Task(metadata=Metadata(name="t", namespace="n", uid="u", resource_version="1"))


class World:
    """A cache that asks for the task at every write, as the informer does, and plans that are handed out in order."""

    def __init__(self, *plans: Plan) -> None:
        self.plans = list(plans)
        self.judged = 0
        self.found: Task | None = TASK
        self.queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop())

    def task(self, uid: str) -> Task | None:
        return self.found

    def pods_of(self, uid: str) -> tuple[Pod, ...]:
        return ()

    def record(self, task: Task, note: plan.Note) -> None:
        return

    async def apply(self, observed: Observed, step: plan.Step) -> None:
        self.queue.add("u")

    def decide(self, *_: object) -> Plan:
        self.judged += 1
        return self.plans.pop(0) if self.plans else Plan()


async def run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "decide", world.decide)
    made = reconciler.Reconciler(
        cache=world,
        applier=world,  # type: ignore[arg-type]
        memories=Memories(),
        places=Places(None, world.queue.add),
        queue=world.queue,
        recorder=world,
        settings=plan.Settings(),
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        reads_live=lambda: False,
    )
    world.queue.add("u")
    working = asyncio.create_task(made.work())
    while len(world.queue) or world.queue.processing or not world.judged:  # noqa: ASYNC110 - turns of the loop
        await asyncio.sleep(0)
    world.queue.close()
    await working


WRITE = plan.ReleasePod(name="p", uid="x")


async def test_a_write_of_our_own_is_followed_by_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Plan(steps=(WRITE,)))
    await run(world, monkeypatch)
    assert world.judged == 2


async def test_each_write_of_several_has_one_look_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Plan(steps=(WRITE,)), Plan(steps=(WRITE, WRITE)))
    await run(world, monkeypatch)
    assert world.judged == 3


async def test_what_changes_behind_the_last_look_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that deletes ends the pass without another look, so what its other steps changed is still to be seen."""
    world = World(Plan(steps=(WRITE, plan.DeletePod(name="p", uid="x"))))
    await run(world, monkeypatch)
    assert world.judged == 2


async def test_a_task_that_is_gone_keeps_its_place_while_its_create_is_in_doubt() -> None:
    world = World()
    world.found = None
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    memories, places = Memories(), Places(1, world.queue.add)
    made = reconciler.Reconciler(
        cache=world,
        applier=world,  # type: ignore[arg-type]
        memories=memories,
        places=places,
        queue=world.queue,
        recorder=world,
        settings=plan.Settings(),
        now=lambda: now[0],
        reads_live=lambda: False,
    )
    places.settle(TASK, Plan(steps=(plan.CreatePod(attempt=1, name="p"),)))
    memories.of("u").in_doubt_until = now[0] + timedelta(seconds=60)
    other = Task(metadata=Metadata(name="o", namespace="n", uid="o", resource_version="1"))
    await made.reconcile("u")
    assert places.taken(other) == 1
    now[0] += timedelta(seconds=61)
    await made.reconcile("u")
    assert places.taken(other) == 0
