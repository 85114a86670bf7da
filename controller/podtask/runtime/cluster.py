"""The live copy of the cluster: the informers of PodTasks and Pods, joined by namespace and the task's uid.

A change of either wakes the task it belongs to. What has ended comes first, so that results are delivered before new
work is begun.
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


class Observer(Protocol):
    """Hears of changes, for the metrics."""

    def task_changed(self, old: Task | None, new: Task | None) -> None:
        """A task was like this, and is now like that; None where it was not there, or is gone."""
        ...

    def main_ended(self, uid: str) -> None:
        """The main container of a Pod of this task has ended, and the task is not over; may be said again."""
        ...


class Cluster:
    """What the API server has said about tasks and their Pods."""

    def __init__(
        self,
        api: Client,
        queue: WorkQueue[str],
        *,
        namespace: str,
        relist_seconds: float,
        running_pods_limit: int | None = None,
        max_spec_bytes: int | None = None,
        observer: Observer | None = None,
        on_lost: Callable[[Pod], None] = lambda _: None,
        time_source: clock.Clock = clock.SYSTEM,
        jitter: backoff.Jitter = random.random,
    ) -> None:
        """Nothing is read before `run`.

        `on_lost` is called where the watch reports the end of a task's Pod that our finalizer holds: its label was
        removed, and it is out of the watch's sight, or its finalizers were removed by force.
        """
        self._queue = queue
        self._observer = observer
        self._on_lost = on_lost
        self.slots = PodSlots(running_pods_limit, queue.add)
        self.pods: Informer[Pod] = Informer(
            api,
            PODS,
            decode=decode.decode_pod,
            codec=decode.PODS_HELD,
            meta=decode.pod_meta,
            index=lambda pod: pod.task_key,
            on_change=self._pod_changed,
            on_undecodable=_report_undecodable,
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
            codec=decode.TASKS_HELD,
            meta=decode.task_meta,
            index=lambda _: None,
            on_change=self._task_changed,
            on_undecodable=_report_undecodable,
            namespace=namespace,
            relist_seconds=relist_seconds,
            time_source=time_source,
            jitter=jitter,
        )

    async def run(self) -> None:
        """Follow both kinds until cancelled. Pods are listed first: a task is then never older than its Pods."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.pods.run())
            await self.pods.wait_synced()
            group.create_task(self.tasks.run())

    async def wait_synced(self) -> None:
        """Return once both first lists are complete."""
        await self.pods.wait_synced()
        await self.tasks.wait_synced()

    def wake_all(self) -> None:
        """Have every task looked at that there is, or of which a Pod is left: first what has ended or not begun."""
        for task in self.tasks.objects():
            self._queue.add(task.key, Priority.RESYNC if task.status.reason else Priority.NEW)
        for pod in self.pods.objects():
            self._wake_for(pod, pod, Priority.RESYNC)

    def has_work(self) -> bool:
        """Whether any task has been begun and is not over."""
        return any(task.status.reason and not task.status.phase_is_terminal for task in self.tasks.objects())

    def rebuild(self) -> None:
        """Put every task in line that waits for a place, so that the oldest is next whichever is looked at first."""
        self.slots.rebuild(self.tasks.objects())

    def task(self, key: str) -> Task | None:
        """Give the task of this key (`identity.task_key`)."""
        namespace, uid = identity.split_task_key(key)
        found = self.tasks.get(uid)
        return found if found is not None and found.metadata.namespace == namespace else None

    def is_elsewhere(self, key: str) -> bool:
        """Whether the task of this uid lives in another namespace than the key says."""
        namespace, uid = identity.split_task_key(key)
        found = self.tasks.get(uid)
        return found is not None and found.metadata.namespace != namespace

    def pods_of(self, key: str) -> tuple[Pod, ...]:
        """Give the Pods in the task's namespace that say they belong to it."""
        return self.pods.by_index(key)

    def put_task(self, task: Task) -> None:
        """Take in the reply to a write of our own."""
        self.tasks.put(task)

    def put_pod(self, pod: Pod) -> None:
        """Take in the reply to a write of our own."""
        self.pods.put(pod)

    def _task_changed(self, old: Task | None, new: Task | None) -> None:
        task = new or old
        if task is not None:
            self._queue.add(task.key, Priority.NEW)
            if self._observer is not None:
                self._observer.task_changed(old, new)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        if pod is not None and pod.task_key is not None:
            self.slots.pod_changed(old, new)
            if old is not None and old.task_key not in {None, pod.task_key}:
                self._queue.add(old.task_key or "", Priority.NEW)  # whose label was changed to another task's
            self._wake_for(pod, new, Priority.NEW)

    def _wake_for(self, pod: Pod, new: Pod | None, unended: Priority) -> None:
        key = pod.task_key or ""
        task = self.tasks.get(pod.metadata.labels[names.LABEL_TASK_UID])
        if task is not None and task.key != key:
            return  # it names a task of another namespace, and is none of its Pods
        if new is None and pod.has_finalizer and task is not None and not task.status.phase_is_terminal:
            self._on_lost(pod)
        container = task.spec.container_name if task else names.DEFAULT_CONTAINER
        ended = new is None or classify_termination(new, container) is not None
        if ended and self._observer is not None and task is not None and not task.status.phase_is_terminal:
            self._observer.main_ended(task.metadata.uid)
        self._queue.add(key, Priority.FINISHED if ended else unended)


def _report_undecodable(raw: bytes, error: Exception) -> None:
    _log.error("an object cannot be understood and is left alone", extra={"error": str(error), "bytes": len(raw)})
