"""An onlooker's clock: when each object's facts became visible on a watch, stamped by one process.

Times inside the objects are whole seconds of several clocks; what counts for a waiter is when it hears of it. The
onlooker decodes the few fields it needs, so that it takes as little as it can from the machine it shares.
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
    """Of a Job: how many of its Pods are."""
    conditions: list[_Condition] = []
    container_statuses: list[_Container] = []


class Seen(msgspec.Struct):
    """What the onlooker reads of a Pod, a Job or a PodTask."""

    metadata: _Metadata
    status: _Status = _Status()

    @property
    def has_ended(self) -> bool:
        """Whether a Pod's container has ended."""
        return any(c.state.terminated is not None for c in self.status.container_statuses)

    @property
    def runs(self) -> bool:
        """Whether a PodTask or Job is told to run."""
        return self.status.phase == "Running" or self.status.ready > 0

    @property
    def is_over(self) -> bool:
        """Whether a Job or PodTask has ended, however it ended."""
        ended = {"Finished", "Complete", "Failed"}
        return any(c.type in ended and c.status == "True" for c in self.status.conditions)


_decode = msgspec.json.Decoder(Seen).decode
_HELD = Codec(msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Seen).decode)


def _meta(seen: Seen) -> Meta:
    data = seen.metadata
    return Meta(namespace=data.namespace, name=data.name, uid=data.uid, resource_version=data.resource_version)


class Onlooker:
    """Follows one kind of task and the Pods, and knows the first moment of each fact by the task's uid.

    A task that is no object is known by its Pod's label `load`, and its system tells when it began and ended; or it
    ends with its Pod, where `over_with_pod` says so.
    """

    def __init__(self, api: HttpClient, kind: Resource | None) -> None:
        self.facts: dict[str, dict[str, float]] = {}
        self.over = 0
        self.present = 0
        self.running = 0
        self.pods_made = 0
        self.over_with_pod = False
        self._wanted: tuple[Callable[[Onlooker], bool], asyncio.Future[None]] | None = None
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

    async def until(self, fact: "Callable[[Onlooker], bool]", seconds: float) -> None:
        """Wait until `fact` holds; one waiter at a time."""
        self._wanted = (fact, asyncio.get_running_loop().create_future())
        self._tell()
        async with asyncio.timeout(seconds):
            await self._wanted[1]

    def between(self, first: str, second: str) -> list[float]:
        """Milliseconds from one fact to the other, for each task that has both, sorted."""
        return sorted((f[second] - f[first]) * 1000 for f in self.facts.values() if first in f and second in f)

    def span(self) -> float:
        """Seconds from the first task seen to the last one over."""
        begin = min(f["task"] for f in self.facts.values() if "task" in f)
        return max(f["over"] for f in self.facts.values() if "over" in f) - begin

    def told(self, name: str, fact: str, at: float) -> None:
        """Hear from a system what no object shows."""
        if self.facts.setdefault(name, {}).setdefault(fact, at) == at and fact == "over":
            self.over += 1
            self._tell()

    def abandon(self, why: str) -> None:
        """End the waiting: what is waited for will never come."""
        if self._wanted is not None and not self._wanted[1].done():
            self._wanted[1].set_exception(RuntimeError(why))

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
                self.told(owner, "over", self.facts[owner]["ended"])

    def _task(self, old: Seen | None, new: Seen | None) -> None:
        self.present += (old is None) - (new is None)
        self.running += (new is not None and new.runs) - (old is not None and old.runs)
        if new is not None:
            self._note(new.metadata.uid, "task")
            if new.is_over and self._note(new.metadata.uid, "over"):
                self.over += 1
        self._tell()

    def _tell(self) -> None:
        if self._wanted is not None and not self._wanted[1].done() and self._wanted[0](self):
            self._wanted[1].set_result(None)
