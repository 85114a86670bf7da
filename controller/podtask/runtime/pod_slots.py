"""How many Pods may live in a namespace at once, and who is next.

A place is taken by a live Pod, and by a create from its decision on: workers decide one after another on one loop, so
no two take the same place. Who finds none waits in line, oldest task first, and is woken when a place falls free: as
many as there are places, so that a thousand waiting tasks cost nothing while one Pod ends. Nothing here is stored:
Pods come from the informer, and a task that waits says so in its status.
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


class _Turn(NamedTuple):
    """Where a task stands in line."""

    created: datetime
    name: str
    key: str
    """The task's (`identity.task_key`)."""
    namespace: str


class _Namespace:
    """The places of one namespace."""

    def __init__(self) -> None:
        self.live: set[str] = set()
        """Uids of live Pods."""
        self.creating: set[str] = set()
        """Keys of tasks whose Pod is being created, or may have been."""
        self.waiting: list[_Turn] = []
        """In order."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to keep."""
        return not (self.live or self.creating or self.waiting)


class PodSlots:
    """The places of every namespace. Without a limit nothing is kept."""

    def __init__(self, limit: int | None, wake: Callable[[str], None]) -> None:
        """`wake` is given the key of a task that may have a place now."""
        self._limit = limit
        self._wake = wake
        self._namespaces: dict[str, _Namespace] = {}
        self._turns: dict[str, _Turn] = {}
        """Of every task that creates or waits, by key."""

    def used(self, task: Task) -> int:
        """Count the places that this task cannot have: those in use, and those that older tasks wait for."""
        here = self._namespaces.get(task.metadata.namespace)
        if here is None:
            return 0
        if task.key in here.creating:
            # Who has a place keeps it, whoever lines up before them: their Pod may be there, and not known of yet.
            return len(here.live) + len(here.creating) - 1
        return len(here.live) + len(here.creating) + bisect_left(here.waiting, _turn(task))

    def pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """Follow a Pod of ours, as the informer tells of it."""
        pod = new or old
        if self._limit is None or pod is None:
            return
        if old is None:
            self._arrived(pod)
        live = self._at(pod.metadata.namespace).live
        # A Pod that was orphaned is nobody's, and may live for ever: no place waits for its end.
        if new is not None and not new.is_terminal and new.is_owned_by(new.metadata.labels[names.LABEL_TASK_UID]):
            live.add(pod.metadata.uid)
        else:
            live.discard(pod.metadata.uid)
            self._wake_next(pod.metadata.namespace)

    def rebuild(self, tasks: Iterable[Task]) -> None:
        """Begin the work: put those in line that say they wait, and forget what was under way when it last ended."""
        for here in self._namespaces.values():
            here.creating.clear()
            here.waiting.clear()
        self._turns.clear()
        for task in tasks:
            if self._limit is not None and task.status.reason == Reason.CONCURRENCY_LIMIT:
                self._stand_in_line(_turn(task))

    def update(self, task: Task, decided: plan.Plan) -> None:
        """Take, wait for, or give back a place: whatever was decided. To be called before anything else happens."""
        if self._limit is None:
            return
        turn = _turn(task)
        if decided.reserves_slot and self._is_creating(turn.key):
            return
        if any(isinstance(action, plan.CreatePod) for action in decided.actions):
            self._step_out(turn)
            self._at(turn.namespace).creating.add(turn.key)
            self._turns[turn.key] = turn
        elif decided.waits_for_slot:
            self._stand_in_line(turn)
        else:
            self.release(turn.key)

    def release(self, key: str) -> None:
        """Give back what a task has taken or waited for; the next in line is woken."""
        turn = self._turns.pop(key, None)
        if turn is not None:
            self._step_out(turn)
            self._wake_next(turn.namespace)

    def _arrived(self, pod: Pod) -> None:
        """What was being created is there: it has its place by itself while it lives, and its name is taken."""
        key = pod.task_key or ""
        if self._is_creating(key) and pod.is_owned_by(pod.metadata.labels[names.LABEL_TASK_UID]):
            self._step_out(self._turns.pop(key))

    def _is_creating(self, key: str) -> bool:
        turn = self._turns.get(key)
        return turn is not None and key in self._at(turn.namespace).creating

    def _stand_in_line(self, turn: _Turn) -> None:
        here = self._at(turn.namespace)
        gives_back = turn.key in here.creating
        self._step_out(turn)
        insort(here.waiting, turn)
        self._turns[turn.key] = turn
        if gives_back:
            self._wake_next(turn.namespace)

    def _step_out(self, turn: _Turn) -> None:
        here = self._at(turn.namespace)
        here.creating.discard(turn.key)
        place = bisect_left(here.waiting, turn)
        if here.waiting[place : place + 1] == [turn]:
            del here.waiting[place]

    def _wake_next(self, namespace: str) -> None:
        """Wake those for whom there is a place."""
        here = self._at(namespace)
        free = (self._limit or 0) - len(here.live) - len(here.creating)
        for turn in here.waiting[: max(0, free)]:
            self._wake(turn.key)
        if here.is_empty:
            del self._namespaces[namespace]

    def _at(self, namespace: str) -> _Namespace:
        return self._namespaces.setdefault(namespace, _Namespace())


def _turn(task: Task) -> _Turn:
    meta = task.metadata
    return _Turn(meta.creation_timestamp or _NO_TIME, meta.name, task.key, meta.namespace)
