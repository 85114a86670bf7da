"""The harness itself, on Airflow alone: what every other test here takes for granted."""

import os
import signal
from pathlib import Path

from tests.harness.airflow import Airflow


def test_a_run_has_a_state_a_result_with_nulls_and_a_log(airflow: Airflow) -> None:
    run = airflow.api.run_to_end("plain", numbers=[1, 2])
    assert run.state == "success"
    assert airflow.api.xcom("plain", run.run_id, "add") == {"sum": 3, "nothing": None}
    assert "adding {'numbers': [1, 2]}" in airflow.api.log("plain", run.run_id, "add", 1)


def test_the_recorded_process_is_the_one_to_kill(airflow: Airflow, tmp_path: Path) -> None:
    run = airflow.api.trigger("sleeper", path=str(tmp_path / "began"))
    os.kill(airflow.task_pid("sleeper", run, "sleep"), signal.SIGKILL)
    assert airflow.api.wait_run("sleeper", run).state == "success"
    assert airflow.api.xcom("sleeper", run, "sleep") == 2
