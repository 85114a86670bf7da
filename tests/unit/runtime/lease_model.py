"""A fake API server with one Lease, in virtual time: reads, writes by resourceVersion, watches, and faults."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, field
from typing import Any

import orjson

from podtask.kube import client, errors
from podtask.kube.lease import LeaseClient
from podtask.runtime.election import DURATION_SECONDS, Election
from tests.simulation.loop import VirtualLoop

Object = dict[str, Any]


@dataclass
class LeaseServer:
    """The server and its connections: with `away` requests fail, with `lose_replies` replies are lost."""

    latency: float = 0.01
    lease: Object | None = None
    version: int = 100
    history: list[tuple[str, bytes]] = field(default_factory=list)
    away: bool = False
    hangs: bool = False
    mute_watches: bool = False
    lose_replies: int = 0
    asked: list[tuple[float, str]] = field(default_factory=list)
    selected: set[str] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, lease: Object | None) -> bytes:
        """Set or remove the Lease."""
        self.version += 1
        kind = "DELETED" if lease is None else "MODIFIED"
        found = dict(self.lease or {} if lease is None else lease)
        found["metadata"] = {"name": "l", "resourceVersion": str(self.version)}
        self.lease = None if lease is None else found
        raw = orjson.dumps(found)
        self.history.append((kind, raw))
        news, self._news = self._news, asyncio.Event()
        news.set()
        return raw

    def steal(self, holder: str) -> None:
        """Change the holder, as `kubectl edit` does."""
        assert self.lease is not None
        self.write({**self.lease, "spec": {**self.lease["spec"], "holderIdentity": holder}})

    @property
    def holder(self) -> str | None:
        return None if self.lease is None else self.lease["spec"].get("holderIdentity")

    # ---- client.Client, as far as a Lease needs it ----

    async def get(self, _resource: client.Resource, _namespace: str, _name: str) -> bytes:
        await self._way("get")
        if self.lease is None:
            raise errors.NotFound("no such Lease")
        return orjson.dumps(self.lease)

    async def create(self, _resource: client.Resource, _namespace: str, body: bytes) -> bytes:
        await self._way("create")
        if self.lease is not None:
            raise errors.Conflict("already exists", reason="AlreadyExists")
        return await self._answer(self.write(orjson.loads(body)))

    async def patch(self, _resource: client.Resource, _namespace: str, _name: str, body: bytes, _type: Any) -> bytes:
        await self._way("patch")
        change = orjson.loads(body)
        if self.lease is None:
            raise errors.NotFound("no such Lease")
        if change["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise errors.Conflict("modified", reason="Conflict")
        spec = {key: value for key, value in (self.lease["spec"] | change["spec"]).items() if value is not None}
        return await self._answer(self.write({**self.lease, "spec": spec}))

    async def watch(
        self, _resource: client.Resource, *, namespace: str, fields: str, resource_version: str
    ) -> AsyncGenerator[client.WatchEvent, None]:
        self.selected.add(f"{namespace}/{fields}")
        await self._way("watch")
        index = sum(_version(raw) <= int(resource_version) for _, raw in self.history)
        while True:
            if self.away:
                raise errors.TransportError("the watch was cut")
            if self.mute_watches or index == len(self.history):
                await self._news.wait()
                continue
            kind, raw = self.history[index]
            index += 1
            await asyncio.sleep(self.latency)
            yield client.WatchEvent(client.EventType(kind), raw)

    def cut(self) -> None:
        """Make the server unreachable and its watches silent."""
        self.away = True
        self._news.set()

    async def _way(self, verb: str) -> None:
        self.asked.append((asyncio.get_running_loop().time(), verb))
        if self.hangs:
            await asyncio.sleep(2.0)
            raise errors.ReplyLost("no reply")
        if self.away:
            raise errors.TransportError("not sent")
        await asyncio.sleep(self.latency)

    async def _answer(self, raw: bytes) -> bytes:
        await asyncio.sleep(self.latency)
        if self.lose_replies:
            self.lose_replies -= 1
            raise errors.ReplyLost("no reply")
        return raw


def _version(raw: bytes) -> int:
    return int(orjson.loads(raw)["metadata"]["resourceVersion"])


class Replica:
    """One replica. `terms` are the start and end times of its work."""

    def __init__(self, server: LeaseServer, name: str, *, has_work: bool = False) -> None:
        self.skew = 0.0
        """Let its clock advance while the process does not run, as after SIGSTOP."""
        loop = asyncio.get_running_loop()
        lease = LeaseClient(server, namespace="ns", name="l", identity=name, duration_seconds=DURATION_SECONDS)  # type: ignore[arg-type]
        self.election = Election(lease, has_work=lambda: has_work, now=lambda: loop.time() + self.skew)
        self.terms: list[list[float]] = []
        self.news = asyncio.Event()
        self.task = loop.create_task(self.election.run(self._lead), name=name)

    async def wait_until_leader(self) -> float:
        """Wait until it works; return the time."""
        while not self.terms:
            await self.news.wait()
        return self.terms[0][0]

    async def ended(self) -> BaseException | None:
        """Wait until it has given up; return what ended it."""
        await asyncio.wait([self.task])
        return None if self.task.cancelled() else self.task.exception()

    async def stop(self) -> float:
        """End it as a clean stop does; return the time at which that began."""
        at = asyncio.get_running_loop().time()
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.election.release()
        return at

    async def _lead(self) -> None:
        loop = asyncio.get_running_loop()
        self.terms.append([loop.time()])
        self.news.set()
        try:
            await loop.create_future()
        finally:
            self.terms[-1].append(loop.time())


def live(story: Coroutine[Any, Any, None]) -> None:
    """Run a test in virtual time."""
    loop = VirtualLoop(3600.0)
    asyncio.set_event_loop(loop)
    try:
        task = loop.create_task(story)
        task.add_done_callback(lambda _: loop.stop())
        loop.run_forever()
        assert task.done(), "the test waits without an end"
        task.result()
    finally:
        loop.finish()
        asyncio.set_event_loop(None)
