"""Waiting: it ends at the deadline, at once when a program has died, and shows that program's log."""

import datetime as dt
import io
import threading
from pathlib import Path

import pytest

from cluster import progress, readiness
from cluster.errors import ClusterError
from cluster.paths import ClusterDirectory
from cluster.supervision import State
from tests.harness import HANG_SECONDS


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def make_waiter(tmp_path: Path, word: str, clock: Clock) -> readiness.Waiter:
    directory = ClusterDirectory(tmp_path)
    directory.logs.mkdir()
    directory.log("etcd").write_text("\n".join(f"line {number}" for number in range(100)))
    states = {"etcd": State("etcd", word, 12, "spoke its last")}
    return readiness.Waiter(directory, lambda: states, 30, clock, clock.sleep)


def test_it_returns_as_soon_as_the_condition_holds(tmp_path) -> None:
    clock = Clock()
    make_waiter(tmp_path, "RUNNING", clock).until("waiting", lambda: clock.now > 1, ["etcd"])
    assert 1 < clock.now < 1 + readiness.LONGEST_PAUSE_SECONDS


def test_what_is_ready_already_costs_nothing_even_when_a_program_is_dead(tmp_path) -> None:
    clock = Clock()
    make_waiter(tmp_path, "FATAL", clock).until("waiting", lambda: True, ["etcd"])
    assert clock.now == 0


def test_it_gives_up_at_the_deadline_with_the_end_of_the_log(tmp_path) -> None:
    clock = Clock()
    with pytest.raises(ClusterError, match="waiting for x in vain") as caught:
        make_waiter(tmp_path, "RUNNING", clock).until("waiting for x", lambda: False, ["etcd"])
    assert 30 <= clock.now < 31
    assert "line 99" in str(caught.value)
    assert "line 1\n" not in str(caught.value)


def test_a_killed_program_gets_the_seconds_that_its_restart_takes(tmp_path) -> None:
    clock = Clock()
    with pytest.raises(ClusterError, match="etcd is EXITED"):
        make_waiter(tmp_path, "EXITED", clock).until("waiting", lambda: False, ["etcd"])
    assert readiness.EXITED_FOR_GOOD_SECONDS < clock.now < readiness.EXITED_FOR_GOOD_SECONDS + 1


@pytest.mark.parametrize("word", ["FATAL", "BACKOFF", "STOPPED"])
def test_a_dead_program_ends_the_wait_at_once(tmp_path, word) -> None:
    clock = Clock()
    with pytest.raises(ClusterError, match=f"etcd is {word}") as caught:
        make_waiter(tmp_path, word, clock).until("waiting", lambda: False, ["etcd"])
    assert clock.now == 0
    assert "line 99" in str(caught.value)


def make_nodes(*conditions: tuple[str, str]) -> dict[str, object]:
    return {
        "items": [
            {"status": {"conditions": [{"type": "Ready", "status": status, "lastHeartbeatTime": when}]}}
            for status, when in conditions
        ]
    }


def test_nodes_count_when_they_are_ready_and_have_said_so_since_their_restart() -> None:
    nodes = make_nodes(
        ("True", "2026-01-01T00:00:10Z"), ("True", "2026-01-01T00:00:30Z"), ("False", "2026-01-01T00:00:30Z")
    )
    assert readiness.ready_nodes(nodes) == 2
    assert readiness.ready_nodes(nodes, dt.datetime(2026, 1, 1, 0, 0, 20, tzinfo=dt.UTC)) == 1
    assert readiness.ready_nodes(None) == 0
    assert readiness.ready_nodes({"items": [{"status": {}}]}) == 0


class Screen(io.StringIO):
    """A terminal, or a log. `is_drawn` is set once a line was written for the third time."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal
        self._written = 0
        self.is_drawn = threading.Event()

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str) -> int:
        self._written += 1
        if self._written > 2:
            self.is_drawn.set()
        return super().write(text)


def test_a_long_step_is_two_lines_of_a_log() -> None:
    said: list[str] = []
    screen = Screen(is_terminal=False)
    with progress.heartbeat("building x", said.append, screen, interval_seconds=0.001):
        assert said == ["building x …"]
    assert said[1:] == ["building x: 0.0 s"]
    assert screen.getvalue() == ""


def test_long_steps_share_one_line_of_a_terminal_that_is_empty_in_the_end() -> None:
    said: list[str] = []
    screen = Screen(is_terminal=True)
    with (
        progress.heartbeat("building x", said.append, screen, interval_seconds=0.001),
        progress.heartbeat("building y", said.append, screen, interval_seconds=0.001),
    ):
        assert screen.is_drawn.wait(HANG_SECONDS)
        assert said == []
    assert [line.partition(":")[0] for line in said] == ["building y", "building x"]
    drawn = screen.getvalue()
    assert "\n" not in drawn
    assert "building x 0 s, building y 0 s" in drawn
    assert drawn.endswith("\r\033[K\r")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_the_failure_of_a_long_step_is_not_reported_as_its_end(is_terminal: bool) -> None:
    said: list[str] = []

    def fail() -> None:
        with progress.heartbeat("building x", said.append, Screen(is_terminal=is_terminal)):
            raise ClusterError("no")

    with pytest.raises(ClusterError, match="no"):
        fail()
    assert said == ([] if is_terminal else ["building x …"])
