"""Our labels removed from a Pod: they are restored with few requests, and the task ends if they are always removed."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import orjson
import pytest

from podtask.api import names
from podtask.core import identity
from podtask.core.pod import Pod
from podtask.core.settings import Settings
from podtask.core.snapshot import Task, TaskStatus
from podtask.kube import errors
from podtask.kube.client import PODS, PatchType, Resource
from podtask.runtime.apply import Applier, StaleCache
from podtask.runtime.pod_slots import PodSlots
from podtask.runtime.queue import WorkQueue
from podtask.runtime.reconciler import Reconciler
from podtask.runtime.task_facts import TaskFacts
from tests.builders import UID, MadePod, MadeTask, at, make_attempt, make_live_attempt, make_pod, make_task, pod_name

LIVE = make_pod().running()
REFUSED = errors.Forbidden("a webhook says no", code=403, reason="Forbidden")


class Timers:
    """A queue without delays: the test starts every reconcile itself."""

    def time(self) -> float:
        return 0.0

    def call_at(self, when: float, callback: Any, *args: Any) -> Any: ...


class World:
    """A fake API server with one task and one Pod, the cache of its watch, and the controller's clock."""

    def __init__(self, task: MadeTask, pod: MadePod) -> None:
        self.stored_task = task.build()
        self.stored: Pod | None = msgspec.structs.replace(
            pod.build(), metadata=msgspec.structs.replace(pod.build().metadata, labels={}, resource_version="5")
        )
        self.now = at(20)
        self.asked: list[str] = []
        self.strips = False
        self.refusal: errors.ApiError | None = None
        self.cached: Pod | None = None
        self.ahead: Task | None = None
        self.task_facts = TaskFacts()
        applier = Applier(self, self, self.task_facts, Settings(), now=lambda: self.now)  # type: ignore[arg-type]
        self.reconciler = Reconciler(
            cache=self, applier=applier, task_facts=self.task_facts, slots=PodSlots(None, lambda _: None),
            queue=WorkQueue(Timers()), recorder=self, settings=Settings(), now=lambda: self.now,
            reads_live=lambda: False,
        )  # fmt: skip

    async def look(self) -> None:
        await self.reconciler.reconcile(self.stored_task.key)

    async def pass_time(self, seconds: int) -> None:
        """Reconcile once a second, as if the task were queued all the time."""
        for _ in range(seconds):
            self.now += timedelta(seconds=1)
            await self.look()

    @property
    def status(self) -> TaskStatus:
        return self.stored_task.status

    # ---- cache, objects, recorder ----

    def task(self, key: str) -> Task | None:
        return self.stored_task

    def is_in_other_namespace(self, key: str) -> bool:
        return False

    def pods_of(self, key: str) -> tuple[Pod, ...]:
        return () if self.cached is None else (self.cached,)

    def put_task(self, task: Task) -> None:
        version = task.metadata.resource_version
        meta = msgspec.structs.replace(self.stored_task.metadata, resource_version=version)
        self.stored_task = msgspec.structs.replace(self.stored_task, status=task.status, metadata=meta)

    def put_pod(self, pod: Pod) -> None:
        assert names.LABEL_TASK_UID in pod.metadata.labels, (
            "the watch does not report it, so the cache would stay as it is"
        )
        self.cached = pod

    def record(self, *_: object) -> None: ...

    # ---- the API ----

    async def create(self, resource: Resource, *_: object) -> bytes:
        self.asked.append("POST")
        raise errors.Conflict("there", code=409, reason="AlreadyExists")

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        if resource == PODS:
            self.asked.append("GET")
            return self._reply()
        self.asked.append("GET task")
        return orjson.dumps(
            {
                "metadata": msgspec.to_builtins(self.live_task.metadata),
                "spec": orjson.loads(self.live_task.raw_spec),
                "status": msgspec.to_builtins(self.live_task.status),
            }
        )

    @property
    def live_task(self) -> Task:
        """The task on the server: as in the cache, or newer."""
        return self.stored_task if self.ahead is None else self.ahead

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: bytes, kind: PatchType, subresource: str = ""
    ) -> bytes:
        changes = orjson.loads(body)
        if resource != PODS:
            self.asked.append(f"status {changes['status'].get('reason', '')}")
            whole = msgspec.structs.replace(self.stored_task, status=_merged(self.status, changes["status"]))
            return orjson.dumps(
                {"metadata": msgspec.to_builtins(whole.metadata), "status": msgspec.to_builtins(whole.status)}
            )
        if kind is PatchType.STRATEGIC:
            self.asked.append("release")
            return self._reply()
        self.asked.append("PATCH")
        if self.refusal is not None:
            raise self.refusal
        self._reply()
        assert self.stored is not None
        if not self.strips and "labels" in changes["metadata"]:
            meta = msgspec.structs.replace(self.stored.metadata, labels=changes["metadata"]["labels"])
            self.stored = msgspec.structs.replace(self.stored, metadata=meta)
        return self._reply()

    async def delete(self, *_: object, uid: str, grace_seconds: int | None) -> None:
        self.asked.append("DELETE")
        assert self.stored is not None
        assert uid == self.stored.metadata.uid

    def _reply(self) -> bytes:
        if self.stored is None:
            raise errors.NotFound("gone", code=404, reason="NotFound")
        return msgspec.json.encode(self.stored)


def _merged(status: TaskStatus, changes: dict[str, Any]) -> TaskStatus:
    merged = {**msgspec.to_builtins(status), **changes}
    return msgspec.convert({key: value for key, value in merged.items() if value is not None}, TaskStatus)


def started(**spec: Any) -> MadeTask:
    return make_task(**spec).status(
        phase="Running", reason="Running", observed_generation=1, attempts=(make_live_attempt(),)
    )


async def test_labels_are_restored_before_the_first_status() -> None:
    world = World(make_task(), LIVE)
    await world.look()
    assert world.asked == ["POST", "GET", "GET task", "PATCH", "status Running"]
    assert world.cached is not None
    assert world.cached.metadata.labels == identity.pod_labels("etl", UID, 1)
    await world.pass_time(30)
    assert len(world.asked) == 5


async def test_labels_are_restored_after_the_first_status() -> None:
    world = World(started(), LIVE)
    await world.look()
    assert world.asked == ["GET", "GET task", "PATCH"]
    await world.pass_time(30)
    assert len(world.asked) == 3
    assert world.task_facts.get(UID).unlabelled_pod is None


async def test_a_stale_leader_does_not_label_a_pod_with_an_earlier_attempt() -> None:
    """With a fixed Pod name every attempt's Pod has the same name, so only the newest status has its number."""
    exact = {"template": {"metadata": {"name": pod_name()}, "spec": {"containers": [{"name": "base", "image": "i"}]}}}
    world = World(make_task(**exact), make_pod(2, name=pod_name()).running())
    ended = make_task(**exact).metadata(resource_version="9").attempts(make_attempt()).status(attempt_count=1).build()
    world.ahead = ended
    await world.look()
    assert world.asked.count("PATCH") == 1
    assert world.stored is not None
    assert world.stored.metadata.labels == identity.pod_labels("etl", UID, 2)


@pytest.fixture(params=["stripped at once", "refused"])
def hostile(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A webhook that removes the labels, or refuses the PATCH."""

    def make(task: MadeTask) -> World:
        world = World(task, LIVE)
        world.strips, world.refusal = (
            request.param == "stripped at once",
            REFUSED if request.param == "refused" else None,
        )
        return world

    return make


@pytest.mark.parametrize("task", [make_task(), started()], ids=["before the first status", "after it"])
async def test_a_task_whose_labels_are_always_removed_ends_with_few_requests(hostile: Any, task: MadeTask) -> None:
    world = hostile(task)
    await world.look()
    await world.pass_time(61)
    assert not world.status.phase_is_terminal
    assert world.asked.count("PATCH") == 5, "after 0, 2, 6, 14 and 30 seconds"
    assert (world.asked.count("GET"), world.asked.count("GET task")) == (1, 5)
    await world.pass_time(1)
    assert (world.status.phase, world.status.reason) == ("Failed", "NameConflict")
    assert world.status.attempts[-1].outcome == "Stopped"
    assert world.asked[-4:] == ["PATCH", "DELETE", "status NameConflict", "release"]


@pytest.mark.parametrize(
    ("spec", "phase", "reason"),
    [
        ({"cancel": True}, "Cancelled", "Cancelled"),
        ({"cancel_time": "2026-01-01T00:00:10Z"}, "Cancelled", "CancelTimeReached"),
        ({"deadlines": {"totalSeconds": 10}}, "Failed", "TotalDeadlineExceeded"),
    ],
)
@pytest.mark.parametrize("begun", [False, True], ids=["before the first status", "after it"])
async def test_cancel_and_deadlines_do_not_wait_for_labels(
    spec: dict[str, Any], phase: str, reason: str, begun: bool
) -> None:
    task = started() if begun else make_task()
    world = World(task, LIVE)
    world.strips = True
    await world.look()
    wanted = make_task(**spec).build().spec
    world.stored_task = msgspec.structs.replace(world.stored_task, spec=wanted)
    await world.look()
    assert (world.status.phase, world.status.reason) == (phase, reason)
    assert world.asked[-3:] == ["DELETE", f"status {reason}", "release"]


async def test_an_unreachable_server_does_not_count_as_removed_labels() -> None:
    """An outage must not end the task."""
    world = World(started(), LIVE)
    world.refusal = errors.ServerError("etcd is away", code=500)
    for _ in range(20):
        with pytest.raises(errors.ServerError):
            await world.look()
    assert world.task_facts.get(UID).relabelled is None
    world.refusal = None
    await world.look()
    assert world.cached is not None


async def test_a_pod_that_is_deleted_meanwhile_is_verified_again() -> None:
    world = World(started(backoff_limit=1), LIVE)
    world.strips = True
    await world.look()
    assert world.task_facts.get(UID).unlabelled_pod is not None
    world.stored = None
    world.now += timedelta(seconds=2)
    with pytest.raises(StaleCache):
        await world.look()
    await world.look()
    assert world.asked[-2:] == ["GET", "status Backoff"]
    assert world.status.attempts[-1].reason == "PodDeleted"


async def test_the_count_restarts_for_labels_removed_much_later() -> None:
    world = World(started(), LIVE)
    for count in (1, 2, 1):
        await world.look()
        relabelled = world.task_facts.get(UID).relabelled
        assert relabelled is not None
        assert relabelled.count == count
        assert world.stored is not None
        meta = msgspec.structs.replace(world.stored.metadata, labels={})
        world.stored, world.cached = msgspec.structs.replace(world.stored, metadata=meta), None
        world.now += timedelta(seconds=5 if count == 1 else 600)
