"""Limit on the live Pods of a namespace (`--policy-max-running-pods`), and the queue of tasks that wait for a slot.

A live Pod uses a slot, and so does a create from the moment that it is decided. All workers share one event loop, and
a slot is reserved before the first await, so two workers never reserve the same one. A task that finds no free slot
waits. Waiting tasks are ordered by creationTimestamp; when n slots are free, the first n are re-queued and no more, so
that the end of one Pod does not wake a thousand tasks. Nothing is stored: Pods come from the informer, and a waiting
task has the reason ConcurrencyLimit in its status.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from ..api import names
from ..api.reasons import Reason
from ..core import plan
from ..core.pod import Pod
from ..core.snapshot import Task

_NO_TIME = datetime.min.replace(tzinfo=UTC)


class _SlotRequest(NamedTuple):
    """A task that needs a slot. The order of the fields is the order of the waiting tasks."""

    created: datetime
    name: str
    key: str
    """The task's key (`identity.task_key`)."""
    namespace: str


class _Namespace:
    """The slots of one namespace."""

    def __init__(self) -> None:
        self.live: set[str] = set()
        """Uids of live Pods."""
        self.creating: set[str] = set()
        """Keys of tasks whose Pod is being created, or whose create has an unknown outcome."""
        self.waiting: list[_SlotRequest] = []
        """Sorted, oldest task first."""

    @property
    def is_empty(self) -> bool:
        """Whether this object holds nothing and can be dropped."""
        return not (self.live or self.creating or self.waiting)


class PodSlots:
    """The slots of every namespace. Without a limit, nothing is kept."""

    def __init__(self, limit: int | None, wake: Callable[[str], None]) -> None:
        """`wake` is called with the key of each task that a slot may be free for."""
        self._limit = limit
        self._wake = wake
        self._namespaces: dict[str, _Namespace] = {}
        self._requests: dict[str, _SlotRequest] = {}
        """The tasks that are creating their Pod or wait, by key."""

    def used(self, task: Task) -> int:
        """Return how many slots this task cannot have: those in use, and those that older tasks wait for."""
        slots = self._namespaces.get(task.metadata.namespace)
        if slots is None:
            return 0
        if task.key in slots.creating:
            # A reserved slot is kept even if an older task begins to wait: the Pod may exist and not be in the cache.
            return len(slots.live) + len(slots.creating) - 1
        return len(slots.live) + len(slots.creating) + bisect_left(slots.waiting, _slot_request(task))

    def pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """Update the slots for a change from the informer: `old` is None for a new Pod, `new` for a deleted one."""
        pod = new or old
        if self._limit is None or pod is None:
            return
        if old is None:
            self._pod_appeared(pod)
        live = self._slots_of(pod.metadata.namespace).live
        # An orphaned Pod belongs to no task and may run without an end, so it uses no slot.
        if new is not None and not new.is_terminal and new.is_owned_by(new.metadata.labels[names.LABEL_TASK_UID]):
            live.add(pod.metadata.uid)
        else:
            live.discard(pod.metadata.uid)
            self._wake_next(pod.metadata.namespace)

    def rebuild(self, tasks: Iterable[Task]) -> None:
        """Queue the tasks whose status says that they wait, and drop the creates of an earlier term as leader."""
        for slots in self._namespaces.values():
            slots.creating.clear()
            slots.waiting.clear()
        self._requests.clear()
        for task in tasks:
            if self._limit is not None and task.status.reason == Reason.CONCURRENCY_LIMIT:
                self._enqueue(_slot_request(task))

    def update(self, task: Task, decided: plan.Plan) -> None:
        """Reserve a slot, wait for one or release it, as the plan needs. Call it before the first await."""
        if self._limit is None:
            return
        request = _slot_request(task)
        if decided.reserves_slot and self._is_creating(request.key):
            return
        if any(isinstance(action, plan.CreatePod) for action in decided.actions):
            self._remove(request)
            self._slots_of(request.namespace).creating.add(request.key)
            self._requests[request.key] = request
        elif decided.waits_for_slot:
            self._enqueue(request)
        else:
            self.release(request.key)

    def release(self, key: str) -> None:
        """Release the slot that a task has reserved or waits for, and wake the tasks that can have a slot now."""
        request = self._requests.pop(key, None)
        if request is not None:
            self._remove(request)
            self._wake_next(request.namespace)

    def _pod_appeared(self, pod: Pod) -> None:
        """Drop the reservation of a create whose Pod is in the cache: while it lives, the Pod uses the slot itself."""
        key = pod.task_key or ""
        if self._is_creating(key) and pod.is_owned_by(pod.metadata.labels[names.LABEL_TASK_UID]):
            self._remove(self._requests.pop(key))

    def _is_creating(self, key: str) -> bool:
        request = self._requests.get(key)
        return request is not None and key in self._slots_of(request.namespace).creating

    def _enqueue(self, request: _SlotRequest) -> None:
        slots = self._slots_of(request.namespace)
        frees_slot = request.key in slots.creating
        self._remove(request)
        insort(slots.waiting, request)
        self._requests[request.key] = request
        if frees_slot:
            self._wake_next(request.namespace)

    def _remove(self, request: _SlotRequest) -> None:
        slots = self._slots_of(request.namespace)
        slots.creating.discard(request.key)
        index = bisect_left(slots.waiting, request)
        if slots.waiting[index : index + 1] == [request]:
            del slots.waiting[index]

    def _wake_next(self, namespace: str) -> None:
        """Wake as many waiting tasks as there are free slots."""
        slots = self._slots_of(namespace)
        free = (self._limit or 0) - len(slots.live) - len(slots.creating)
        for request in slots.waiting[: max(0, free)]:
            self._wake(request.key)
        if slots.is_empty:
            del self._namespaces[namespace]

    def _slots_of(self, namespace: str) -> _Namespace:
        return self._namespaces.setdefault(namespace, _Namespace())


def _slot_request(task: Task) -> _SlotRequest:
    meta = task.metadata
    return _SlotRequest(meta.creation_timestamp or _NO_TIME, meta.name, task.key, meta.namespace)
