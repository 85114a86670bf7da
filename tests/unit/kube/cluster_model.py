"""Lists and watches of one kind, as etcd gives them: every change has a number, and the past is kept until compacted.

Only what an informer can see, with each page and each event held back until the test lets it go.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import orjson

from podtask.kube import client, errors
from podtask.kube.store import Meta

V = TypeVar("V")

UNLIMITED = 1 << 30


class Thing(msgspec.Struct, frozen=True):
    """An object as the tests decode it."""

    name: str
    uid: str
    version: str
    owner: str | None = None


class _WireMeta(msgspec.Struct):
    name: str
    uid: str
    resource_version: str = msgspec.field(name="resourceVersion")


class _Wire(msgspec.Struct):
    metadata: _WireMeta
    owner: str | None = None
    bad: bool = False


def decode(raw: bytes) -> Thing:
    wire = msgspec.json.decode(raw, type=_Wire)
    if wire.bad:
        raise ValueError("a bad thing")
    return Thing(wire.metadata.name, wire.metadata.uid, wire.metadata.resource_version, wire.owner)


def meta(thing: Thing) -> Meta:
    return Meta("ns", thing.name, thing.uid, thing.version)


def owner(thing: Thing) -> str | None:
    return thing.owner


@dataclass
class ClusterModel:
    """The server's side. `pages` and `events` say how many of each it may still give out."""

    version: int = 10
    objects: dict[str, dict[str, object]] = field(default_factory=dict)
    history: list[tuple[int, str, bytes]] = field(default_factory=list)
    compacted: int = 0
    pages: int = UNLIMITED
    events: int = UNLIMITED
    faults: list[Exception | None] = field(default_factory=list)
    """For each watch under way or yet to come: how it breaks; None for an end without an error."""
    asked: list[str] = field(default_factory=list)
    list_faults: list[Exception] = field(default_factory=list)
    page_size: int | None = None
    limits: list[int] = field(default_factory=list)
    """How many objects each page was asked for."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _uids: int = 0

    def create(self, name: str, **fields: object) -> bytes:
        self._uids += 1
        uid = f"{name}-{self._uids}"
        return self._write("ADDED", {"metadata": {"name": name, "uid": uid}} | fields)

    def modify(self, uid: str, **fields: object) -> bytes:
        return self._write("MODIFIED", self.objects[uid] | fields)

    def delete(self, uid: str) -> None:
        self._write("DELETED", self.objects[uid])

    def bookmark(self) -> None:
        raw = orjson.dumps({"metadata": {"resourceVersion": str(self.version)}})
        self.history.append((self.version, "BOOKMARK", raw))
        self.wake()

    def compact(self) -> None:
        """Forget the past: who is not at the present version has to list."""
        self.compacted = self.version

    def let(self, *, pages: int = 0, events: int = 0) -> None:
        self.pages += pages
        self.events += events
        self.wake()

    def break_watch(self, fault: Exception | None) -> None:
        self.faults.append(fault)
        self.wake()

    def wake(self) -> None:
        self._wake.set()

    def _write(self, kind: str, obj: dict[str, object]) -> bytes:
        self.version += 1
        old_meta = obj["metadata"]
        assert isinstance(old_meta, dict)
        obj = obj | {"metadata": old_meta | {"resourceVersion": str(self.version)}}
        uid = str(old_meta["uid"])
        if kind == "DELETED":
            del self.objects[uid]
        else:
            self.objects[uid] = obj
        raw = orjson.dumps(obj)
        self.history.append((self.version, kind, raw))
        self.wake()
        return raw

    async def _changed(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    async def list_page(
        self,
        _resource: client.Resource,
        *,
        read: Callable[[bytes], V],
        limit: int = 500,
        continue_token: str = "",
        **_scope: str,
    ) -> client.Page[V]:
        self.asked.append(f"list {continue_token}".strip())
        self.limits.append(limit)
        await asyncio.sleep(0)
        while self.pages <= 0:
            await self._changed()
        self.pages -= 1
        if self.list_faults:
            raise self.list_faults.pop(0)
        snapshot, start = self.version, 0
        if continue_token:
            snapshot, start = (int(part) for part in continue_token.split("."))
            if snapshot < self.compacted:
                raise errors.Gone("the continue token is too old", code=410)
        items = self._at(snapshot)
        end = start + (self.page_size or limit)
        token = f"{snapshot}.{end}" if end < len(items) else ""
        listed = items[start:end]
        return client.Page(list(map(read, listed)), str(snapshot), token, sum(map(len, listed)))

    def _at(self, snapshot: int) -> list[bytes]:
        found: dict[str, bytes] = {}
        for version, kind, raw in self.history:
            if version > snapshot or kind == "BOOKMARK":
                continue
            uid = orjson.loads(raw)["metadata"]["uid"]
            found.pop(uid, None)
            if kind != "DELETED":
                found[uid] = raw
        return [found[uid] for uid in sorted(found)]

    async def watch(
        self, _resource: client.Resource, *, resource_version: str, **_scope: str
    ) -> AsyncGenerator[client.WatchEvent, None]:
        self.asked.append(f"watch {resource_version}")
        await asyncio.sleep(0)
        position = int(resource_version)
        if position < self.compacted:
            raise errors.Gone("too old", code=410)
        seen = sum(version <= position for version, _, _ in self.history)
        while True:
            if self.faults:
                fault = self.faults.pop(0)
                if fault is not None:
                    raise fault
                return
            if seen < len(self.history) and self.events > 0:
                self.events -= 1
                _, kind, raw = self.history[seen]
                seen += 1
                yield client.WatchEvent(client.EventType(kind), raw)
            else:
                await self._changed()


async def settle() -> None:
    """Let everything that can happen without us happen."""
    for _ in range(60):
        await asyncio.sleep(0)
