"""Which work a try takes over, and which it begins anew: asserted in Airflow and in the cluster."""

import os
import signal

import pytest

from tests.airflow.real.stage import Stage, result, waits
from tests.harness.airflow import processes
from tests.harness.airflow.rest import HANG_SECONDS

BOTH = pytest.mark.parametrize("mode", ["sync", "deferrable"])
ALONE = pytest.mark.alone


def test_a_task_killed_twice_in_a_row_goes_on_with_its_first_pod(stage: Stage) -> None:
    run = stage.start("sync_retries", waits(7))
    run.wait_started()
    run.kill_try(1)
    run.kill_try(2)
    run.wait_try(3)
    run.let_go()
    assert run.end() == "success", run.log(3)
    assert run.xcom() == {"number": 7}
    run.check_made(pods=1, phases=["Succeeded"])


def test_a_try_that_never_got_to_the_operator_hides_no_earlier_work(stage: Stage) -> None:
    run = stage.start("sync_lost_try", waits(7))
    run.wait_started()
    run.kill_try(1)
    run.wait_try(3)
    run.let_go()
    assert run.end() == "success", run.log(3)
    assert run.xcom() == {"number": 7}
    run.check_made(pods=1, phases=["Succeeded"])


@BOTH
def test_a_retry_after_a_failure_of_the_task_itself_begins_anew(stage: Stage, mode: str) -> None:
    run = stage.start(f"{mode}_retries", f"echo no luck; {result(3)}; exit 3")
    assert run.end() == "failed"
    assert run.xcom() == {"number": 3}, "KubernetesPodOperator pushes the result of a failed task as well"
    for number in (1, 2, 3):
        assert "no luck" in run.log(number)
    assert "NonZeroExit" in run.log(3)
    run.check_made(pods=3, phases=["Failed"] * 3)


@BOTH
def test_a_run_made_again_under_its_old_id_takes_nothing_over(stage: Stage, mode: str) -> None:
    first = stage.start(f"{mode}_once", result(1), run_id="again")
    assert first.end() == "success", first.log()
    first.wait_told()
    stage.airflow.api.delete_run(first.dag_id, "again")
    second = stage.start(f"{mode}_once", result(2), run_id="again")
    assert second.end() == "success", second.log()
    assert second.xcom() == {"number": 2}
    second.check_made(pods=2, phases=["Succeeded", "Succeeded"])


@BOTH
def test_a_finished_task_that_a_user_clears_runs_again(stage: Stage, mode: str) -> None:
    run = stage.start(f"{mode}_once", result(1))
    assert run.end() == "success", run.log()
    run.clear()
    run.recorder.until(lambda recorder: len(recorder.pods) == 2, HANG_SECONDS)
    assert run.end() == "success", run.log(2)
    run.check_made(pods=2, phases=["Succeeded", "Succeeded"])


@BOTH
def test_a_running_task_that_a_user_clears_is_stopped_and_runs_again(stage: Stage, mode: str) -> None:
    run = stage.start(f"{mode}_once", waits(1))
    run.wait_started()
    run.wait_waiting(mode)
    run.clear()
    run.wait_started(pods=2)
    run.wait_phases("Cancelled", "Running")
    run.let_go()
    assert run.end() == "success", run.log(2)
    assert run.xcom() == {"number": 1}
    run.check_made(pods=2, phases=["Cancelled", "Succeeded"])


@ALONE
def test_a_task_process_orphaned_by_its_scheduler_makes_no_second_pod(stage: Stage) -> None:
    run = stage.start("sync_once", waits(7))
    run.wait_started()
    pid = int(run.wait_try(1)["pid"])
    # While it pushes, the process of the task talks to a child of the scheduler, and would die with that.
    run.wait_pushed("pod_name")
    stage.airflow.kill("scheduler")
    try:
        assert processes.is_alive(pid)
    finally:
        stage.airflow.restart("scheduler")
    run.let_go()
    assert run.end() == "success", run.log()
    assert run.xcom() == {"number": 7}
    run.check_made(pods=1, phases=["Succeeded"])


@ALONE
def test_a_killed_triggerer_loses_nothing(stage: Stage) -> None:
    run = stage.start("deferrable_once", waits(7))
    run.wait_started()
    run.wait_waiting("deferrable")
    stage.airflow.kill("triggerer")
    run.let_go()
    stage.airflow.restart("triggerer")
    assert run.end() == "success", run.log()
    assert run.xcom() == {"number": 7}
    run.check_made(pods=1, phases=["Succeeded"])


@ALONE
def test_a_trigger_that_moves_to_another_triggerer_cancels_nothing(stage: Stage) -> None:
    """The first one is only paused, finds its triggers taken when it wakes, and ends them."""
    airflow = stage.airflow
    run = stage.start("deferrable_once", waits(7))
    run.wait_started()
    run.wait_waiting("deferrable")
    second = airflow.add("triggerer-2", "triggerer", **airflow.other_log_port())
    os.killpg(airflow.components["triggerer"].pid, signal.SIGSTOP)
    try:
        second.start()
        airflow.wait_trigger_moved(run.dag_id, run.run_id, "task")
        os.killpg(airflow.components["triggerer"].pid, signal.SIGCONT)
        airflow.wait_heartbeat("triggerer")
        run.let_go()
        assert run.end() == "success", run.log()
    finally:
        os.killpg(airflow.components["triggerer"].pid, signal.SIGCONT)
        second.stop()
        del airflow.components["triggerer-2"]
    assert run.xcom() == {"number": 7}
    run.check_made(pods=1, phases=["Succeeded"])
