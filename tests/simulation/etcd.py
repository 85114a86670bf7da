"""The model's memory: objects by name, one number for every change, and the past until it is compacted.

Objects are stored as JSON bytes and as a dict that is never changed in place, so that a reader keeps what it read.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from podtask.kube.client import EventType

Object = dict[str, Any]
Key = tuple[str, str, str]
"""Plural, namespace and name."""


@dataclass(frozen=True, slots=True)
class Change:
    """One write: what was, what is."""

    version: int
    key: Key
    at: float
    before: Object | None
    after: Object | None
    raw: bytes

    @property
    def labels(self) -> tuple[Object | None, Object | None]:
        """The labels before and after; None where there was, or is, no object."""
        return tuple(  # type: ignore[return-value]
            None if obj is None else obj["metadata"].get("labels", {}) for obj in (self.before, self.after)
        )


@dataclass
class Etcd:
    """Objects and their history."""

    now: Callable[[], float]
    revision: int = 100
    compacted: int = 100
    objects: dict[Key, Object] = field(default_factory=dict)
    raw: dict[Key, bytes] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    observers: list[Callable[[Change], None]] = field(default_factory=list)
    """Called after every write, in order."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def get(self, key: Key) -> Object | None:
        """The object of that name."""
        return self.objects.get(key)

    def scan(self, plural: str, namespace: str = "") -> Iterator[Object]:
        """All objects of a kind, in the order of their names."""
        keys = sorted(k for k in self.objects if k[0] == plural and namespace in {"", k[1]})
        return iter([self.objects[key] for key in keys])

    def put(self, key: Key, obj: Object) -> bytes:
        """Write an object; its resourceVersion is set here."""
        self.revision += 1
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(self.revision)}
        raw = orjson.dumps(obj)
        before = self.objects.get(key)
        self.objects[key] = obj
        self.raw[key] = raw
        self._note(Change(self.revision, key, self.now(), before, obj, raw))
        return raw

    def remove(self, key: Key) -> None:
        """Forget an object; its last state carries the version of its removal."""
        self.revision += 1
        before = self.objects.pop(key)
        del self.raw[key]
        last = {**before, "metadata": {**before["metadata"], "resourceVersion": str(self.revision)}}
        self._note(Change(self.revision, key, self.now(), before, None, orjson.dumps(last)))

    def compact(self, version: int) -> None:
        """Forget the past up to `version`: a watch from before is Gone."""
        self.compacted = max(self.compacted, version)

    async def changed(self) -> None:
        """Return after the next write."""
        await self._wake.wait()

    def _note(self, change: Change) -> None:
        self.history.append(change)
        wake, self._wake = self._wake, asyncio.Event()
        wake.set()
        for observer in self.observers:
            observer(change)


def event_type(change: Change, matches: Callable[[Object], bool]) -> EventType | None:
    """Say what a watch with a selector sees of a change."""
    before, after = (labels is not None and matches(labels) for labels in change.labels)
    if after:
        return EventType.MODIFIED if before else EventType.ADDED
    return EventType.DELETED if before else None
