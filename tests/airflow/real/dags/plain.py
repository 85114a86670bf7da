"""Airflow alone, without a cluster: what the harness itself has to be right about."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

try:
    from airflow.sdk import DAG, BaseOperator, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models import BaseOperator

from airflow.triggers.base import BaseTrigger, TriggerEvent


class FileTrigger(BaseTrigger):
    """Fires once a file is there."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "plain.FileTrigger", {"path": self.path}  # Airflow 3 gives DAG files module names that nobody can import

    async def run(self) -> AsyncIterator[TriggerEvent]:
        while not await asyncio.to_thread(Path(self.path).exists):  # noqa: ASYNC110 (a file has no events)
            await asyncio.sleep(0.1)
        yield TriggerEvent(self.path)


class WaitForFile(BaseOperator):
    """Defers until a file is there."""

    template_fields = ("path",)

    def __init__(self, *, path: str, **more: Any) -> None:
        super().__init__(**more)
        self.path = path

    def execute(self, context: Any) -> None:
        self.defer(trigger=FileTrigger(self.path), method_name="resume")

    def resume(self, context: Any, event: str) -> str:
        return event


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

with DAG("deferrer", schedule=None):
    WaitForFile(task_id="wait", path="{{ dag_run.conf['path'] }}")
