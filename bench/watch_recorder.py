"""Records when a change of a task or Pod arrives on a watch, with the clock of one process.

Times in the objects are whole seconds of several clocks, and for a client the arrival on its watch counts. Only the
fields that are needed are decoded, because the recorder shares the machine with the measured system.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

import msgspec

from podtask.kube.client import PODS, Resource
from podtask.kube.http import HttpClient
from podtask.kube.informer import Informer
from podtask.kube.store import Codec, Meta


class _Owner(msgspec.Struct, frozen=True):
    uid: str


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    uid: str
    resource_version: str
    namespace: str = ""
    owner_references: list[_Owner] = []
    labels: dict[str, str] = {}


class _Condition(msgspec.Struct, frozen=True):
    type: str
    status: str


class _Terminated(msgspec.Struct, frozen=True):
    pass


class _State(msgspec.Struct, frozen=True):
    terminated: _Terminated | None = None


class _Container(msgspec.Struct, frozen=True):
    state: _State = _State()


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    phase: str = ""
    ready: int = 0
    """Of a Job: the number of its ready Pods."""
    conditions: list[_Condition] = []
    container_statuses: list[_Container] = []


class Seen(msgspec.Struct):
    """The fields that are read of a Pod, a Job or a PodTask."""

    metadata: _Metadata
    status: _Status = _Status()

    @property
    def has_ended(self) -> bool:
        """Whether a Pod's container has ended."""
        return any(c.state.terminated is not None for c in self.status.container_statuses)

    @property
    def runs(self) -> bool:
        """Whether a PodTask or Job is reported as running."""
        return self.status.phase == "Running" or self.status.ready > 0

    @property
    def is_over(self) -> bool:
        """Whether a Job or PodTask has finished, successfully or not."""
        ended = {"Finished", "Complete", "Failed"}
        return any(c.type in ended and c.status == "True" for c in self.status.conditions)


_decode = msgspec.json.Decoder(Seen).decode
_HELD = Codec(msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Seen).decode)


def _meta(seen: Seen) -> Meta:
    data = seen.metadata
    return Meta(namespace=data.namespace, name=data.name, uid=data.uid, resource_version=data.resource_version)


class WatchRecorder:
    """Follows one kind of task and the Pods, and records the first time of each fact by the task's uid.

    Facts are `task` (created), `pod` (created), `ended` (container) and `over` (task). A task that is no object has its
    Pod's label `load` in place of the uid; its system records `task` and `over`, or with `over_with_pod` it is over
    when its Pod has ended.
    """

    def __init__(self, api: HttpClient, kind: Resource | None) -> None:
        self.facts: dict[str, dict[str, float]] = {}
        self.over = 0
        self.present = 0
        self.running = 0
        self.pods_made = 0
        self.over_with_pod = False
        self._waiter: tuple[Callable[[WatchRecorder], bool], asyncio.Future[None]] | None = None
        self._informers = [self._informer(api, PODS, self._pod)]
        if kind is not None:
            self._informers.append(self._informer(api, kind, self._task))
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._running = [asyncio.create_task(i.run()) for i in self._informers]
        for informer in self._informers:
            await informer.wait_synced()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._running:
            task.cancel()
        for task in self._running:
            with suppress(asyncio.CancelledError):
                await task

    async def until(self, condition: "Callable[[WatchRecorder], bool]", seconds: float) -> None:
        """Wait until `condition` holds, one waiter at a time; raise TimeoutError after `seconds`."""
        self._waiter = (condition, asyncio.get_running_loop().create_future())
        self._wake()
        async with asyncio.timeout(seconds):
            await self._waiter[1]

    def between(self, first: str, second: str) -> list[float]:
        """Return the milliseconds from one fact to the other for each task that has both, sorted."""
        return sorted((f[second] - f[first]) * 1000 for f in self.facts.values() if first in f and second in f)

    def span(self) -> float:
        """Return the seconds from the first task created to the last one over."""
        start = min(f["task"] for f in self.facts.values() if "task" in f)
        return max(f["over"] for f in self.facts.values() if "over" in f) - start

    def record(self, name: str, fact: str, at: float) -> None:
        """Record a fact that no object shows."""
        if self.facts.setdefault(name, {}).setdefault(fact, at) == at and fact == "over":
            self.over += 1
            self._wake()

    def abort_wait(self, why: str) -> None:
        """Raise RuntimeError in the waiter: its condition can no longer be met."""
        if self._waiter is not None and not self._waiter[1].done():
            self._waiter[1].set_exception(RuntimeError(why))

    def _informer(
        self, api: HttpClient, kind: Resource, on_change: Callable[[Seen | None, Seen | None], None]
    ) -> Informer[Seen]:
        return Informer(
            api,
            kind,
            decode=_decode,
            codec=_HELD,
            meta=_meta,
            on_change=on_change,
            on_undecodable=lambda *_: None,
            index=lambda _: None,
        )

    def _note(self, uid: str, fact: str) -> bool:
        facts = self.facts.setdefault(uid, {})
        if fact in facts:
            return False
        facts[fact] = time.monotonic()
        return True

    def _pod(self, old: Seen | None, new: Seen | None) -> None:
        if new is None:
            return
        self.pods_made += old is None
        owners = new.metadata.owner_references
        owner = owners[0].uid if owners else new.metadata.labels.get("load")
        if owner is None:
            return
        self._note(owner, "pod")
        if new.has_ended and (old is None or not old.has_ended):
            self.facts[owner]["ended"] = time.monotonic()  # of the last attempt: what follows is the final status
            if self.over_with_pod:
                self.record(owner, "over", self.facts[owner]["ended"])

    def _task(self, old: Seen | None, new: Seen | None) -> None:
        self.present += (old is None) - (new is None)
        self.running += (new is not None and new.runs) - (old is not None and old.runs)
        if new is not None:
            self._note(new.metadata.uid, "task")
            if new.is_over and self._note(new.metadata.uid, "over"):
                self.over += 1
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter[1].done() and self._waiter[0](self):
            self._waiter[1].set_result(None)
