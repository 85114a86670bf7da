"""The controller's way to the model: `kube.client.Client` with delays, and with the faults of this life.

A request that was sent is carried out even if its sender is dead by then, as it is with a real server.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from typing import Protocol, TypeVar

import orjson

from podtask.kube import errors
from podtask.kube.client import EventType, Page, PatchType, Resource, WatchEvent

from .etcd import Change, event_type
from .faults import Faults
from .model import Server, parse_selector

V = TypeVar("V")

_LATE_SECONDS = 2.0


class Observer(Protocol):
    """Hears of every request, and may end the life of who sent it."""

    def asked(self, who: str, verb: str, what: str) -> None:
        """A request is about to be sent."""
        ...

    def before_write(self, who: str) -> bool:
        """Whether the sender dies instead of sending."""
        ...

    def after_write(self, who: str) -> None:
        """The server has carried the write out."""
        ...

    def carried_out(self, who: str, verb: str, what: str, outcome: str) -> None:
        """The server has answered, be it heard or not."""
        ...


class ModelClient:
    """One controller's client."""

    def __init__(
        self, server: Server, faults: Faults, rng: random.Random, who: str, observer: Observer, logs: "Logs"
    ) -> None:
        self._server = server
        self._faults = faults
        self._rng = rng
        self._who = who
        self._observer = observer
        self._logs = logs
        self._quiet = Faults(latency=faults.latency)

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        """See `client.Client.get`."""
        return await self._read("get", f"{resource.plural}/{name}", lambda: self._server.get(resource, namespace, name))

    async def list_page(
        self,
        resource: Resource,
        *,
        read: Callable[[bytes], V],
        namespace: str = "",
        selector: str = "",
        fields: str = "",
        limit: int = 500,
        continue_token: str = "",
    ) -> Page[V]:
        """See `client.Client.list_page`."""
        return await self._read(
            "list",
            resource.plural,
            lambda: self._server.list_page(
                resource,
                read=read,
                namespace=namespace,
                selector=selector,
                fields=fields,
                limit=limit,
                continue_token=continue_token,
            ),
        )

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        """See `client.Client.create`."""
        name = orjson.loads(body)["metadata"]["name"]
        return await self._write(
            "create", f"{resource.plural}/{name}", lambda: self._server.create(resource, namespace, body)
        )

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes,
        patch_type: PatchType,
        *,
        subresource: str = "",
    ) -> bytes:
        """See `client.Client.patch`."""

        def act() -> bytes:
            if subresource and self._now.conflict > self._rng.random():
                self._disturb(resource, namespace, name)
            return self._server.patch(resource, namespace, name, body, patch_type, subresource=subresource)

        what = f"{resource.plural}/{name}{'/' if subresource else ''}{subresource} {body.decode()}"
        return await self._write("patch", what, act)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> None:
        """See `client.Client.delete`."""
        await self._write(
            "delete",
            f"{resource.plural}/{name}",
            lambda: self._server.delete(resource, namespace, name, uid=uid, grace_seconds=grace_seconds),
        )

    async def read_log(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> bytes:
        """See `client.Client.read_log`."""
        try:
            return await self._read(
                "log", f"pods/{pod}", lambda: self._logs.read(namespace, pod, container)[:limit_bytes]
            )
        except errors.ApiError:
            self._logs.note_failure(namespace, pod)
            raise

    async def watch(
        self, resource: Resource, *, namespace: str = "", selector: str = "", resource_version: str
    ) -> AsyncGenerator[WatchEvent, None]:
        """See `client.Client.watch`."""
        await self._read("watch", resource.plural, lambda: None)
        etcd = self._server.etcd
        if int(resource_version) < etcd.compacted:
            raise errors.Gone("too old resource version", reason="Expired")
        matches = parse_selector(selector)
        index = _after(etcd.history, int(resource_version))
        while True:
            if index == len(etcd.history):
                await etcd.changed()
                continue
            change = etcd.history[index]
            index += 1
            kind = event_type(change, matches) if _concerns(change, resource, namespace) else None
            if kind is None:
                continue
            await self._lag(change)
            if self._breaks(change):
                return
            event = WatchEvent(kind, change.raw)
            yield event
            if self._now.duplicate > self._rng.random():
                yield event
            if self._now.bookmark > self._rng.random():
                yield _bookmark(change.version)

    @property
    def _now(self) -> Faults:
        return self._faults if self._server.now() < self._faults.until else self._quiet

    async def _lag(self, change: Change) -> None:
        faults = self._now
        most = faults.lag.get(change.key[0], 0.0)
        if most and faults.lag_often > self._rng.random():
            due = change.at + self._rng.uniform(0, most)
        else:
            due = change.at + faults.latency * self._rng.random()
        if due > self._server.now():
            await asyncio.sleep(due - self._server.now())

    def _breaks(self, change: Change) -> bool:
        """Whether the stream ends here; raises where it ends with an error."""
        if self._now.cut > self._rng.random():
            if self._rng.random() < 0.5:
                raise errors.TransportError("the watch was cut")
            return True
        if self._now.gone > self._rng.random():
            self._server.etcd.compact(change.version)
            raise errors.Gone("too old resource version", reason="Expired")
        return False

    def _disturb(self, resource: Resource, namespace: str, name: str) -> None:
        body = orjson.dumps({"metadata": {"annotations": {"someone": str(self._server.etcd.revision)}}})
        try:
            self._server.patch(resource, namespace, name, body, PatchType.MERGE)
        except errors.NotFound:
            return

    def _way(self) -> float:
        """Seconds for one way."""
        faults = self._now
        if faults.slow > self._rng.random():
            return self._rng.uniform(0, 5)
        return faults.latency * (0.5 + self._rng.random())

    async def _read(self, verb: str, what: str, act: Callable[[], "bytes | Page | None"]) -> "bytes | Page | None":
        self._observer.asked(self._who, verb, what)
        self._refuse(read=True)
        return await self._exchange(verb, what, act, self._way(), self._way())

    async def _write(self, verb: str, what: str, act: Callable[[], bytes | None]) -> bytes | None:
        self._observer.asked(self._who, verb, what)
        if self._observer.before_write(self._who):
            await asyncio.get_running_loop().create_future()
        self._refuse(read=False)
        faults, up, down = self._now, self._way(), self._way()
        roll = self._rng.random()
        if roll < faults.reply_lost_late:
            done = self._send(verb, what, act, up + self._rng.uniform(0, _LATE_SECONDS))
            done.add_done_callback(lambda f: f.exception())
            await asyncio.sleep(up)
            raise errors.ReplyLost("no reply")
        try:
            reply = await self._exchange(verb, what, act, up, down, write=True)
        except errors.ApiError as error:
            if self._rng.random() < faults.reply_lost:
                raise errors.ReplyLost("no reply") from error
            raise
        if self._rng.random() < faults.reply_lost:
            raise errors.ReplyLost("no reply")
        if self._rng.random() < faults.timed_out:
            raise errors.ServerError("the server took too long", reason="Timeout", code=504)
        return reply

    def _refuse(self, *, read: bool) -> None:
        faults = self._now
        if self._rng.random() < faults.never_sent:
            raise errors.TransportError("not sent")
        if self._rng.random() < faults.throttled:
            raise errors.TooManyRequests("slow down", reason="TooManyRequests", retry_after=1)
        if self._rng.random() < faults.broken:
            raise errors.ServerError("etcd leader changed", reason="InternalError", code=500)
        if read and self._rng.random() < faults.reply_lost / 4:
            raise errors.ReplyLost("no reply")

    async def _exchange(
        self, verb: str, what: str, act: Callable[[], object], up: float, down: float, *, write: bool = False
    ) -> object:
        done = self._send(verb, what, act, up, write=write)
        reply = await done
        if down > 0.01:
            await asyncio.sleep(down)
        return reply

    def _send(
        self, verb: str, what: str, act: Callable[[], object], up: float, *, write: bool = True
    ) -> "asyncio.Future[object]":
        loop = asyncio.get_running_loop()
        done: asyncio.Future[object] = loop.create_future()
        sent_at = loop.time()

        def arrive() -> None:
            self._server.sent_at, self._server.sender = sent_at, self._who
            try:
                reply, problem = act(), None
            except errors.ApiError as error:
                reply, problem = None, error
            self._server.sender = ""
            self._observer.carried_out(
                self._who, verb, what, "" if problem is None else f"{problem.code} {problem.reason}"
            )
            if not done.done():
                if problem is None:
                    done.set_result(reply)
                else:
                    done.set_exception(problem)
            if write:
                self._observer.after_write(self._who)

        loop.call_later(up, arrive)
        return done


class Logs(Protocol):
    """Where containers' logs are."""

    def read(self, namespace: str, pod: str, container: str) -> bytes:
        """Give the whole log. Raises `errors.ApiError`."""
        ...

    def note_failure(self, namespace: str, pod: str) -> None:
        """A log could not be read."""
        ...


def _concerns(change: Change, resource: Resource, namespace: str) -> bool:
    return change.key[0] == resource.plural and namespace in {"", change.key[1]}


def _after(history: list[Change], version: int) -> int:
    low, high = 0, len(history)
    while low < high:
        middle = (low + high) // 2
        if history[middle].version <= version:
            low = middle + 1
        else:
            high = middle
    return low


def _bookmark(version: int) -> WatchEvent:
    return WatchEvent(EventType.BOOKMARK, b'{"metadata":{"resourceVersion":"%d"}}' % version)
