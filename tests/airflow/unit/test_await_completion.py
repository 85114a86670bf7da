"""The wait: what ends it, and how a kill, a shutdown and a missing controller are distinguished."""

import threading
from typing import Any

import pytest
from fakes import FakeCluster
from podtask_airflow import exceptions
from podtask_airflow.hooks import api_errors
from podtask_airflow.utils import await_completion
from podtask_airflow.utils.await_completion import CompletionWaiter, OnStop

ENDINGS: dict[str, tuple[str | None, bool, bool, bool, OnStop]] = {
    "worker's shutdown, with a triggerer": ("running", True, True, True, OnStop.DEFER),
    "worker's shutdown at retries=0, with a triggerer": ("running", True, True, False, OnStop.DEFER),
    "worker's shutdown, no triggerer": ("running", True, False, True, OnStop.LEAVE),
    "worker's shutdown, no triggerer and no further try": ("running", True, False, False, OnStop.CANCEL),
    "marked failed": ("failed", True, True, True, OnStop.CANCEL),
    "marked success": ("success", True, True, True, OnStop.CANCEL),
    "cleared while running": ("restarting", True, True, True, OnStop.CANCEL),
    "the run was deleted": (None, True, True, True, OnStop.CANCEL),
    "Airflow does not say": (None, False, True, True, OnStop.LEAVE),
    "Airflow does not say, and there is no further try": (None, False, True, False, OnStop.CANCEL),
}


@pytest.mark.parametrize(("state", "is_known", "has_triggerer", "tries_remain", "want"), ENDINGS.values(), ids=ENDINGS)
def test_what_becomes_of_the_task(
    state: str | None, is_known: bool, has_triggerer: bool, tries_remain: bool, want: OnStop
) -> None:
    got = await_completion.on_stop(state, is_known=is_known, has_triggerer=has_triggerer, tries_remain=tries_remain)
    assert got is want


class Stopped(Exception):
    """What `killed` raises in these tests."""


def begin(cluster: FakeCluster, **spec: Any) -> dict[str, Any]:
    """A PodTask in the cluster."""
    return cluster.create("default", {"metadata": {"name": "t"}, "spec": spec})


def stop(_: Any) -> None:
    raise Stopped


def test_every_change_is_told_until_the_end() -> None:
    cluster, seen = FakeCluster(), []
    task = begin(cluster)

    def changed(now: dict[str, Any]) -> None:
        phase = now["status"]["phase"]
        seen.append(phase)
        following = {"Pending": "Running", "Running": "Succeeded"}.get(phase)
        if following:
            cluster.write(task, phase=following)

    end = CompletionWaiter(outage_seconds=60).await_completion(cluster, task, changed=changed, killed=stop)
    assert seen == ["Pending", "Running", "Succeeded"]
    assert end["status"]["phase"] == "Succeeded"
    assert cluster.requests == ["POST", "WATCH"]


def test_a_task_that_has_ended_needs_no_wait() -> None:
    cluster = FakeCluster()
    task = {**begin(cluster), "status": {"phase": "Failed"}}
    assert (
        CompletionWaiter(outage_seconds=60).await_completion(cluster, task, changed=lambda _: None, killed=stop) == task
    )


def test_a_kill_from_another_thread_ends_the_wait() -> None:
    cluster, wait = FakeCluster(), CompletionWaiter(outage_seconds=60)
    task = begin(cluster)
    threading.Timer(0.05, wait.kill).start()
    with pytest.raises(Stopped):
        wait.await_completion(cluster, task, changed=lambda _: None, killed=stop)
    assert wait.is_killed


def test_a_kill_in_a_signal_handler_while_the_queue_is_read() -> None:
    import signal

    cluster, wait = FakeCluster(), CompletionWaiter(outage_seconds=60)
    task = begin(cluster)
    before = signal.signal(signal.SIGALRM, lambda *_: wait.kill())
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(Stopped):
            wait.await_completion(cluster, task, changed=lambda _: None, killed=stop)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_kill_before_the_wait_is_not_forgotten() -> None:
    cluster, wait = FakeCluster(), CompletionWaiter(outage_seconds=60)
    wait.kill()
    with pytest.raises(Stopped):
        wait.await_completion(cluster, begin(cluster), changed=lambda _: None, killed=stop)


def test_a_deleted_object_is_no_success() -> None:
    cluster = FakeCluster()
    task = begin(cluster)
    threading.Timer(0.05, cluster.delete, [task]).start()
    with pytest.raises(exceptions.PodTaskLost, match="default/t was deleted"):
        CompletionWaiter(outage_seconds=60).await_completion(cluster, task, changed=lambda _: None, killed=stop)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_watch_that_breaks_off_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(await_completion, "CHECK_SECONDS", 0.05)
    cluster, broken = FakeCluster(), []
    task = begin(cluster)

    def fail(request: str) -> None:
        if request == "WATCH" and not broken:
            broken.append(True)
            cluster.write(task, phase="Succeeded")
            raise ZeroDivisionError

    cluster.fail = fail
    end = CompletionWaiter(outage_seconds=60).await_completion(cluster, task, changed=lambda _: None, killed=stop)
    assert end["status"]["phase"] == "Succeeded"


def test_the_controller_is_missing() -> None:
    cluster = FakeCluster()
    with pytest.raises(exceptions.PodTaskControllerNotFound, match="controller is not running"):
        CompletionWaiter(outage_seconds=60).await_completion(
            cluster, begin(cluster), changed=lambda _: None, killed=stop, not_reconciled_seconds=0.05
        )


def test_a_touched_task_may_take_its_time() -> None:
    cluster = FakeCluster()
    task = begin(cluster)
    cluster.write(task, reason="Unschedulable", observedGeneration=1)
    threading.Timer(0.4, cluster.write, [task], {"phase": "Succeeded"}).start()
    end = CompletionWaiter(outage_seconds=60).await_completion(
        cluster, cluster.only, changed=lambda _: None, killed=stop, not_reconciled_seconds=0.1
    )
    assert end["status"]["phase"] == "Succeeded"


@pytest.mark.parametrize("error", [api_errors.Unreachable("down"), api_errors.Forbidden("no", status=403)])
def test_an_outage_is_borne_for_a_while(error: api_errors.ApiError) -> None:
    cluster = FakeCluster()
    task = begin(cluster)
    cluster.fail = lambda request: error if request in {"WATCH", "GET"} else None
    with pytest.raises(exceptions.PodTaskLost, match="could not be watched for"):
        CompletionWaiter(outage_seconds=0.2).await_completion(cluster, task, changed=lambda _: None, killed=stop)


def test_an_outage_that_ends_costs_nothing() -> None:
    cluster = FakeCluster()
    task = begin(cluster)
    cluster.fail = lambda request: api_errors.Unreachable("down") if request in {"WATCH", "GET"} else None

    def mend() -> None:
        cluster.write(task, phase="Succeeded")
        cluster.fail = lambda _: None

    threading.Timer(0.2, mend).start()
    end = CompletionWaiter(outage_seconds=30).await_completion(cluster, task, changed=lambda _: None, killed=stop)
    assert end["status"]["phase"] == "Succeeded"


BOUNDS: dict[str, tuple[dict[str, Any], float | None]] = {
    "the controller says within half a minute what a task waits for": ({"deadlines": {"startSeconds": 1800}}, 300.0),
    "whatever the task's deadlines are": ({}, 300.0),
    "another controller's task": ({"managedBy": "else.example/x", "deadlines": {"startSeconds": 1}}, None),
}


@pytest.mark.parametrize(("spec", "want"), BOUNDS.values(), ids=BOUNDS)
def test_how_long_a_task_may_stay_untouched(spec: dict[str, Any], want: float | None) -> None:
    assert await_completion.not_reconciled_seconds({"spec": spec}, 300) == want
