"""A thousand subscribers are one watch, and each hears its end: through expiries, cuts, outages and refusals."""

import asyncio
import contextvars
import json
import logging
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import wire
from podtask_airflow.hooks import api_errors, cluster_config
from podtask_airflow.hooks import podtask as hook
from podtask_airflow.utils import informer

ACCESS = cluster_config.ClusterRef(conn_id="c")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "MAX_DELAY", 0.01)
    monkeypatch.setattr(informer, "MAX_DELAY", 0.05)
    monkeypatch.setattr(informer, "LINGER_SECONDS", 0.05)
    monkeypatch.setattr(informer, "CONFIRM_SECONDS", 0.05)
    monkeypatch.setattr(informer, "REQUEST_SECONDS", 0.1)


class Server:
    """PodTasks as tables, and watches that pass on what happens."""

    def __init__(self) -> None:
        self.version = 1
        self.tasks: dict[str, dict[str, Any]] = {}
        self.log: list[tuple[int, str, dict[str, Any]]] = []
        self.oldest = 0
        self.refusal: tuple[int, bytes] | None = None
        self.watching = 0
        self.hidden: set[str] = set()
        self.changed = threading.Condition()
        self.cutting = 0

    def put(self, name: str, phase: str = "Pending", kind: str = "MODIFIED", **status: Any) -> str:
        with self.changed:
            self.version += 1
            made = wire.task(
                name,
                metadata={"uid": f"uid-{name}", "resourceVersion": str(self.version)},
                status={"phase": phase, **status},
            )
            self.tasks[name] = made
            if kind == "DELETED":
                del self.tasks[name]
            self.log.append((self.version, kind, made))
            self.changed.notify_all()
        return f"uid-{name}"

    @property
    def newest(self) -> int:
        return self.log[-1][0] if self.log else 0

    def cut(self, *, expire: bool = False) -> None:
        with self.changed:
            self.cutting += 1
            if expire:
                self.version += 1
                self.oldest = self.version
            self.changed.notify_all()

    def __call__(self, request: wire.Request) -> None:
        if self.refusal is not None:
            return request.reply(*self.refusal)
        if request.query.get("watch"):
            return self.watch(request)
        name = request.path.rsplit("/", 1)[1]
        if name != "podtasks":
            found = self.tasks.get(name)
            return request.json(found) if found else request.reply(404, wire.status(404, "NotFound", f'"{name}"'))
        names = sorted(set(self.tasks) - self.hidden)
        begin, size = int(request.query.get("continue") or 0), int(request.query["limit"])
        page = names[begin : begin + size]
        more = str(begin + size) if begin + size < len(names) else ""
        return request.json(table([self.tasks[n] for n in page], self.version, more))

    def watch(self, request: wire.Request) -> None:
        version = int(request.query["resourceVersion"])
        with self.changed:
            self.watching += 1
            cut, first = self.cutting, True
        try:
            request.begin()
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: self.cutting > cut or self.newest > version, 20)  # noqa: B023
                    if version < self.oldest:
                        body = {"type": "ERROR", "object": json.loads(wire.status(410, "Expired", "too old"))}
                        request.chunk(json.dumps(body).encode() + b"\n")
                        return request.chunk(b"")
                    if self.cutting > cut:
                        return request.cut()
                    events = [entry for entry in self.log if entry[0] > version]
                for version, kind, made in events:
                    body = {"type": kind, "object": table([made], version, "", columns=first)}
                    request.chunk(json.dumps(body).encode() + b"\n")
                    first = False
        finally:
            with self.changed:
                self.watching -= 1


NAMES = ["Name", "Phase", "Reason", "Attempts", "Exit", "Age", "Pod"]


def table(tasks: list[dict[str, Any]], version: int, more: str, columns: bool = True) -> dict[str, Any]:
    rows = []
    for made in tasks:
        status = made["status"]
        attempts = status.get("attempts") or []
        pod = attempts[-1]["podName"] if attempts else None
        cells = [made["metadata"]["name"], status["phase"], status.get("reason"), None, None, "1s", pod]
        rows.append({"cells": cells, "object": {"metadata": made["metadata"]}})
    return {
        "kind": "Table",
        "metadata": {"resourceVersion": str(version), "continue": more},
        "columnDefinitions": [{"name": name} for name in NAMES] if columns else None,
        "rows": rows,
    }


class World:
    def __init__(self, server: Server, api: wire.FakeApi, kubeconfig: Path) -> None:
        self.server = server
        self.api = api
        self.resolved = 0
        self._kubeconfig = kubeconfig

    async def resolve(self, of: cluster_config.ClusterRef) -> cluster_config.ClusterConfig:
        self.resolved += 1
        await asyncio.sleep(0)
        plain = cluster_config.ClusterRef(conn_id=None, config_file=str(self._kubeconfig))
        return cluster_config.resolve(plain, wire.no_connection)

    def wait(self, name: str, **more: Any) -> "asyncio.Task[informer.Snapshot]":
        return asyncio.ensure_future(
            informer.wait(ACCESS, "ns", "k=v", name, f"uid-{name}", resolve=self.resolve, **more)
        )

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(wire.HANG_SECONDS):
            while not condition():  # noqa: ASYNC110 (no event tells)
                await asyncio.sleep(0.01)

    def count(self, **query: str) -> int:
        return sum(all(r.query.get(k) == v for k, v in query.items()) for r in self.api.requests)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    server = Server()
    with wire.FakeApi(server) as api:
        yield World(server, api, wire.kubeconfig_of(api.url, tmp_path / "k"))
        try:
            async with asyncio.timeout(wire.HANG_SECONDS):
                while informer._informers or any(t.name.startswith("podtask-informer") for t in threading.enumerate()):  # noqa: ASYNC110 (no event tells)
                    await asyncio.sleep(0.01)
        finally:
            for left in list(informer._informers.values()):
                left._end()
            server.cut()


async def test_a_thousand_waiters_are_one_watch(world: World) -> None:
    names = [f"t-{number}" for number in range(1000)]
    for name in names:
        world.server.put(name)
    subscribers = [world.wait(name) for name in names]
    await world.until(lambda: world.server.watching == 1)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("podtask")]
    for name in names:
        world.server.put(name, "Succeeded", attempts=[{"podName": f"{name}-pod"}])
    found = await asyncio.gather(*subscribers)
    assert [seen.pod_name for seen in found] == [f"{name}-pod" for name in names]
    assert world.resolved == 1
    assert world.count(watch="true") == 1
    assert world.count(limit="500") == 2
    assert len(world.api.requests) == 3
    assert len(threads) == 1
    assert threads[0].daemon
    await world.until(lambda: not informer._informers)
    world.server.cut()
    await world.until(lambda: world.server.watching == 0)


async def test_the_ends_that_there_are(world: World) -> None:
    for phase in ("Succeeded", "Failed", "Cancelled", "Skipped"):
        world.server.put(phase.lower(), phase, reason="R")
        assert await world.wait(phase.lower()) == informer.Snapshot(phase, None, str(world.server.version), "R")
    uid = world.server.put("running", "Running")
    subscriber = world.wait("running")
    await asyncio.sleep(0.1)
    assert not subscriber.done()
    world.server.put("running", "Running", "DELETED")
    assert (await subscriber).phase == "Deleted"
    assert (await world.wait("running")).phase == "Deleted"
    assert uid == "uid-running"


async def test_another_object_of_that_name_is_not_it(world: World) -> None:
    world.server.put("a", "Running")
    async with asyncio.timeout(wire.HANG_SECONDS):
        assert (await informer.wait(ACCESS, "ns", "k=v", "a", "older", resolve=world.resolve)).phase == "Deleted"


async def test_an_end_in_the_gap_of_an_expiry_is_not_missed(world: World) -> None:
    for name in "abcd":
        world.server.put(name)
    subscribers = [world.wait(name) for name in "abc"]
    await world.until(lambda: world.server.watching == 1)
    with world.server.changed:
        # No event is sent for these changes.
        world.server.tasks["a"]["status"] = {"phase": "Succeeded"}
        del world.server.tasks["b"]
    world.server.cut(expire=True)
    assert [seen.phase for seen in await asyncio.gather(*subscribers[:2])] == ["Succeeded", "Deleted"]
    await world.until(lambda: world.server.watching == 1)
    world.server.put("c", "Failed")
    assert (await subscribers[2]).phase == "Failed"
    assert world.count(limit="500") == 2


async def test_a_cut_is_resumed_without_a_list(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer, "MIN_WATCH_SECONDS", 0.0)
    world.server.put("a")
    subscriber = world.wait("a")
    await world.until(lambda: world.server.watching == 1)
    world.server.cut()
    await world.until(lambda: world.count(watch="true") == 2)
    world.server.put("a", "Succeeded")
    assert (await subscriber).phase == "Succeeded"
    assert world.count(limit="500") == 1


async def test_an_outage_is_waited_out(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.server.put("a")
    subscriber = world.wait("a")
    await world.until(lambda: world.server.watching == 1)
    world.server.refusal = (503, b"")
    world.server.cut()
    await world.until(lambda: "check that it is up" in caplog.text)
    world.server.put("a", "Succeeded")
    world.server.refusal = None
    assert (await subscriber).phase == "Succeeded"
    assert "replies again" in caplog.text


async def test_an_outage_beyond_the_tolerance_is_told(world: World) -> None:
    world.server.put("a")
    patient, hasty = world.wait("a"), world.wait("a", tolerance=0.3)
    await world.until(lambda: world.server.watching == 1)
    world.server.refusal = (503, b"")
    world.server.cut()
    with pytest.raises(api_errors.Unreachable):
        await hasty
    assert not patient.done()
    world.server.refusal = None
    world.server.put("a", "Succeeded")
    assert (await patient).phase == "Succeeded"


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (403, wire.status(403, "Forbidden", 'User "u" cannot list resource "podtasks"'), api_errors.Forbidden),
        (404, b"404 page not found\n", api_errors.CrdMissing),
        (401, wire.status(401, "Unauthorized", "Unauthorized"), api_errors.Unauthorized),
    ],
)
async def test_a_refusal_at_first_contact_is_told_at_once(world: World, code: int, body: bytes, kind: type) -> None:
    world.server.refusal = (code, body)
    with pytest.raises(kind):
        await world.wait("a")


async def test_a_defect_in_its_thread_is_told_and_ends_no_thread(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, is_broken = hook.PodTaskClient.tables, threading.Event()
    is_broken.set()

    def tables(self: hook.PodTaskClient, *args: Any) -> Any:
        if is_broken.is_set():
            raise RuntimeError("an unexpected error")
        return real(self, *args)

    monkeypatch.setattr(hook.PodTaskClient, "tables", tables)
    uid = world.server.put("a", "Running")
    assert uid
    with pytest.raises(api_errors.Unexpected, match="an unexpected error"):
        await world.wait("a")
    is_broken.clear()
    assert "Traceback" in caplog.text
    world.server.put("a", "Succeeded")
    assert (await world.wait("a")).phase == "Succeeded"


async def test_a_refusal_later_is_borne(world: World) -> None:
    world.server.put("a")
    subscriber = world.wait("a")
    await world.until(lambda: world.server.watching == 1)
    world.server.refusal = (403, wire.status(403, "Forbidden", "cannot"))
    world.server.cut()
    await asyncio.sleep(0.3)
    assert not subscriber.done()
    world.server.refusal = None
    world.server.put("a", "Succeeded")
    assert (await subscriber).phase == "Succeeded"


async def test_a_connection_that_cannot_be_read_is_told_to_all_and_not_kept(world: World) -> None:
    calls = 0

    async def broken(of: cluster_config.ClusterRef) -> cluster_config.ClusterConfig:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.05)
        raise api_errors.ClusterConfigError("There is no Airflow connection 'c'")

    async def one() -> None:
        await informer.wait(ACCESS, "ns", "k=v", "a", "uid-a", resolve=broken)

    found = await asyncio.gather(one(), one(), one(), return_exceptions=True)
    assert [str(error) for error in found] == ["There is no Airflow connection 'c'"] * 3
    assert calls == 1
    world.server.put("a", "Succeeded")
    assert (await world.wait("a")).phase == "Succeeded"


async def test_one_that_goes_does_not_take_the_others_along(world: World) -> None:
    world.server.put("a")
    first, second = world.wait("a"), world.wait("a")
    await asyncio.sleep(0)
    first.cancel()
    world.server.put("a", "Succeeded")
    assert (await second).phase == "Succeeded"
    assert first.cancelled()


async def test_a_task_whose_labels_were_taken_away_is_heard_all_the_same(world: World) -> None:
    world.server.put("a", "Running")
    world.server.hidden.add("a")
    subscriber = world.wait("a")
    await asyncio.sleep(0.2)
    assert not subscriber.done()
    world.server.tasks["a"]["status"] = {"phase": "Succeeded"}
    assert (await subscriber).phase == "Succeeded"


async def test_a_task_that_no_controller_touches(world: World) -> None:
    world.server.put("a")
    began = time.monotonic()
    assert (await world.wait("a", not_reconciled_seconds=0.2)).phase == "NotReconciled"
    assert time.monotonic() - began >= 0.2


async def test_an_end_is_a_touch_also_when_the_watch_is_late(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer.SharedInformer, "on_listed", lambda self: None)
    world.server.put("a", "Succeeded")
    subscriber = world.wait("a", not_reconciled_seconds=0.05)
    await world.until(lambda: any(request.path.endswith("/a") for request in world.api.requests))
    await asyncio.sleep(0.1)
    assert not subscriber.done()
    subscriber.cancel()


@pytest.mark.parametrize("status", [{"observedGeneration": 1}, {"reason": "R"}, {"attempts": [{"podName": "p"}]}])
async def test_a_touched_one_is_waited_for(world: World, status: dict[str, Any]) -> None:
    world.server.put("a", "Pending", **status)
    subscriber = world.wait("a", not_reconciled_seconds=0.05)
    await asyncio.sleep(0.3)
    assert not subscriber.done()
    world.server.put("a", "Succeeded")
    assert (await subscriber).phase == "Succeeded"


async def test_a_table_without_the_phase_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "NAMES", ["Name", "Age"])
    world.server.put("a")
    with pytest.raises(api_errors.ApiError, match="no column Phase"):
        await world.wait("a")


async def test_its_threads_carry_nobodys_context(world: World, caplog: pytest.LogCaptureFixture) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(variable.get())

    handler = Handler()
    informer.log.addHandler(handler)
    try:
        variable.set("trigger 7")
        world.server.put("a")
        subscriber = world.wait("a")
        await world.until(lambda: world.server.watching == 1)
        world.server.refusal = (503, b"")
        world.server.cut()
        await world.until(lambda: seen)
        world.server.refusal = None
        world.server.put("a", "Succeeded")
        await subscriber
    finally:
        informer.log.removeHandler(handler)
    assert set(seen) == {"nothing"}


async def test_it_stays_for_the_next_one_a_moment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer, "LINGER_SECONDS", 0.5)
    for name in "abc":
        world.server.put(name, "Succeeded")
        await world.wait(name)
    assert world.count(limit="500") == 1
    assert world.resolved == 1


async def test_the_pauses_grow(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer, "MAX_DELAY", 10.0)
    world.server.put("a")
    subscriber = world.wait("a")
    await world.until(lambda: world.server.watching == 1)
    (shared,) = informer._informers.values()
    assert shared._reflector is not None
    shared._reflector._stop = pauses = wire.Pauses(6)
    world.server.refusal = (403, wire.status(403, "Forbidden", "cannot"))
    world.server.cut()
    await world.until(lambda: len(pauses.asked) == 6)
    for asked, longest in zip(pauses.asked, (1, 2, 4, 8, 10, 10), strict=True):
        assert longest / 2 <= asked <= longest
    subscriber.cancel()


async def test_where_nobody_answers_the_pauses_stay_short(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer, "MAX_DELAY", 10.0)
    world.server.put("a")
    subscriber = world.wait("a")
    await world.until(lambda: world.server.watching == 1)
    (shared,) = informer._informers.values()
    assert shared._reflector is not None
    shared._reflector._stop = pauses = wire.Pauses(6)

    def unanswered(*_: Any, **__: Any) -> Any:
        raise api_errors.Unreachable("connection refused")

    monkeypatch.setattr(shared.client, "watch", unanswered)
    world.server.cut()
    await world.until(lambda: len(pauses.asked) == 6)
    for asked, longest in zip(pauses.asked, (1, 2, 3, 3, 3, 3), strict=True):
        assert longest / 2 <= asked <= longest
    subscriber.cancel()


async def test_a_call_gives_what_it_finds_or_raises() -> None:
    assert await informer.call(lambda x: x + 1, 1) == 2
    with pytest.raises(KeyError):
        await informer.call({}.__getitem__, "x")
