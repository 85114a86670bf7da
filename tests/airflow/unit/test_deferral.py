"""The deferral guard: the supervisor notices the end of execute at once, and execute_complete starts after that."""

import os
import select
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes import context
from podtask_airflow import version_compat
from podtask_airflow.utils import deferral


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """airflow.cfg."""
    made: dict[tuple[str, str], str] = {}
    monkeypatch.setattr(version_compat, "conf_get", lambda section, key, fallback=None: made.get((section, key)))
    return made


def task(so_far: float) -> dict[str, Any]:
    """A task that took so long to get to where it defers."""
    return context(start_date=datetime.now(UTC) - timedelta(seconds=so_far))


@pytest.mark.parametrize(("so_far", "want"), [(0.5, 3), (4, 8), (3600, 20)])
def test_a_busy_machine_gets_more_time(configured: dict[tuple[str, str], str], so_far: float, want: float) -> None:
    assert deferral.seconds(task(so_far), wakes_supervisor=True) == pytest.approx(want, abs=0.1)
    assert deferral.seconds(task(so_far), wakes_supervisor=False) == pytest.approx(want + 5, abs=0.1)
    configured["workers", "min_heartbeat_interval"] = "1"
    assert deferral.seconds(task(so_far), wakes_supervisor=False) == pytest.approx(want + 1, abs=0.1)


def test_an_administrator_may_know_better(configured: dict[tuple[str, str], str]) -> None:
    configured["podtask", "deferral_guard_seconds"] = "1.5"
    assert deferral.seconds(task(10), wakes_supervisor=False) == 1.5


def test_airflow_2_needs_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_compat, "IS_3", False)
    monkeypatch.setattr(deferral, "wake_supervisor_at_exit", lambda: pytest.fail("a process for nothing"))
    assert deferral.not_before(context()) is None


def test_without_a_shell_the_supervisor_has_its_time(
    configured: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_compat, "IS_3", True)
    monkeypatch.setattr(deferral, "_WAIT_FOR_EXIT", ("/no/such/shell",))
    before = time.time()
    found = deferral.not_before(task(0))
    assert found is not None
    assert found - before == pytest.approx(5 + 3, abs=0.5)


def test_stdout_stays_open_until_the_process_is_gone() -> None:
    """What wakes the supervisor finds the process ended, also after a kill -9."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(writing, 1)
        os.close(writing)
        os.close(reading)
        is_arranged = deferral.wake_supervisor_at_exit()
        os.write(1, b"y" if is_arranged else b"n")
        signal.pause()
    os.close(writing)
    assert os.read(reading, 1) == b"y"
    os.kill(pid, signal.SIGKILL)
    assert select.select([reading], [], [], 10)[0]
    assert os.read(reading, 1) == b"", "the pipe has closed"
    assert os.waitpid(pid, os.WNOHANG)[0] == pid, "and the process was gone by then"
    os.close(reading)
