"""How many decisions a task gets: one after its actions, and none for the watch events of our own writes."""

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
    """A cache that queues the task at every write, as the informer does, and a list of plans."""

    def __init__(self, *plans: Plan) -> None:
        self.plans = list(plans)
        self.judged = 0
        self.found: Task | None = TASK
        self.queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop())

    def task(self, key: str) -> Task | None:
        return self.found

    def is_in_other_namespace(self, key: str) -> bool:
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
    """Counts the outcomes of reconciles."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.count_of_too_many = 0

    def reconciled(self, outcome: str, seconds: float) -> None:
        self.outcomes.append(outcome)

    def too_many_iterations(self) -> None:
        self.count_of_too_many += 1

    def pod_created(self, uid: str) -> None: ...

    def status_written(self, task: Task, status: TaskStatus) -> None: ...


def reconciler_of(world: World, **given: Any) -> reconciler.Reconciler:
    """Make a reconciler; `given` replaces its default arguments."""
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
    made = reconciler_of(world, metrics=observer)
    world.queue.add(TASK.key)
    working = asyncio.create_task(made.work())
    while len(world.queue) or world.queue.processing or not world.judged:  # noqa: ASYNC110 - turns of the loop
        await asyncio.sleep(0)
    world.queue.shut_down()
    await working


WRITE = plan.RemoveFinalizer(name="p", uid="x")


async def test_one_decision_follows_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Plan(actions=(WRITE,)))
    await run(world, monkeypatch)
    assert world.judged == 2


async def test_one_decision_follows_each_of_several_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Plan(actions=(WRITE,)), Plan(actions=(WRITE, WRITE)))
    await run(world, monkeypatch)
    assert world.judged == 3


async def test_a_change_after_the_last_decision_causes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan with a DELETE ends the reconcile, so the changes by its other actions need another one."""
    world = World(Plan(actions=(WRITE, plan.DeletePod(name="p", uid="x"))))
    await run(world, monkeypatch)
    assert world.judged == 2


async def test_too_many_iterations_are_counted_and_logged_from_the_third_time_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop cannot be found by its requests alone."""
    passes = Passes()
    world = World(*(Plan(actions=(WRITE,)) for _ in range(4 * 8)))
    await run(world, monkeypatch, passes)
    assert (passes.outcomes, passes.count_of_too_many) == (["retry"] * 4 + ["done"], 4)
    said = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [(r.task, r.planned, r.passes) for r in said] == [("n/t", "RemoveFinalizer", n) for n in (3, 4)]  # type: ignore[attr-defined]


async def test_a_deleted_task_keeps_its_slot_while_its_create_has_an_unknown_outcome() -> None:
    world = World()
    world.found = None
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    task_facts, slots = TaskFacts(), PodSlots(1, world.queue.add)
    made = reconciler_of(world, task_facts=task_facts, slots=slots, now=lambda: now[0])
    slots.update(TASK, Plan(actions=(plan.CreatePod(attempt=1, name="p"),)))
    task_facts.get_or_create("u").unknown_create_deadline = now[0] + timedelta(seconds=60)
    other = Task(metadata=Metadata(name="o", namespace="n", uid="o", resource_version="1"))
    await made.reconcile(TASK.key)
    assert slots.used(other) == 1
    now[0] += timedelta(seconds=61)
    await made.reconcile(TASK.key)
    assert slots.used(other) == 0


class Orphans(World):
    """Pods whose task is not in the cache; records each request."""

    def __init__(self, *, elsewhere: bool, owner: str) -> None:
        super().__init__()
        self.elsewhere = elsewhere
        self.requests: list[tuple[str, str]] = []
        self.owner = owner

    def task(self, key: str) -> Task | None:
        return TASK if key == TASK.key else None

    def is_in_other_namespace(self, key: str) -> bool:
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
async def test_an_orphan_is_released_in_its_namespace_and_another_tasks_pod_causes_no_request(
    elsewhere: bool, owner: str, requests: list[tuple[str, str]]
) -> None:
    world = Orphans(elsewhere=elsewhere, owner=owner)
    made = reconciler_of(world)
    await made.reconcile(identity.task_key("n", UID))
    assert world.requests == requests


class AfterTakeover(World):
    """A live read shows that the last attempt's Pod still runs; the cache does not have it."""

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
async def test_a_live_pod_of_the_last_attempt_delays_the_next_one(
    pod: MadePod, handed_over: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Pod that the watch does not report is passed to the next decision, instead of being read again and again."""
    world = AfterTakeover(pod)
    monkeypatch.setattr(reconciler, "decide", world.decide)
    task_facts = TaskFacts()
    made = reconciler_of(world, task_facts=task_facts, reads_live=lambda: True)
    await made.reconcile(TASK.key)
    found = task_facts.get(UID).unlabelled_pod
    assert (world.judged, found.metadata.uid if found is not None else "") == (2, handed_over)
