"""KubernetesExecutor's Kubernetes half without Airflow's scheduler: one Pod for each task, and its own watcher.

AirflowKubernetesScheduler creates the Pods (16 at a time with its async client, its fastest way), and
KubernetesJobWatcher, a process, follows them. Finished Pods are deleted, as the executor does by default.
Left out: Airflow's scheduler, its database, and the Airflow that would start in each Pod.
"""

import queue
import threading
import time
from typing import Any

from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.providers.cncf.kubernetes.executors.kubernetes_executor_types import KubernetesJob
from airflow.providers.cncf.kubernetes.executors.kubernetes_executor_utils import AirflowKubernetesScheduler
from airflow.providers.cncf.kubernetes.kube_client import get_kube_client
from airflow.providers.cncf.kubernetes.kube_config import KubeConfig
from airflow.utils.state import TaskInstanceState
from kubernetes.client import models as k8s
from lines import Draw, Lines

COMMAND = ["airflow", "tasks", "run", "load"]
IDLE_SECONDS = 0.05
"""Pause without work; Airflow's own loop pauses for a second."""


def job(draw: Draw) -> KubernetesJob:
    """Return what the executor would queue for a task."""
    labels = {"load": str(draw["index"])}
    pod = k8s.V1Pod(metadata=k8s.V1ObjectMeta(annotations=draw["annotations"], labels=labels))
    key = TaskInstanceKey("load", f"load-{draw['index']}", "bench", 1, -1)
    return KubernetesJob(key, COMMAND, pod, None)


def read(lines: Lines, wanted: "queue.SimpleQueue[Draw | None]") -> None:
    """Queue the tasks that the bench sends, then None."""
    for draw in lines.draws():
        wanted.put(draw)
    wanted.put(None)


def next_batch(wanted: "queue.SimpleQueue[Draw | None]", size: int) -> list[Draw | None]:
    """Return up to `size` queued tasks without waiting; None among them is the end."""
    found: list[Draw | None] = []
    while len(found) < size:
        try:
            found.append(wanted.get_nowait())
        except queue.Empty:
            break
    return found


def finish(lines: Lines, scheduler: AirflowKubernetesScheduler, results: Any, running: dict[str, Draw]) -> bool:
    """Handle the watcher's results as the executor does; return whether there were any."""
    scheduler.sync()
    handled = False
    while not results.empty():
        result = results.get()
        if result.state != TaskInstanceState.FAILED:  # by default failed Pods stay
            scheduler.delete_pod(pod_name=result.pod_name, namespace=result.namespace)
        draw = running.pop(result.key.task_id, None)
        if draw is not None:  # the watcher reports the deletion too
            lines.over(draw, succeeded=result.state is None)
        handled = True
    return handled


def main() -> None:
    """Run tasks until the input ends."""
    lines = Lines()
    config = KubeConfig()
    results: queue.Queue[Any] = queue.Queue()
    scheduler = AirflowKubernetesScheduler(config, results, get_kube_client(), "1")
    wanted: queue.SimpleQueue[Draw | None] = queue.SimpleQueue()
    threading.Thread(target=read, args=(lines, wanted), daemon=True).start()
    running: dict[str, Draw] = {}
    is_ended = False
    while not is_ended:
        batch = next_batch(wanted, config.worker_pods_creation_batch_size)
        is_ended = None in batch
        todo = [draw for draw in batch if draw is not None]
        running |= {f"load-{draw['index']}": draw for draw in todo}
        for (_, error), draw in zip(scheduler.run_next_batch([job(draw) for draw in todo]), todo, strict=True):
            if error is not None:
                raise RuntimeError(f"no Pod for {draw['index']}") from error
        if not finish(lines, scheduler, results, running) and not batch:
            time.sleep(IDLE_SECONDS)
    scheduler.terminate()


if __name__ == "__main__":
    main()
