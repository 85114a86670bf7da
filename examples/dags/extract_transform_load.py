"""Values in and out of a container: extract in Airflow, transform in a Pod, load in Airflow again.

The Pod gets its input through its environment, from XCom by a template, and leaves its result in
/airflow/xcom/return.json, which becomes the task's own XCom.
"""

import random
from typing import Any

from podtask_airflow import PodTaskOperator

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task


def extract_transform_load(dag_id: str, *, deferrable: bool) -> DAG:
    """Make the DAG."""
    with DAG(
        dag_id,
        description="A number, times 23, and into the log",
        schedule=None,
        params={"image": "localhost/podtask/multiply:dev", "namespace": "default"},
        tags=["podtask", "example"],
    ) as dag:

        @task
        def extract() -> int:
            """Stand for a query of a database."""
            return random.randint(0, 100)  # noqa: S311

        transform = PodTaskOperator(
            task_id="transform",
            kubernetes_conn_id="kubernetes_default",
            in_cluster=False,
            namespace="{{ params.namespace }}",
            image="{{ params.image }}",
            name="transform",
            env_vars={"DATA_POINT": "{{ ti.xcom_pull(task_ids='extract', key='return_value') }}"},
            do_xcom_push=True,
            get_logs=True,
            log_events_on_failure=True,
            deferrable=deferrable,
        )

        @task
        def load(**context: Any) -> int:
            """Stand for a write to a warehouse."""
            transformed = context["ti"].xcom_pull(task_ids="transform", key="return_value")
            print("the number is now", transformed["return_value"])
            return int(transformed["return_value"])

        extract() >> transform >> load()
    return dag


extract_transform_load("extract_transform_load", deferrable=False)
extract_transform_load("extract_transform_load_deferrable", deferrable=True)
