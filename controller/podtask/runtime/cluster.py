"""The cache of the cluster: the informers of PodTasks and Pods, joined by namespace and the task's uid.

Each change of a task or of its Pods puts the task's key into the work queue. Ended Pods have a higher priority, so
that results are delivered before new Pods are created.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Protocol

from ..api import names
from ..core import identity
from ..core.pod import Pod
from ..core.snapshot import Task
from ..core.termination import classify_termination
from ..kube import backoff, clock
from ..kube.client import PODS, Client
from ..kube.informer import Informer
from . import decode
from .pod_slots import PodSlots
from .queue import Priority, WorkQueue

_log = logging.getLogger(__name__)


class CacheMetrics(Protocol):
    """Receives the changes of the cache, for the metrics."""

    def task_changed(self, old: Task | None, new: Task | None) -> None:
        """A task has changed; `old` is None for a new task, `new` for a deleted one."""
        ...

    def main_ended(self, uid: str) -> None:
        """The main container of a Pod of this unfinished task has ended; may be called several times for one end."""
        ...


class Cluster:
    """The tasks and their Pods, as the watches last reported them."""

    def __init__(
        self,
        api: Client,
        queue: WorkQueue[str],
        *,
        namespace: str,
        relist_seconds: float,
        running_pods_limit: int | None = None,
        max_spec_bytes: int | None = None,
        metrics: CacheMetrics | None = None,
        on_lost: Callable[[Pod], None] = lambda _: None,
        time_source: clock.Clock = clock.SYSTEM,
        jitter: backoff.Jitter = random.random,
    ) -> None:
        """Make the informers; they read nothing before `run`.

        `on_lost` is called if the watch reports the deletion of a task's Pod that has our finalizer: its label was
        removed, so that the selector no longer matches, or its finalizers were removed by force.
        """
        self._queue = queue
        self._metrics = metrics
        self._on_lost = on_lost
        self.slots = PodSlots(running_pods_limit, queue.add)
        self.pods: Informer[Pod] = Informer(
            api,
            PODS,
            decode=decode.decode_pod,
            codec=decode.POD_CODEC,
            meta=decode.pod_meta,
            index=lambda pod: pod.task_key,
            on_change=self._pod_changed,
            on_undecodable=_log_undecodable,
            namespace=namespace,
            selector=names.LABEL_TASK_UID,
            relist_seconds=relist_seconds,
            time_source=time_source,
            jitter=jitter,
        )
        self.tasks: Informer[Task] = Informer(
            api,
            decode.PODTASKS,
            decode=lambda raw: decode.decode_task(raw, max_spec_bytes),
            codec=decode.TASK_CODEC,
            meta=decode.task_meta,
            index=lambda _: None,
            on_change=self._task_changed,
            on_undecodable=_log_undecodable,
            namespace=namespace,
            relist_seconds=relist_seconds,
            time_source=time_source,
            jitter=jitter,
        )

    async def run(self) -> None:
        """Run both informers until cancelled. Pods are listed first, so that a task is never older than its Pods."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.pods.run())
            await self.pods.wait_synced()
            group.create_task(self.tasks.run())

    async def wait_synced(self) -> None:
        """Wait until both first lists are complete."""
        await self.pods.wait_synced()
        await self.tasks.wait_synced()

    def enqueue_all(self) -> None:
        """Queue every task, and every Pod whose task is deleted; ended Pods first, then tasks that have not begun."""
        for task in self.tasks.objects():
            self._queue.add(task.key, Priority.RESYNC if task.status.reason else Priority.NEW)
        for pod in self.pods.objects():
            self._enqueue_for_pod(pod, pod, Priority.RESYNC)

    def has_work(self) -> bool:
        """Return whether any task has begun and not finished."""
        return any(task.status.reason and not task.status.phase_is_terminal for task in self.tasks.objects())

    def rebuild_slots(self) -> None:
        """Queue all tasks that wait for a slot, so that the oldest gets it, whichever is reconciled first."""
        self.slots.rebuild(self.tasks.objects())

    def task(self, key: str) -> Task | None:
        """Return the task of this key (`identity.task_key`); None if it is not in the cache."""
        namespace, uid = identity.split_task_key(key)
        found = self.tasks.get(uid)
        return found if found is not None and found.metadata.namespace == namespace else None

    def is_in_other_namespace(self, key: str) -> bool:
        """Return whether the task with the key's uid exists in another namespace than the key's."""
        namespace, uid = identity.split_task_key(key)
        found = self.tasks.get(uid)
        return found is not None and found.metadata.namespace != namespace

    def pods_of(self, key: str) -> tuple[Pod, ...]:
        """Return the Pods of the task's namespace that have its uid as label."""
        return self.pods.by_index(key)

    def put_task(self, task: Task) -> None:
        """Store the reply to one of our own requests."""
        self.tasks.put(task)

    def put_pod(self, pod: Pod) -> None:
        """Store the reply to one of our own requests."""
        self.pods.put(pod)

    def _task_changed(self, old: Task | None, new: Task | None) -> None:
        task = new or old
        if task is not None:
            self._queue.add(task.key, Priority.NEW)
            if self._metrics is not None:
                self._metrics.task_changed(old, new)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        if pod is not None and pod.task_key is not None:
            self.slots.pod_changed(old, new)
            if old is not None and old.task_key not in {None, pod.task_key}:
                self._queue.add(old.task_key or "", Priority.NEW)  # the label was changed to another task's uid
            self._enqueue_for_pod(pod, new, Priority.NEW)

    def _enqueue_for_pod(self, pod: Pod, new: Pod | None, default: Priority) -> None:
        """Queue the task of a Pod: as FINISHED if its main container has ended or `new` is None, else as `default`."""
        key = pod.task_key or ""
        task = self.tasks.get(pod.metadata.labels[names.LABEL_TASK_UID])
        if task is not None and task.key != key:
            return  # the uid is that of a task of another namespace: the Pod is not one of its Pods
        if new is None and pod.has_finalizer and task is not None and not task.status.phase_is_terminal:
            self._on_lost(pod)
        container = task.spec.container_name if task else names.DEFAULT_CONTAINER
        ended = new is None or classify_termination(new, container) is not None
        if ended and self._metrics is not None and task is not None and not task.status.phase_is_terminal:
            self._metrics.main_ended(task.metadata.uid)
        self._queue.add(key, Priority.FINISHED if ended else default)


def _log_undecodable(raw: bytes, error: Exception) -> None:
    _log.error("object could not be decoded and is ignored", extra={"error": str(error), "bytes": len(raw)})
