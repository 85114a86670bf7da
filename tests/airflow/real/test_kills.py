"""A kill, a shutdown and a timeout are three things: what ends with them, and what goes on."""

import datetime as dt
import time

import pytest

from tests.airflow.real.stage import Stage, waits
from tests.harness.airflow.rest import HANG_SECONDS

BOTH = pytest.mark.parametrize("mode", ["sync", "deferrable"])


@BOTH
def test_a_task_that_a_user_marks_failed_is_stopped(stage: Stage, mode: str) -> None:
    run = stage.start(f"{mode}_retries", waits(1))
    run.wait_started()
    run.wait_waiting(mode)
    run.mark("failed")
    assert run.end() == "failed"
    run.check_made(pods=1, phases=["Cancelled"])


def test_a_worker_that_shuts_down_costs_no_try_and_no_second_pod(stage: Stage) -> None:
    run = stage.start("sync_once", waits(7))
    run.wait_started()
    run.shut_worker_down()
    run.wait("deferred")
    run.let_go()
    assert run.end() == "success", run.log()
    assert run.task()["try_number"] == 1
    assert run.xcom() == {"number": 7}
    run.check_made(pods=1, phases=["Succeeded"])


def test_execution_timeout_is_no_shutdown(stage: Stage) -> None:
    run = stage.start("sync_timeout", waits(1))
    run.wait_started()
    assert run.end() == "failed"
    run.check_made(pods=1, phases=["Cancelled"])


@pytest.mark.alone
def test_a_deferred_task_that_a_user_ends_before_its_trigger_runs_is_stopped(stage: Stage) -> None:
    """Nothing of ours runs after that which could cancel it: the controller does, at the time set when it was made."""
    stage.airflow.kill("triggerer")
    run = stage.start("deferrable_bounded", waits(1))
    run.wait("deferred")
    run.mark("failed")
    stage.airflow.restart("triggerer")
    assert run.end() == "failed"
    run.check_made(pods=1, phases=["Cancelled"])


def test_that_bound_is_not_for_a_task_whose_trigger_runs(stage: Stage) -> None:
    run = stage.start("deferrable_bounded_later", waits(7))
    run.wait_started()
    (task,) = stage.recorder.tasks.values()
    bound = dt.datetime.fromisoformat(task["spec"]["cancelTime"])
    stage.recorder.until(
        lambda recorder: not any("cancelTime" in t["spec"] for t in recorder.tasks.values()), HANG_SECONDS
    )
    time.sleep(max(0, (bound - dt.datetime.now(dt.UTC)).total_seconds() + 1))
    run.let_go()
    assert run.end() == "success", run.log()
    run.check_made(pods=1, phases=["Succeeded"])
