"""Airflow alone, without a cluster: what the harness itself has to be right about."""

import time
from pathlib import Path
from typing import Any

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

with DAG("plain", schedule=None):

    @task
    def add(**context: Any) -> dict[str, Any]:
        print("adding", context["dag_run"].conf)
        return {"sum": sum(context["dag_run"].conf["numbers"]), "nothing": None}

    add()

with DAG("sleeper", schedule=None):

    @task(retries=1, retry_delay=1)
    def sleep(**context: Any) -> int:
        Path(context["dag_run"].conf["path"]).touch()
        time.sleep(600 if context["ti"].try_number == 1 else 0)
        return int(context["ti"].try_number)

    sleep()
