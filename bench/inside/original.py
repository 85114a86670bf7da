"""KubernetesPodOperator's own code without a scheduler: `original.py sync|deferrable`, in the environment `kpo-…`.

One process stands for all workers, with as many threads as Airflow runs tasks by default, and for the triggerer, with
one event loop. Real workers are a process a task, so this flatters. What is left out on both ways: Airflow's scheduler,
database, templates, and logs (a simulated node has none, so `get_logs` is off). The rest is as the operator comes.
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
    """Make a task as a DAG would."""
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
    """What the operator reads of the task's context."""
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


class Played:
    """The tasks of one run."""

    def __init__(self, lines: Lines, *, deferrable: bool) -> None:
        self._lines = lines
        self._deferrable = deferrable
        self._slots = ThreadPoolExecutor(SLOTS)
        self._triggerer = asyncio.new_event_loop()
        threading.Thread(target=self._triggerer.run_forever, daemon=True).start()

    def begin(self, draw: Draw) -> None:
        """Queue a task for the next free slot."""
        self._slots.submit(self._first_leg, draw)

    def _first_leg(self, draw: Draw) -> None:
        try:
            operator(draw, deferrable=self._deferrable).execute(context(draw))
        except TaskDeferred as deferred:
            asyncio.run_coroutine_threadsafe(self._wait(draw, deferred.trigger), self._triggerer)
        except Exception as error:  # noqa: BLE001 - however a task fails, it is over
            self._failed(draw, error)
        else:
            self._lines.over(draw, succeeded=True)

    async def _wait(self, draw: Draw, trigger: Any) -> None:
        try:
            event = await anext(trigger.run())
        except Exception as error:  # noqa: BLE001
            self._failed(draw, error)
        else:
            self._slots.submit(self._second_leg, draw, event.payload)

    def _second_leg(self, draw: Draw, event: dict[str, Any]) -> None:
        # A worker that resumes a task builds its operator anew, as it is at the DAG's parsing.
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
    """Import what is imported late, as a worker that has run tasks before."""
    KubernetesHook(conn_id="kubernetes_default").core_v1_client.list_namespaced_pod("default", limit=1)


def main() -> None:
    """Play tasks until there are no more."""
    lines = Lines()
    warm_up()
    played = Played(lines, deferrable=sys.argv[1] == "deferrable")
    for draw in lines.draws():
        played.begin(draw)


if __name__ == "__main__":
    main()
