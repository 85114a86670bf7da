"""The systems that are Airflow's own code: processes in Airflow's environment that run a program of bench/inside.

Their cost is the CPU of the process and its children. A real worker starts an Airflow for every task, which is left
out, as are scheduler and database. So an installation has higher figures.
"""

import asyncio
import json
import os
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path

from airflows import environments, versions
from cluster import Cluster
from podtask.kube.http import HttpClient

from . import accounts
from .draws import Draw
from .systems import ROOT, System
from .watch_recorder import WatchRecorder

ENVIRONMENT = "kpo-3.3.2"
INSIDE = ROOT / "bench/inside"
START_SECONDS = 180.0

POD_TEMPLATE = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "template"},
    "spec": {
        "restartPolicy": "Never",
        "containers": [
            {"name": "base", "image": "simulated", "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}}}
        ],
    },
}


class Peer(System):
    """One process that reads tasks as JSON lines and writes a line when a task has ended."""

    kind = None
    command: Sequence[str]

    def __init__(self) -> None:
        self._process: Process | None = None
        self._recorder: WatchRecorder | None = None
        self._reader: asyncio.Task[None] | None = None
        self._log = Path(os.devnull)
        self.failed = 0

    async def submit(self, api: HttpClient, draw: Draw, *, ttl: int | None = None, attempts: int = 1) -> None:  # noqa: ARG002
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._recorder is not None
        assert ttl is None
        assert attempts == 1, "retries are Airflow's, which does not take part"
        self._recorder.record(str(draw.index), "task", time.monotonic())
        self._process.stdin.write(json.dumps({"index": draw.index, "annotations": draw.annotations}).encode() + b"\n")
        await self._process.stdin.drain()

    async def start(self, cluster: Cluster) -> int:
        environment = versions.find(ENVIRONMENT)
        await asyncio.to_thread(environments.ensure, environment)
        kubeconfig = await asyncio.to_thread(accounts.of_admin, cluster, "default", "peer")
        home = Path(tempfile.mkdtemp(prefix="podtask-peer-"))
        self._log = home / "peer.log"
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                environments.python(environment),
                *self.command,
                cwd=INSIDE,
                env=_variables(kubeconfig, home),
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            ready = await self._process.stdout.readline()
        assert ready, f"{self.name} ended: {self._tail()}"
        return self._process.pid

    def attach(self, recorder: WatchRecorder) -> None:
        self._recorder = recorder
        self._reader = asyncio.create_task(self._read())

    async def stop(self) -> None:
        """Close its input, which ends it; kill it if a process of its own keeps it from ending."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(180):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if self._reader is not None:
            await self._reader
        self._process = None

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._recorder is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            self.failed += not message["succeeded"]
            self._recorder.record(str(message["index"]), "over", message["over"])
        self._recorder.abort_wait(f"{self.name} ended: {self._tail()}")

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


class Kpo(Peer):
    """KubernetesPodOperator, up to 32 tasks at a time with a thread for each."""

    name = "KubernetesPodOperator"
    command = ("kpo.py", "sync")


class KpoDeferrable(Peer):
    """KubernetesPodOperator, deferrable: `execute` and `trigger_reentry` in 32 threads, triggers on one event loop."""

    name = "KubernetesPodOperator, deferrable"
    command = ("kpo.py", "deferrable")


class ExecutorPods(Peer):
    """KubernetesExecutor: a Pod for each task, and one watch."""

    name = "KubernetesExecutor"
    command = ("executor.py",)


def _variables(kubeconfig: Path, home: Path) -> dict[str, str]:
    template = home / "pod.json"
    template.write_text(json.dumps(POD_TEMPLATE))
    dropped = ("AIRFLOW", "PYTHON", "KUBE", "PODTASK_", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    extra = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(kubeconfig)}}
    return kept | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(extra),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__KUBERNETES_EXECUTOR__IN_CLUSTER": "False",
        "AIRFLOW__KUBERNETES_EXECUTOR__CONFIG_FILE": str(kubeconfig),
        "AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE": str(template),
        "AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE": "default",
        "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY": "simulated",
        "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_TAG": "dev",
        "AIRFLOW__KUBERNETES_EXECUTOR__ASYNC_POD_CREATION": "True",
        "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_PODS_CREATION_BATCH_SIZE": "16",
        "NO_PROXY": "*",
    }
