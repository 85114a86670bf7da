"""No line lost, none shown twice, nothing raised: whatever the stream does."""

import contextvars
import random
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import wire
from podtask_airflow.hooks import api_errors
from podtask_airflow.hooks import podtask as hook
from podtask_airflow.utils import pod_logs

ROUND = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)  # noqa: UP017 (3.10 has no other)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "MAX_DELAY", 0.01)
    monkeypatch.setattr(pod_logs, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(pod_logs, "MAX_DELAY", 0.05)


def stamped(offset_ns: int, text: bytes) -> tuple[int, bytes]:
    """A line of a log: nanoseconds after a round second, and the text with its end."""
    at = ROUND + timedelta(seconds=offset_ns // 1_000_000_000)
    return offset_ns, at.strftime("%Y-%m-%dT%H:%M:%S.").encode() + b"%09dZ " % (offset_ns % 1_000_000_000) + text


class Node:
    """A kubelet: logs by container, sinceTime by the second, streams that end as a test says."""

    def __init__(self, **lines: list[tuple[int, bytes]]) -> None:
        self.lines = lines
        self.is_over = False
        self.cuts: list[tuple[int, bool]] = []
        """For each stream: after how many bytes it ends, and whether with a proper end."""
        self.refusals: list[tuple[int, bytes]] = []

    def __call__(self, request: wire.Request) -> None:
        if self.refusals:
            code, body = self.refusals.pop(0)
            return request.reply(code, body)
        since = request.query.get("sinceTime", "")
        first = _second(since) * 1_000_000_000 if since else -1
        body = b"".join(line for at, line in self.lines[request.query["container"]] if at >= first)
        request.begin()
        if self.cuts:
            count, is_proper = self.cuts.pop(0)
            if body[:count]:
                request.chunk(body[:count])
            return request.chunk(b"") if is_proper else request.cut()
        if body:
            request.chunk(body)
        while request.query.get("follow") and not self.is_over:
            time.sleep(0.01)
        return request.chunk(b"")


def _second(timestamp: str) -> int:
    at = datetime.fromisoformat(timestamp[:19] + "+00:00")
    return int((at - ROUND).total_seconds())


class Shown:
    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}

    def __call__(self, container: str, line: str) -> None:
        self.lines.setdefault(container, []).append(line)

    def wait(self, count: int, container: str = "base") -> list[str]:
        end = time.monotonic() + wire.HANG_SECONDS
        while len(self.lines.get(container, [])) < count and time.monotonic() < end:
            time.sleep(0.005)
        return self.lines.get(container, [])


def run(node: Node, tmp_path: Path, **more: Any) -> tuple[Shown, pod_logs.LogFollower]:
    """Follow to the end."""
    shown = Shown()
    with wire.fake(node, tmp_path, budget=1.0) as (_, one):
        follower = pod_logs.LogFollower(one, "ns", containers=list(node.lines), emit=shown, **more)
        follower.attempt("pod-1", 1)
        time.sleep(0.1)
        node.is_over = True
        assert follower.finish(wire.HANG_SECONDS)
    return shown, follower


def many(seed: int, count: int = 60) -> list[tuple[int, bytes]]:
    """Lines with equal timestamps, and pairs out of order (also across a second), as stdout and stderr make them."""
    chance = random.Random(seed)
    at, stamps = 0, []
    while len(stamps) < count:
        at += chance.choice([0, 0, 1, 1000, 400_000_000, 1_300_000_000])
        if chance.random() < 0.2:
            at += 5000
            if chance.random() < 0.5:
                at += -at % 1_000_000_000
            stamps += [at + 1000, at - 1000]
            at += 2000
        stamps.append(at)
    return [stamped(stamp, b"line %d\n" % number) for number, stamp in enumerate(stamps[:count])]


@pytest.mark.parametrize("seed", range(12))
def test_every_cut_is_resumed_exactly(tmp_path: Path, seed: int) -> None:
    chance = random.Random(1000 + seed)
    node = Node(base=many(seed), side=many(seed + 1))
    node.cuts = [(chance.randrange(0, 2200), chance.random() < 0.5) for _ in range(14)]
    shown, follower = run(node, tmp_path)
    for name in ("base", "side"):
        assert shown.lines[name] == [f"line {number}" for number in range(60)]
    assert not follower.failures


def test_the_place_is_handed_on(tmp_path: Path) -> None:
    node = Node(base=many(3))
    shown, first = run(node, tmp_path)
    node.lines["base"] = node.lines["base"] + [stamped(200_000_000_000 + n, b"more\n") for n in range(3)]
    rest = Shown()
    with wire.fake(node, tmp_path) as (api, one):
        assert pod_logs.LogFollower(one, "ns", containers=["base"], emit=rest, since=first.positions).fetch(
            "pod-1", "base"
        )
        assert len(api.requests) == 1
    assert len(shown.lines["base"]) == 60
    assert rest.lines == {"base": ["more"] * 3}


def test_a_place_that_was_rotated_away_shows_what_is_there(tmp_path: Path) -> None:
    node = Node(base=[stamped(1_000_000_500 + n, b"new %d\n" % n) for n in range(4)])
    rest = Shown()
    since = {"pod-1/base": ("2026-01-02T03:04:06.000000400Z", 2)}
    with wire.fake(node, tmp_path) as (_, one):
        assert pod_logs.LogFollower(one, "ns", containers=["base"], emit=rest, since=since).fetch("pod-1", "base")
    assert rest.lines == {"base": ["new 0", "new 1", "new 2", "new 3"]}


def test_without_an_end_with_anything_in_it(tmp_path: Path) -> None:
    long = b"x" * (1024 * 1024)
    texts = [long + b"\n", b"\n", b"\xff\xfe bytes\n", "käse\n".encode(), b"no end"]
    node = Node(base=[stamped(index, text) for index, text in enumerate(texts)])
    shown, _ = run(node, tmp_path)
    assert shown.lines["base"] == [long.decode(), "", "\ufffd\ufffd bytes", "käse", "no end"]
    again = Shown()
    with wire.fake(node, tmp_path) as (_, one):
        assert pod_logs.LogFollower(one, "ns", containers=["base"], emit=again).fetch("pod-1", "base")
    assert again.lines == shown.lines


def test_a_whole_log_is_one_request(tmp_path: Path) -> None:
    node = Node(base=many(1))
    node.is_over = True
    shown = Shown()
    with wire.fake(node, tmp_path) as (api, one):
        assert pod_logs.LogFollower(one, "ns", containers=["base"], emit=shown).fetch("pod-1", "base")
    assert len(shown.lines["base"]) == 60
    assert [request.query.get("follow") for request in api.requests] == [None]


@pytest.mark.parametrize("seed", range(4))
def test_a_fetch_is_resumed_too(tmp_path: Path, seed: int) -> None:
    node = Node(base=many(seed))
    node.cuts = [(700, False), (900, False), (333, True)]
    shown = Shown()
    with wire.fake(node, tmp_path) as (_, one):
        assert pod_logs.LogFollower(one, "ns", containers=["base"], emit=shown).fetch("pod-1", "base")
    assert shown.lines["base"] == [f"line {number}" for number in range(60)]


def test_a_container_that_has_not_started_is_waited_for(tmp_path: Path) -> None:
    waiting = b'container "base" in pod "pod-1" is waiting to start: PodInitializing'
    node = Node(base=[stamped(1, b"hello\n")])
    node.refusals = [(400, wire.status(400, "BadRequest", waiting.decode()))] * 3
    shown = Shown()
    with wire.fake(node, tmp_path) as (_, one):
        follower = pod_logs.LogFollower(one, "ns", containers=["base"], emit=shown)
        follower.attempt("pod-1")
        assert shown.wait(1) == ["hello"]
        node.is_over = True
        assert follower.finish(wire.HANG_SECONDS)
    assert not follower.failures


def test_one_that_never_starts_does_not_hold_the_end_up(tmp_path: Path) -> None:
    waiting = b'container "base" in pod "pod-1" is waiting to start: ImagePullBackOff'
    with wire.fake(lambda r: r.reply(400, wire.status(400, "BadRequest", waiting.decode())), tmp_path) as (_, one):
        follower = pod_logs.LogFollower(one, "ns", containers=["base"], emit=Shown())
        follower.attempt("pod-1")
        time.sleep(0.1)
        assert follower.finish(wire.HANG_SECONDS)
        assert isinstance(follower.failures["pod-1", "base"], api_errors.Invalid)


@pytest.mark.parametrize(
    ("code", "kind"), [(403, api_errors.Forbidden), (404, api_errors.NotFound), (400, api_errors.Invalid)]
)
def test_a_log_that_may_not_be_read_is_said_once(tmp_path: Path, code: int, kind: type) -> None:
    answer = lambda r: r.reply(code, wire.status(code, "R", "container nix is not valid for pod"))  # noqa: E731
    with wire.fake(answer, tmp_path) as (api, one):
        follower = pod_logs.LogFollower(one, "ns", containers=["base"], emit=Shown())
        follower.attempt("pod-1")
        assert follower.finish(wire.HANG_SECONDS)
        assert isinstance(follower.failures["pod-1", "base"], kind)
        assert not follower.fetch("pod-1", "base")
    assert len(api.requests) == 2


def test_when_the_pod_goes_what_came_is_shown(tmp_path: Path) -> None:
    node = Node(base=[stamped(1, b"one\n"), stamped(2, b"half a li")])
    node.cuts = [(1000, True)]
    shown = Shown()

    def answer(request: wire.Request) -> None:
        if request.number == 1:
            node(request)
        else:
            request.reply(404, wire.status(404, "NotFound", 'pods "pod-1" not found'))

    with wire.fake(answer, tmp_path) as (_, one):
        follower = pod_logs.LogFollower(one, "ns", containers=["base"], emit=shown)
        follower.attempt("pod-1")
        assert shown.wait(2) == ["one", "half a li"]
        assert follower.finish(wire.HANG_SECONDS)


def test_what_the_kubelet_says_in_place_of_a_log_is_shown_once(tmp_path: Path) -> None:
    node = Node(base=[(1, b"unable to retrieve container logs for containerd://abc")])
    shown, _ = run(node, tmp_path)
    assert shown.lines["base"] == ["unable to retrieve container logs for containerd://abc"]


def test_a_new_attempt_is_a_new_pod(tmp_path: Path) -> None:
    node = Node(base=[stamped(1, b"hello\n")])
    shown = Shown()
    with wire.fake(node, tmp_path) as (_, one):
        follower = pod_logs.LogFollower(one, "ns", containers=["base"], emit=shown)
        follower.attempt("pod-1", 1)
        assert shown.wait(1) == ["hello"]
        follower.attempt("pod-1", 1)
        node.is_over = True
        follower.attempt("pod-2", 2)
        assert follower.finish(wire.HANG_SECONDS)
    assert shown.lines["base"] == ["hello", "(attempt 2: Pod pod-2)", "hello"]


def test_closing_ends_it_at_once(tmp_path: Path) -> None:
    node = Node(base=[stamped(1, b"hello\n")])
    shown = Shown()
    with wire.fake(node, tmp_path) as (_, one):
        follower = pod_logs.LogFollower(one, "ns", containers=["base"], emit=shown)
        follower.attempt("pod-1")
        shown.wait(1)
        assert not follower.finish(0.2), "the stream has not ended"
        follower.close()
        for thread in follower._threads:
            thread.join(wire.HANG_SECONDS)
            assert not thread.is_alive()
            assert thread.daemon


def test_nothing_is_raised_when_showing_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken(container: str, line: str) -> None:
        raise RuntimeError("the log's disk is full")

    node = Node(base=[stamped(1, b"hello\n")])
    with wire.fake(node, tmp_path) as (_, one):
        follower = pod_logs.LogFollower(one, "ns", containers=["base"], emit=broken)
        assert not follower.fetch("pod-1", "base")
        follower.attempt("pod-1")
        follower.finish(wire.HANG_SECONDS)
    assert "does not change the outcome of the task" in caplog.text


def test_lines_come_in_the_context_of_who_asked(tmp_path: Path) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")
    node = Node(base=[stamped(1, b"hello\n")], side=[stamped(1, b"hello\n")])
    node.is_over = True
    found: list[str] = []
    token = variable.set("trigger 7")
    with wire.fake(node, tmp_path) as (_, one):
        follower = pod_logs.LogFollower(
            one, "ns", containers=["base", "side"], emit=lambda *_: found.append(variable.get())
        )
        variable.reset(token)
        follower.attempt("pod-1")
        assert follower.finish(wire.HANG_SECONDS)
    assert found == ["trigger 7", "trigger 7"]


def test_the_pauses_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "FIRST_DELAY", 1.0)
    monkeypatch.setattr(pod_logs, "MAX_DELAY", 10.0)
    node = Node(base=[])
    node.is_over = True
    pauses = wire.Pauses(5)
    with wire.fake(node, tmp_path) as (api, one):
        pod_logs._ContainerLog(
            one, "ns", "pod-1", "base", Shown(), pod_logs.LogPosition(), wake=pauses, stopped=pauses
        ).follow()
        assert len(api.requests) == 5
    assert pauses.asked == [2, 4, 8, 10, 10]


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T02:00:01.000000001+02:00", 1_000_000_001),
    ],
)
def test_timestamps(text: str, nanoseconds: int) -> None:
    assert pod_logs._instant(text) == nanoseconds


def test_threads_do_not_pile_up(tmp_path: Path) -> None:
    before = threading.active_count()
    node = Node(base=[stamped(1, b"hello\n")])
    run(node, tmp_path)
    assert threading.active_count() <= before + 2


def test_a_stream_that_ends_properly_before_the_place_shows_nothing_twice(tmp_path: Path) -> None:
    lines = [stamped(0, b"a\n"), stamped(3000, b"b\n"), stamped(1000, b"c\n"), stamped(5000, b"d\n")]
    node = Node(base=lines)
    sizes = [len(line) for _, line in lines]
    node.cuts = [(sum(sizes[:3]), False), (sum(sizes[:2]), True)]
    shown, _ = run(node, tmp_path)
    assert shown.lines["base"] == list("abcd")
