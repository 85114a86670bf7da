"""DAGs of one task each, whose script and namespace come with the run: the tests say what the container does.

With PODTASK_TEST_OPERATOR=original the same DAGs are made of the KubernetesPodOperator that ours replaces.
"""

import datetime as dt
import os
from collections.abc import Callable
from typing import Any

if os.environ.get("PODTASK_TEST_OPERATOR") == "original":
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator as PodTaskOperator
else:
    from podtask_airflow import PodTaskOperator

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

IMAGE = "localhost/podtask/python:dev"
RETRIES = 2


def arguments(*, deferrable: bool, retries: int, **more: Any) -> dict[str, Any]:
    """What all tasks have in common."""
    return {
        "task_id": "task",
        "kubernetes_conn_id": "kubernetes_default",
        "namespace": "{{ dag_run.conf['namespace'] }}",
        "image": IMAGE,
        "cmds": ["sh", "-c"],
        "do_xcom_push": True,
        "deferrable": deferrable,
        "retries": retries,
        "retry_delay": dt.timedelta(seconds=1),
        "startup_timeout_seconds": 600,
        **more,
    }


def one(dag_id: str, **more: Any) -> None:
    """Make a DAG of one task."""
    with DAG(dag_id, schedule=None):
        PodTaskOperator(**arguments(arguments=["{{ dag_run.conf['script'] }}"], **more))


def fail_second_try(context: Any) -> None:
    """Let a try end before the operator's own code begins."""
    if context["ti"].try_number == 2:
        raise RuntimeError("this try gets nowhere")


def expect_the_trigger_within(seconds: int) -> Callable[[Any], None]:
    """Let this task's process bound the time until its trigger runs by seconds instead of a day."""

    def bound(_: Any) -> None:
        os.environ["AIRFLOW__PODTASK__UNATTENDED_SECONDS"] = str(seconds)

    return bound


def mapped(dag_id: str, *, deferrable: bool, do_xcom_push: bool = True) -> None:
    """Make a DAG of as many tasks as the run asks for; each has its own result."""
    with DAG(dag_id, schedule=None, max_active_tasks=400):

        @task
        def scripts(**context: Any) -> list[list[str]]:
            conf = context["dag_run"].conf
            return [[conf["script"].replace("NUMBER", str(number))] for number in range(conf["count"])]

        common = arguments(deferrable=deferrable, retries=conf_retries(), do_xcom_push=do_xcom_push)
        PodTaskOperator.partial(**common).expand(arguments=scripts())


def conf_retries() -> int:
    """Enough for chaos, which may hit the same task again and again."""
    return int(os.environ.get("PODTASK_TEST_MAPPED_RETRIES", "30"))


for name, is_deferrable in (("sync", False), ("deferrable", True)):
    one(f"{name}_once", deferrable=is_deferrable, retries=0)
    one(f"{name}_retries", deferrable=is_deferrable, retries=RETRIES)
    mapped(f"{name}_mapped", deferrable=is_deferrable)
    mapped(f"{name}_mapped_without_xcom", deferrable=is_deferrable, do_xcom_push=False)
one("sync_timeout", deferrable=False, retries=0, execution_timeout=dt.timedelta(seconds=60))
one("sync_lost_try", deferrable=False, retries=RETRIES, pre_execute=fail_second_try)
one("deferrable_bounded", deferrable=True, retries=0, pre_execute=expect_the_trigger_within(16))
one("deferrable_bounded_later", deferrable=True, retries=0, pre_execute=expect_the_trigger_within(90))
