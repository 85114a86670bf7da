"""A kill, a shutdown and a timeout are three things: what ends with them, and what goes on."""

import pytest

from tests.airflow.real.stage import Stage, waits

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
