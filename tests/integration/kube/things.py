"""ConfigMaps and Pods as the tests write and read them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import orjson

from podtask.kube.client import Client, Resource
from podtask.kube.http import HttpClient
from podtask.kube.informer import Informer
from podtask.kube.store import Codec, Meta
from tests.harness import HANG_SECONDS

CONFIG_MAPS = Resource("/api/v1", "configmaps")


class ThingMeta(msgspec.Struct, frozen=True):
    name: str
    uid: str
    namespace: str
    resource_version: str = msgspec.field(name="resourceVersion")
    finalizers: tuple[str, ...] = ()
    deletion_timestamp: str | None = msgspec.field(name="deletionTimestamp", default=None)


class Thing(msgspec.Struct, frozen=True):
    metadata: ThingMeta
    data: dict[str, str] | None = None


decode = msgspec.json.Decoder(Thing).decode


def meta(thing: Thing) -> Meta:
    return Meta(thing.metadata.namespace, thing.metadata.name, thing.metadata.uid, thing.metadata.resource_version)


def config_map(name: str, data: Mapping[str, str], labels: Mapping[str, str] | None = None) -> bytes:
    return orjson.dumps({"metadata": {"name": name, "labels": labels or {}}, "data": data})


async def make(api: Client, namespace: str, name: str, **data: str) -> Thing:
    return decode(await api.create(CONFIG_MAPS, namespace, config_map(name, data)))


async def remove(api: Client, thing: Thing) -> None:
    await api.delete(CONFIG_MAPS, thing.metadata.namespace, thing.metadata.name, uid=thing.metadata.uid)


async def read_all(api: Client, namespace: str, resource: Resource = CONFIG_MAPS) -> dict[str, str]:
    """The truth: uid and version of everything there is."""
    found: dict[str, str] = {}
    token = ""
    while True:
        page = await api.list_page(resource, read=bytes, namespace=namespace, continue_token=token)
        for item in page.items:
            thing = decode(item)
            found[thing.metadata.uid] = thing.metadata.resource_version
        token = page.continue_token
        if not token:
            return found


@dataclass
class Followed:
    """An informer, with its changes as an event to wait for."""

    informer: Informer[Thing]
    changes: list[tuple[Thing | None, Thing | None]] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, old: Thing | None, new: Thing | None) -> None:
        self.changes.append((old, new))
        self._changed.set()

    @property
    def stored(self) -> dict[str, str]:
        return {thing.metadata.uid: thing.metadata.resource_version for thing in self.informer.objects()}

    async def until(self, reached: Callable[[], bool], seconds: float = HANG_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    def check_story(self) -> None:
        """Each change starts where the last of its object ended, none goes back, and all lead to the store."""
        told: dict[str, Thing] = {}
        for old, new in self.changes:
            present = new if new is not None else old
            assert present is not None
            uid = present.metadata.uid
            if new is None:
                del told[uid]
                continue
            assert told.get(uid) == old
            assert old is None or meta(old).version < meta(new).version
            told[uid] = new
        assert {uid: thing.metadata.resource_version for uid, thing in told.items()} == self.stored


@asynccontextmanager
async def following(api: HttpClient, namespace: str, page_size: int = 500) -> AsyncIterator[Followed]:
    followed: Followed

    def on_change(old: Thing | None, new: Thing | None) -> None:
        followed.note(old, new)

    def on_undecodable(raw: bytes, error: Exception) -> None:
        raise AssertionError(raw) from error

    informer = Informer(
        api,
        CONFIG_MAPS,
        decode=decode,
        codec=Codec(msgspec.msgpack.encode, msgspec.msgpack.Decoder(Thing).decode),
        meta=meta,
        index=lambda thing: (thing.data or {}).get("owner"),
        on_change=on_change,
        on_undecodable=on_undecodable,
        namespace=namespace,
        page_size=page_size,
    )
    followed = Followed(informer)
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(HANG_SECONDS):
            await informer.wait_synced()
        yield followed
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
