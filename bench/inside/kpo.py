"""KubernetesPodOperator's own code without a scheduler: `kpo.py sync|deferrable`, in the environment `kpo-…`.

One process replaces all workers, with as many threads as Airflow runs tasks by default, and the triggerer, with one
event loop. A real worker starts a process per task, so these figures are favourable. Left out in both modes: Airflow's
scheduler, database, templates, and logs (a simulated node has none, so `get_logs` is off). Other arguments have their
defaults.
"""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import TaskDeferred
from kubernetes.client import models as k8s
from lines import Draw, Lines

SLOTS = 32
"""Airflow's default `parallelism`."""
RESOURCES = k8s.V1ResourceRequirements(requests={"cpu": "1m", "memory": "1Mi"})


def operator(draw: Draw, *, deferrable: bool) -> KubernetesPodOperator:
    """Return the operator as a DAG would create it."""
    return KubernetesPodOperator(
        task_id=f"load-{draw['index']}",
        kubernetes_conn_id="kubernetes_default",
        namespace="default",
        image="simulated",
        annotations=draw["annotations"],
        labels={"load": str(draw["index"])},
        container_resources=RESOURCES,
        get_logs=False,
        do_xcom_push=False,
        deferrable=deferrable,
    )


def context(draw: Draw) -> Any:
    """Return the parts of the task's context that the operator reads."""
    ti = SimpleNamespace(
        dag_id="load",
        task_id=f"load-{draw['index']}",
        run_id="bench",
        map_index=-1,
        try_number=1,
        start_date=datetime.now(UTC),
        xcom_push=lambda **_: None,
    )
    return {"ti": ti, "task_instance": ti, "run_id": "bench", "dag": SimpleNamespace()}


class Worker:
    """Runs the tasks of one run, in threads and an event loop."""

    def __init__(self, lines: Lines, *, deferrable: bool) -> None:
        self._lines = lines
        self._deferrable = deferrable
        self._slots = ThreadPoolExecutor(SLOTS)
        self._triggerer = asyncio.new_event_loop()
        threading.Thread(target=self._triggerer.run_forever, daemon=True).start()

    def submit(self, draw: Draw) -> None:
        """Queue a task for the next free slot."""
        self._slots.submit(self._execute, draw)

    def _execute(self, draw: Draw) -> None:
        try:
            operator(draw, deferrable=self._deferrable).execute(context(draw))
        except TaskDeferred as deferred:
            asyncio.run_coroutine_threadsafe(self._wait(draw, deferred.trigger), self._triggerer)
        except Exception as error:  # noqa: BLE001 - a task that failed is over too
            self._failed(draw, error)
        else:
            self._lines.over(draw, succeeded=True)

    async def _wait(self, draw: Draw, trigger: Any) -> None:
        try:
            event = await anext(trigger.run())
        except Exception as error:  # noqa: BLE001
            self._failed(draw, error)
        else:
            self._slots.submit(self._resume, draw, event.payload)

    def _resume(self, draw: Draw, event: dict[str, Any]) -> None:
        # A worker that resumes a task parses the DAG again, and so has a new operator.
        try:
            operator(draw, deferrable=True).trigger_reentry(context(draw), event)
        except Exception as error:  # noqa: BLE001
            self._failed(draw, error)
        else:
            self._lines.over(draw, succeeded=True)

    def _failed(self, draw: Draw, error: Exception) -> None:
        print(f"{draw['index']}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        self._lines.over(draw, succeeded=False)


def warm_up() -> None:
    """Load the modules that are imported lazily, as in a worker that has run tasks before."""
    KubernetesHook(conn_id="kubernetes_default").core_v1_client.list_namespaced_pod("default", limit=1)


def main() -> None:
    """Run tasks until the input ends."""
    lines = Lines()
    warm_up()
    worker = Worker(lines, deferrable=sys.argv[1] == "deferrable")
    for draw in lines.draws():
        worker.submit(draw)


if __name__ == "__main__":
    main()
