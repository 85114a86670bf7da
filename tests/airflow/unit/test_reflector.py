"""A reflector reports every change of its PodTask, through cut watches and outages."""

import json
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest
import wire
from podtask_airflow.hooks import api_errors
from podtask_airflow.hooks import podtask as hook
from podtask_airflow.utils import reflector


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "MAX_DELAY", 0.01)
    monkeypatch.setattr(reflector, "MAX_DELAY", 0.05)


def at(version: int, uid: str = "u") -> dict[str, Any]:
    return wire.task("a", metadata={"namespace": "ns", "uid": uid, "resourceVersion": str(version)})


CREATED: Any = at(1)
NAMED: Any = {"metadata": {"namespace": "ns", "name": "a", "uid": "u"}}


class Server:
    """One object, and watches with scripted events."""

    def __init__(self) -> None:
        self.object: dict[str, Any] | None = at(1)
        self.watches: list[list[Any]] = []
        self.end = threading.Event()

    def __call__(self, request: wire.Request) -> None:
        if request.query.get("watch"):
            self.watch(request)
        elif self.object is None:
            request.reply(404, wire.status(404, "NotFound", 'podtasks "a" not found'))
        else:
            request.json(self.object)

    def watch(self, request: wire.Request) -> None:
        script = self.watches.pop(0) if self.watches else ["wait"]
        if isinstance(script[0], int):
            request.reply(script[0], wire.status(script[0], "R", "no"))
            return
        request.begin()
        for step in script:
            if step == "wait":
                self.end.wait(20)
            elif step == "cut":
                request.cut()
                return
            elif callable(step):
                step()
            else:
                kind, found = step
                request.chunk(json.dumps({"type": kind, "object": found}).encode() + b"\n")
        request.chunk(b"")


def versions(queue: SimpleQueue[Any], count: int) -> list[Any]:
    found = [queue.get(timeout=wire.HANG_SECONDS) for _ in range(count)]
    return [x["metadata"]["resourceVersion"] if isinstance(x, dict) else type(x) for x in found]


def is_empty(queue: SimpleQueue[Any]) -> bool:
    try:
        queue.get(timeout=0.2)
    except Empty:
        return True
    return False


def test_one_request_is_enough_for_who_created_it(tmp_path: Path) -> None:
    server = Server()
    server.watches = [[("MODIFIED", at(2)), ("BOOKMARK", at(9)), ("MODIFIED", at(10)), "wait"]]
    with wire.fake(server, tmp_path) as (api, one):
        queue: SimpleQueue[Any] = SimpleQueue()
        follow = reflector.Reflector(one, CREATED, queue.put, is_current=True).start()
        assert versions(queue, 2) == ["2", "10"]
        follow.stop()
        assert follow.join(5)
        assert is_empty(queue)
    assert len(api.requests) == 1
    assert api.requests[0].query["fieldSelector"] == "metadata.name=a"
    assert api.requests[0].query["resourceVersion"] == "1"


def test_who_knows_nothing_reads_first(tmp_path: Path) -> None:
    with wire.fake(Server(), tmp_path) as (api, one):
        queue: SimpleQueue[Any] = SimpleQueue()
        reflector.Reflector(one, NAMED, queue.put).start()
        assert versions(queue, 1) == ["1"]
    assert api.requests[0].query == {}


def test_a_watch_that_ends_goes_on_from_its_bookmark(tmp_path: Path) -> None:
    server = Server()
    server.watches = [[("BOOKMARK", at(7))], [("MODIFIED", at(8)), "wait"]]
    with wire.fake(server, tmp_path) as (api, one):
        queue: SimpleQueue[Any] = SimpleQueue()
        reflector.Reflector(one, CREATED, queue.put, is_current=True).start()
        assert versions(queue, 1) == ["8"]
    assert [request.query["resourceVersion"] for request in api.requests] == ["1", "7"]


@pytest.mark.parametrize("expiry", [[410], [("ERROR", json.loads(wire.status(410, "Expired", "too old")))]])
def test_an_expired_version_misses_no_end(tmp_path: Path, expiry: list[Any]) -> None:
    server = Server()
    server.object = at(5)
    server.watches = [expiry, ["wait"]]
    with wire.fake(server, tmp_path) as (_, one):
        queue: SimpleQueue[Any] = SimpleQueue()
        reflector.Reflector(one, CREATED, queue.put, is_current=True).start()
        assert versions(queue, 1) == ["5"]


@pytest.mark.parametrize("found", [None, at(5, uid="another")])
def test_a_deletion_during_an_outage_is_seen(tmp_path: Path, found: Any) -> None:
    server = Server()
    server.object = found
    server.watches = [[410]]
    with wire.fake(server, tmp_path) as (_, one):
        queue: SimpleQueue[Any] = SimpleQueue()
        follow = reflector.Reflector(one, CREATED, queue.put, is_current=True).start()
        assert queue.get(timeout=wire.HANG_SECONDS) == reflector.Deleted()
        assert follow.join(5)


@pytest.mark.parametrize("event", [("DELETED", at(4)), ("ADDED", at(4, uid="new"))])
def test_a_deletion_is_the_end(tmp_path: Path, event: Any) -> None:
    server = Server()
    server.watches = [[event, "wait"]]
    with wire.fake(server, tmp_path) as (_, one):
        queue: SimpleQueue[Any] = SimpleQueue()
        follow = reflector.Reflector(one, CREATED, queue.put, is_current=True).start()
        assert queue.get(timeout=wire.HANG_SECONDS) == reflector.Deleted()
        assert follow.join(5)


def test_trouble_is_told_and_its_end_too(tmp_path: Path) -> None:
    server = Server()
    server.watches = [[403], [403], ["wait"]]
    with wire.fake(server, tmp_path) as (_, one):
        queue: SimpleQueue[Any] = SimpleQueue()
        before = time.monotonic()
        reflector.Reflector(one, CREATED, queue.put, is_current=True).start()
        first = queue.get(timeout=wire.HANG_SECONDS)
        assert isinstance(first.error, api_errors.Forbidden)
        assert before <= first.since <= time.monotonic()
        # The object has not changed and is put anyway: that ends the error, until the watch fails again.
        assert versions(queue, 3) == ["1", reflector.WatchError, "1"]
        assert is_empty(queue)


def test_a_defect_in_its_thread_is_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with wire.fake(Server(), tmp_path) as (_, one):
        queue: SimpleQueue[Any] = SimpleQueue()
        monkeypatch.setattr(one, "watch", lambda *_, **__: 1 / 0)
        reflector.Reflector(one, CREATED, queue.put, is_current=True).start()
        assert isinstance(queue.get(timeout=wire.HANG_SECONDS).error, api_errors.Unexpected)
        monkeypatch.undo()
        assert versions(queue, 1)


def test_a_load_balancers_cut_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "MIN_WATCH_SECONDS", 0.0)
    server = Server()
    server.watches = [[("BOOKMARK", at(3)), "cut"], [("MODIFIED", at(4)), "wait"]]
    with wire.fake(server, tmp_path) as (api, one):
        queue: SimpleQueue[Any] = SimpleQueue()
        reflector.Reflector(one, CREATED, queue.put, is_current=True).start()
        assert versions(queue, 1) == ["4"]
    assert [request.query["resourceVersion"] for request in api.requests] == ["1", "3"]


def test_a_watch_that_is_cut_at_once_is_trouble(tmp_path: Path) -> None:
    server = Server()
    server.watches = [["cut"], ["wait"]]
    with wire.fake(server, tmp_path) as (_, one):
        queue: SimpleQueue[Any] = SimpleQueue()
        reflector.Reflector(one, CREATED, queue.put, is_current=True).start()
        assert versions(queue, 2) == [reflector.WatchError, "1"]


def test_the_missing_crd_is_trouble_and_not_a_deletion(tmp_path: Path) -> None:
    with wire.fake(lambda r: r.reply(404, b"404 page not found\n"), tmp_path) as (_, one):
        queue: SimpleQueue[Any] = SimpleQueue()
        follow = reflector.Reflector(one, NAMED, queue.put).start()
        assert isinstance(queue.get(timeout=wire.HANG_SECONDS).error, api_errors.CrdMissing)
        follow.stop()
        assert follow.join(5)


def test_the_pauses_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "MAX_DELAY", 10.0)
    with wire.fake(lambda r: r.reply(403, wire.status(403, "R", "no")), tmp_path) as (api, one):
        follow = reflector.Reflector(one, NAMED, lambda _: None)
        follow._stop = pauses = wire.Pauses(5)
        follow.run()
    assert len(api.requests) == 5
    for asked, longest in zip(pauses.asked, (2, 4, 8, 10, 10), strict=True):
        assert longest / 4 <= asked <= longest / 2


def test_a_pause_ends_with_stop(tmp_path: Path) -> None:
    with wire.fake(lambda r: r.reply(403, wire.status(403, "R", "no")), tmp_path) as (api, one):
        follow = reflector.Reflector(one, NAMED, lambda _: None).start()
        wire.until_true(lambda: api.requests)
        follow.stop()
        assert follow.join(1)


def test_it_ends_with_its_client(tmp_path: Path) -> None:
    with wire.fake(Server(), tmp_path) as (_, one):
        follow = reflector.Reflector(one, CREATED, lambda _: None, is_current=True).start()
        time.sleep(0.1)
        one.close()
        assert follow.join(5)
