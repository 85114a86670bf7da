"""The systems that are compared: how each runs a task, and which process does the work.

Each creates the same Pod (one container, the same simulated life) and is measured from the creation of its object until
its user sees the result.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from cluster import Cluster
from podtask.kube import errors
from podtask.kube.client import PODS, PatchType, Resource
from podtask.kube.http import HttpClient

from . import accounts
from .draws import Draw
from .watch_recorder import WatchRecorder

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "default"
PODTASKS = Resource("/apis/podtask.dev/v1alpha1", "podtasks")
JOBS = Resource("/apis/batch/v1", "jobs")

Object = dict[str, Any]
_CONTAINER = {"name": "base", "image": "simulated", "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}}}


class System(ABC):
    """One way to run a task."""

    name: str
    kind: Resource | None
    """The kind of its tasks; None where a task is no object but its Pod."""
    cluster_arguments: Mapping[str, Sequence[str]] = MappingProxyType({})
    """More arguments, by program of the cluster."""

    @abstractmethod
    async def submit(self, api: HttpClient, draw: Draw, *, ttl: int | None = None, attempts: int = 1) -> None:
        """Create one task with at most `attempts` Pods, deleted `ttl` seconds after its end (None: by default)."""

    @abstractmethod
    async def start(self, cluster: Cluster) -> int | None:
        """Start the system's process; return its pid, or None where it has none."""

    async def stop(self) -> None:
        """Stop what `start` started."""
        return

    def attach(self, recorder: WatchRecorder) -> None:  # noqa: ARG002
        """Take the recorder, for times that no object shows."""
        return


class ObjectSystem(System):
    """A system whose tasks are objects of their own."""

    kind: Resource

    @abstractmethod
    def task(self, draw: Draw, *, ttl: int | None, attempts: int) -> Object:
        """Return the object of one task."""

    async def submit(self, api: HttpClient, draw: Draw, *, ttl: int | None = None, attempts: int = 1) -> None:
        await create(api, self.kind, self.task(draw, ttl=ttl, attempts=attempts))


_AS_IN_THE_IMAGE = """
import sys
sys.modules["kubernetes"] = None
from podtask.__main__ import main
sys.exit(main())
"""
"""The client of the tests is not in the image, and kopf imports it where it is installed: 20 MiB."""


class PodTasks(ObjectSystem):
    """PodTask's controller."""

    name = "PodTask"
    kind = PODTASKS
    program: Sequence[str] = ("-c", _AS_IN_THE_IMAGE, "--live-read-seconds=0", "--http-port=0", "--metrics-port=0")

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._kubeconfig: Path | None = None

    def task(self, draw: Draw, *, ttl: int | None, attempts: int) -> Object:
        spec: Object = {
            "containerName": "base",
            "image": "simulated",
            "resources": _CONTAINER["resources"],
            "template": {"metadata": {"annotations": draw.annotations}},
        }
        if attempts > 1:
            spec |= {"backoffLimit": attempts - 1, "backoff": {"initialSeconds": 1, "maxSeconds": 1}}
        if ttl is not None:
            spec["ttlSecondsAfterFinished"] = ttl
        return {
            "apiVersion": "podtask.dev/v1alpha1",
            "kind": "PodTask",
            "metadata": {"name": f"load-{draw.index}"},
            "spec": spec,
        }

    async def finish(self, api: HttpClient, draw: Draw, result: str) -> None:
        """Write the status of a finished task as the controller does, which must not run meanwhile."""
        now = datetime.now(UTC).isoformat()
        condition = {
            "type": "Finished",
            "status": "True",
            "reason": "Completed",
            "message": "The task has ended.",
            "lastTransitionTime": now,
        }
        status: Object = {
            "observedGeneration": 1,
            "phase": "Succeeded",
            "reason": "Completed",
            "completionTime": now,
            "conditions": [condition],
            "xcom": {"state": "Collected", "value": result, "sizeBytes": len(result)},
        }
        body = orjson.dumps({"status": status})
        await api.patch(PODTASKS, NAMESPACE, f"load-{draw.index}", body, PatchType.MERGE, subresource="status")

    async def start(self, cluster: Cluster) -> int:
        self._kubeconfig = self._kubeconfig or await asyncio.to_thread(accounts.of_the_chart, cluster)
        environment = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "controller", ROOT))),
            "MALLOC_TRIM_THRESHOLD_": "131072",  # as in the image
        }
        log = Path(tempfile.mkdtemp()) / "controller.log"
        command = [sys.executable, *self.program]
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, env=environment, stderr=out)  # noqa: ASYNC220 - nothing else runs yet
        async with asyncio.timeout(300):
            while b'"msg": "ready"' not in log.read_bytes():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.02)
        return self._process.pid

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, 20)
            self._process = None


class Loop(PodTasks):
    """PodTask's writes without its decisions (`bench.bare`): about the minimum of CPU and latency for a controller."""

    name = "Loop without decisions"
    program = ("-m", "bench.bare")

    def task(self, draw: Draw, *, ttl: int | None, attempts: int) -> Object:
        assert ttl is None
        assert attempts == 1, "it creates no second Pod"
        return super().task(draw, ttl=ttl, attempts=attempts)


class Jobs(ObjectSystem):
    """Kubernetes' Job controller with its default limit of 20 requests per second, in the controller manager."""

    name = "Job"
    kind = JOBS

    def __init__(self) -> None:
        self._cluster: Cluster | None = None

    def task(self, draw: Draw, *, ttl: int | None, attempts: int) -> Object:
        pod = {"containers": [_CONTAINER], "restartPolicy": "Never"}
        spec: Object = {
            "backoffLimit": attempts - 1,
            "template": {"metadata": {"annotations": draw.annotations}, "spec": pod},
        }
        if ttl is not None:
            spec["ttlSecondsAfterFinished"] = ttl
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"load-{draw.index}"}, "spec": spec}

    async def start(self, cluster: Cluster) -> int:
        self._cluster = cluster
        await asyncio.to_thread(cluster.wait_ready)
        return cluster.pid("controller-manager")

    async def stop(self) -> None:
        if self._cluster is not None:
            await asyncio.to_thread(self._cluster.stop, "controller-manager")


class UnthrottledJobs(Jobs):
    """The Job controller without its client's rate limit, and with as many workers as PodTask."""

    name = "Job, unthrottled"
    cluster_arguments = MappingProxyType(
        {"controller-manager": ("--kube-api-qps=5000", "--kube-api-burst=5000", "--concurrent-job-syncs=64")}
    )


class Pods(System):
    """Pods without owner, finalizer and controller: the most that any system can reach on this machine."""

    name = "Pod alone"
    kind = None

    def __init__(self) -> None:
        self._recorder: WatchRecorder | None = None

    async def submit(self, api: HttpClient, draw: Draw, *, ttl: int | None = None, attempts: int = 1) -> None:
        assert self._recorder is not None
        assert ttl is None
        assert attempts == 1, "no controller would create a second Pod"
        self._recorder.record(str(draw.index), "task", time.monotonic())
        metadata = {
            "name": f"load-{draw.index}",
            "labels": {"load": str(draw.index)},
            "annotations": draw.annotations,
        }
        pod = {"containers": [_CONTAINER], "restartPolicy": "Never"}
        await create(api, PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})

    async def start(self, cluster: Cluster) -> None:  # noqa: ARG002
        return

    def attach(self, recorder: WatchRecorder) -> None:
        self._recorder = recorder
        recorder.over_with_pod = True


async def create(api: HttpClient, kind: Resource, body: Object) -> None:
    """Create an object; repeat where the reply was lost and the object does not exist."""
    data = orjson.dumps(body)
    while True:
        try:
            await api.create(kind, NAMESPACE, data)
        except errors.ReplyLost:
            with suppress(errors.NotFound):
                await api.get(kind, NAMESPACE, body["metadata"]["name"])
                return
        except errors.Conflict:
            return
        else:
            return
