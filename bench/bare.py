"""A controller without decisions: a Pod for each PodTask, and when the Pod has ended, a status and no finalizer.

It sends PodTask's three writes with PodTask's own client and follows the same two kinds. Its costs are about the
minimum for PodTask's. It is not for use: it has no cache, retries and deadlines, and assumes that every Pod succeeds.
When the server ends a watch it lists again, which is included in its figures.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import orjson
import uvloop

from podtask.api import names
from podtask.core import identity
from podtask.kube.client import PODS, EventType, PatchType, Resource
from podtask.kube.http import HttpClient
from podtask.runtime.decode import PODTASKS
from podtask.runtime.handlers import cluster_config

_AT_ONCE = 16
_NOW = "2026-01-01T00:00:00Z"
_UNTOUCHED = frozenset({"", "Pending"})


class _Metadata(msgspec.Struct):
    name: str
    uid: str
    namespace: str
    labels: dict[str, str] = {}


class _Status(msgspec.Struct):
    phase: str = ""


class _Task(msgspec.Struct):
    metadata: _Metadata
    spec: dict[str, Any]
    status: _Status = msgspec.field(default_factory=_Status)


class _Pod(msgspec.Struct):
    metadata: _Metadata
    status: _Status


_task = msgspec.json.Decoder(_Task)
_pod = msgspec.json.Decoder(_Pod)


class Loop:
    """Creates the Pod of each new task, and finishes each task whose Pod has ended, once."""

    def __init__(self, api: HttpClient) -> None:
        """Store the client; nothing is sent before `run`."""
        self._api = api
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._known: set[str] = set()
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        """Follow both kinds until cancelled."""
        async with self._group as group:
            group.create_task(self._follow(PODTASKS, "", self._see_task))
            group.create_task(self._follow(PODS, names.LABEL_TASK_UID, self._see_pod))
            print('{"msg": "ready"}', file=sys.stderr, flush=True)

    async def _follow(self, kind: Resource, selector: str, see: Callable[[bytes], None]) -> None:
        while True:
            page = await self._api.list_page(kind, read=bytes, selector=selector, limit=0)
            for item in page.items:
                see(item)
            stream = self._api.watch(kind, selector=selector, resource_version=page.resource_version)
            async for event in stream:
                if event.type in {EventType.ADDED, EventType.MODIFIED}:
                    see(event.object)

    def _see_task(self, raw: bytes) -> None:
        task = _task.decode(raw)
        if task.status.phase in _UNTOUCHED:
            self._once(task.metadata, self._create_pod(task))

    def _see_pod(self, raw: bytes) -> None:
        pod = _pod.decode(raw)
        if pod.status.phase == "Succeeded":
            self._once(pod.metadata, self._finish(pod))

    def _once(self, metadata: _Metadata, work: Coroutine[Any, Any, None]) -> None:
        if metadata.uid in self._known:
            work.close()
            return
        self._known.add(metadata.uid)
        self._group.create_task(self._with_slot(work))

    async def _with_slot(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._slots:
            await work

    async def _create_pod(self, task: _Task) -> None:
        await self._api.create(PODS, task.metadata.namespace, orjson.dumps(pod_of(task.metadata, task.spec)))

    async def _finish(self, pod: _Pod) -> None:
        meta = pod.metadata
        name, uid = meta.labels[names.LABEL_TASK_NAME], meta.labels[names.LABEL_TASK_UID]
        body = {"metadata": {"uid": uid}, "status": status_of(meta)}
        await self._api.patch(PODTASKS, meta.namespace, name, orjson.dumps(body), PatchType.MERGE, subresource="status")
        without_finalizer = {"metadata": {"uid": meta.uid, "$deleteFromPrimitiveList/finalizers": [names.FINALIZER]}}
        await self._api.patch(PODS, meta.namespace, meta.name, orjson.dumps(without_finalizer), PatchType.STRATEGIC)


def pod_of(task: _Metadata, spec: dict[str, Any]) -> dict[str, Any]:
    """Return the Pod of a task of the bench, as large as PodTask's."""
    metadata = {
        "name": identity.pod_name(task.name, task.uid, 1),
        "labels": identity.pod_labels(task.name, task.uid, 1),
        "annotations": spec["template"]["metadata"]["annotations"],
        "finalizers": [names.FINALIZER],
        "ownerReferences": [identity.owner_reference(task.name, task.uid)],
    }
    container = {"name": spec["containerName"], "image": spec["image"], "resources": spec["resources"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }


def status_of(pod: _Metadata) -> dict[str, Any]:
    """Return the status of a succeeded task, as large as PodTask's."""
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": "Completed",
            "message": "The task has succeeded.",
            "lastTransitionTime": _NOW,
            "observedGeneration": 1,
        }
        for kind in (names.CONDITION_FINISHED, names.CONDITION_SUCCEEDED)
    ]
    attempt = {
        "number": 1,
        "podName": pod.name,
        "podUID": pod.uid,
        "nodeName": "node-1",
        "imageID": "simulated/simulated",
        "outcome": "Succeeded",
        "reason": "Completed",
        "exitCode": 0,
        "creationTime": _NOW,
        "startTime": _NOW,
        "completionTime": _NOW,
    }
    return {
        "phase": "Succeeded",
        "reason": "Completed",
        "message": "The task's container has ended.",
        "observedGeneration": 1,
        "specHash": "0" * 64,
        "startTime": _NOW,
        "completionTime": _NOW,
        "exitCode": 0,
        "attemptCount": 1,
        "attempts": [attempt],
        "conditions": conditions,
    }


async def _main() -> None:
    api = HttpClient(cluster_config())
    try:
        await Loop(api).run()
    finally:
        await api.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main())
