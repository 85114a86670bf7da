"""The facts that the replies to requests leave about a task."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
import orjson
import pytest

from podtask.core import plan
from podtask.core.settings import Settings
from podtask.core.snapshot import TaskStatus
from podtask.kube import errors
from podtask.kube.client import POD_EVENTS, PODS, Page, Resource
from podtask.kube.clock import SYSTEM, Clock
from podtask.runtime.apply import Applier, Requeue, StaleCache
from podtask.runtime.task_facts import Facts, TaskFacts
from tests.builders import UID, MadePod, at, make_pod, make_task, pod_name

V = TypeVar("V")

EVENT = {"reason": "FailedMount", "message": "no", "lastTimestamp": "2026-01-01T00:00:09Z", "count": 3}
READ = plan.ReadPodEvents(name=pod_name(), uid="pod-1")
WRITTEN = {"metadata": {"name": "etl", "namespace": "default", "uid": UID, "resourceVersion": "2"}}
CREATE = plan.CreatePod(attempt=1, name=pod_name())


class _Objects:
    def put_task(self, task: Any) -> None: ...

    def put_pod(self, pod: Any) -> None: ...


class _Api:
    """Replies to every request with the same; Pods do not exist."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[Any, ...]] = []
        self.meanwhile = _nothing

    async def list_page(self, resource: Resource, *, read: Callable[[bytes], V], **query: Any) -> Page[V]:
        self.asked.append((resource, query))
        await self.meanwhile()
        page = self._give()
        return Page(list(map(read, page.items)), page.resource_version, page.continue_token)

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        return self._give()

    async def patch(self, *_: object, subresource: str) -> bytes:
        assert subresource == "status"
        return self._give()

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        assert resource == PODS
        if isinstance(self.answer, bytes):
            return self.answer
        raise errors.NotFound("gone", reason="NotFound")

    def _give(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def _nothing() -> None: ...


class _Clock:
    """A clock that the test moves."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None: ...


def applier(api: _Api, task_facts: TaskFacts, time_source: Clock = SYSTEM) -> Applier:
    return Applier(
        api,  # type: ignore[arg-type]
        _Objects(),
        task_facts,
        Settings(),
        now=lambda: at(30),
        time_source=time_source,
        jitter=lambda: 0.5,
    )


async def test_the_events_of_one_pod_are_read() -> None:
    api, task_facts = _Api(Page([orjson.dumps(EVENT)], "1", "")), TaskFacts()
    await applier(api, task_facts).apply(make_task().observe(), READ)
    read = task_facts.get_or_create(UID).pod_events
    assert read is not None
    assert (read.pod_uid, read.again_at, read.events[0].message) == ("pod-1", at(90), "no")
    assert api.asked == [(POD_EVENTS, {"namespace": "default", "fields": "involvedObject.uid=pod-1", "limit": 100})]


@pytest.mark.parametrize(
    "error", [errors.Forbidden("no", code=403), errors.ServerError("later", code=500)], ids=["no right", "no answer"]
)
async def test_only_the_diagnosis_is_missing_if_events_cannot_be_read(error: errors.ApiError) -> None:
    task_facts = TaskFacts()
    await applier(_Api(error), task_facts).apply(make_task().observe(), READ)
    read = task_facts.get_or_create(UID).pod_events
    assert read is not None
    assert (read.again_at, read.events) == (at(90), ()), "remembered, so that it is not asked for again at once"


async def test_events_are_read_one_pod_at_a_time_and_with_pauses() -> None:
    """A thousand waiting Pods must not cause a thousand lists of all Events of their namespace."""
    api, task_facts, time_source = _Api(Page([orjson.dumps(EVENT)], "1", "")), TaskFacts(), _Clock()
    one = applier(api, task_facts, time_source)
    during = msgspec.structs.replace(READ, uid="pod-2")

    async def while_reading() -> None:
        await one.apply(make_task().observe(), during)
        time_source.seconds += 0.5

    api.meanwhile = while_reading
    await one.apply(make_task().observe(), READ)
    api.meanwhile = _nothing
    time_source.seconds += 4.4
    await one.apply(make_task().observe(), READ)
    turned_away = task_facts.get_or_create(UID).pod_events
    assert turned_away is not None
    assert [event.message for event in turned_away.events] == ["no"], "what was known is kept"
    assert turned_away.again_at == at(61), "half of a minute later by the draw, and a second"
    assert len(api.asked) == 1
    time_source.seconds += 0.2
    await one.apply(make_task().observe(), READ)
    assert len(api.asked) == 2, "nine times as long as the last read took"


@pytest.mark.parametrize(
    ("error", "is_unknown"),
    [
        pytest.param(errors.ReplyLost("no reply"), True, id="a reply that was lost"),
        pytest.param(errors.ServerError("timeout", code=504), True, id="a server that took too long"),
        pytest.param(errors.TransportError("refused"), False, id="a request that was never sent"),
        pytest.param(errors.TooManyRequests("later", code=429), False, id="one that was turned away"),
    ],
)
async def test_a_create_without_a_reply_has_an_unknown_outcome(error: errors.ApiError, is_unknown: bool) -> None:
    task_facts = TaskFacts()
    with pytest.raises(errors.ApiError):
        await applier(_Api(error), task_facts).apply(make_task().observe(), CREATE)
    want = at(30) + timedelta(seconds=Settings().pod_hold_seconds) if is_unknown else None
    assert task_facts.get_or_create(UID).unknown_create_deadline == want


@pytest.mark.parametrize(
    ("reason", "left"),
    [
        pytest.param(
            "Running", Facts(unknown_create_deadline=at(60)), id="running: only the create of unknown outcome"
        ),
        pytest.param(
            "Unschedulable",
            Facts(unknown_create_deadline=at(60), gone_pods=frozenset({"pod-0"}), diagnosed_at=at(30)),
            id="waiting: all facts, and the time",
        ),
    ],
)
async def test_facts_after_a_status_write(reason: str, left: Facts) -> None:
    """Tens of thousands of tasks may run for days; facts from before are no longer used."""
    task_facts = TaskFacts()
    task_facts.get_or_create(UID).gone_pods = frozenset({"pod-0"})
    task_facts.get_or_create(UID).unknown_create_deadline = at(60)
    task = make_task()
    phase = "Running" if reason == "Running" else "Pending"
    action = plan.WriteStatus(status=TaskStatus(phase=phase, reason=reason))
    await applier(_Api(orjson.dumps(WRITTEN)), task_facts).apply(task.observe(), action)
    assert task_facts.get_or_create(UID) == left


async def test_facts_about_a_running_task_are_dropped() -> None:
    """Without a create of unknown outcome the entry is removed."""
    task_facts = TaskFacts()
    task_facts.get_or_create(UID).diagnosed_at = at(3)
    action = plan.WriteStatus(status=TaskStatus(phase="Running", reason="Running"))
    await applier(_Api(orjson.dumps(WRITTEN)), task_facts).apply(make_task().observe(), action)
    assert task_facts._by_uid == {}


class _Overtaken:
    """A conflict, and the current Pod."""

    def __init__(self, pod: MadePod) -> None:
        self.pod = pod.build()

    async def patch(self, *_: object, **__: object) -> bytes:
        raise errors.Conflict("the object has been modified", code=409, reason="Conflict")

    async def get(self, *_: object) -> bytes:
        return msgspec.json.encode(self.pod)


@pytest.mark.parametrize(
    ("pod", "problem"),
    [(make_pod(), Requeue), (make_pod().metadata(labels={}), StaleCache)],
    ids=["newer", "without our label"],
)
async def test_a_patch_conflict_raises_requeue_or_stale_cache(pod: MadePod, problem: type[Exception]) -> None:
    """The cache keeps the old version of a Pod without the label until the watch reports it as deleted."""
    api: Any = _Overtaken(pod)
    action = plan.StopPod(name=pod_name(), uid="pod-1", reason="Cancelled")
    with pytest.raises(problem):
        await applier(api, TaskFacts()).apply(make_task().observe(make_pod()), action)
