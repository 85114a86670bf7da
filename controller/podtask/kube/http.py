"""The door to a real API server: `client.Client` over HTTP/1.1 keep-alive.

What may be sent twice is the whole art here. A read is tried again after any failure that may pass. A write is tried
again only where it is certain that nothing was done: the connection could not be made, or the server answered 429 or
401. After a lost reply or a 5xx the write may have happened, and only the caller can look. No call, waiting and
retries included, outlives `Limits.write_seconds` or `read_seconds`: the proof that a deposed leader's last create is
dead rests on it.
"""

import asyncio
import contextlib
import random
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import podtask

from . import backoff, client, clock, concurrency_limiter, config, errors, list_splitter, pool, reply, request
from .channel import Channel, Reply

V = TypeVar("V")
_Begin = Callable[[], Callable[[bytes], None]]
"""Called when an answer begins; gives what takes its body, chunk by chunk."""

_BACKOFF = backoff.Backoff(base_seconds=0.1, cap_seconds=5.0)
_LONGEST_RETRY_AFTER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes and times of one client."""

    in_flight: int = 64
    """Requests at once, watches not counted. More than 64 cost more CPU for each request."""
    least_in_flight: int = 8
    """So many at least, however slowly the server answers."""
    connect_seconds: float = 5.0
    request_seconds: float = 30.0
    """One attempt, from its first byte to the last byte of its reply."""
    read_seconds: float = 60.0
    """A whole read, retries included."""
    write_seconds: float = 30.0
    """A whole write, retries included: how long after losing the Lease our last write can still land."""
    watch_silence_seconds: float = 75.0
    """Bookmarks come once a minute, so a watch that says nothing for this long is dead."""
    watch_timeout_seconds: tuple[int, int] = (290, 590)
    """How long the server may keep a watch open, drawn at random so that watches do not end together."""


class Observer(Protocol):
    """Hears of every request sent."""

    def __call__(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """Note one request: `status` 0 where no reply came; for a watch, `seconds` is until the stream began."""
        ...


def _unobserved(verb: str, resource: str, status: int, seconds: float) -> None: ...


def _allow_all() -> None: ...


def _ignore_date(said: str, seconds: float) -> None: ...


DEFAULT_LIMITS = Limits()


class HttpClient:
    """`client.Client` on connections of its own. To be made inside the running event loop, and closed in the same."""

    def __init__(
        self,
        where: config.ClusterConfig,
        *,
        limits: Limits = DEFAULT_LIMITS,
        observer: Observer = _unobserved,
        before_write: Callable[[], None] = _allow_all,
        on_server_date: Callable[[str, float], None] = _ignore_date,
        time_source: clock.Clock = clock.SYSTEM,
        jitter: backoff.Jitter = random.random,
    ) -> None:
        """`before_write` is called before every sending of a write; what it raises goes to the caller, unsent.

        `on_server_date` hears the `Date` of each reply, and how many seconds the request took.

        The write goes out in the same turn of the loop, on a kept connection and on a new one.
        """
        self._token = config.Token(where, time_source=time_source)
        self._limits = limits
        self._observer = observer
        self._write_gate = before_write
        self._on_date = on_server_date
        self._clock = time_source
        self._jitter = jitter
        self._in_flight = concurrency_limiter.ConcurrencyLimiter(
            limits.in_flight, least=limits.least_in_flight, time_source=time_source
        )
        self._path = urllib.parse.urlsplit(where.server).path.rstrip("/")
        self._pool = pool.Pool(where.server, config.ssl_context(where), limits.connect_seconds)
        # No compression: it would cost the API server more than the network beside it saves.
        self._common_headers = (
            f"Host: {self._pool.host}\r\nUser-Agent: podtask/{podtask.__version__}\r\nAccept-Encoding: identity"
        )

    @property
    def in_flight_limit(self) -> int:
        """How many requests may be under way now: `Limits.in_flight`, or fewer while the server is busy."""
        return self._in_flight.size

    async def close(self) -> None:
        """Close every connection; requests under way fail."""
        await self._pool.close()

    async def get(self, resource: client.Resource, namespace: str, name: str) -> bytes:
        """See `client.Client.get`."""
        return await self._send(request.get(resource, namespace, name))

    async def list_page(
        self,
        resource: client.Resource,
        *,
        read: Callable[[bytes], V],
        namespace: str = "",
        selector: str = "",
        fields: str = "",
        limit: int = 500,
        continue_token: str = "",
    ) -> client.Page[V]:
        """See `client.Client.list_page`."""
        prepared = request.list_page(
            resource, namespace=namespace, selector=selector, fields=fields, limit=limit, continue_token=continue_token
        )
        cutters: list[list_splitter.ListSplitter[V]] = []

        def begin() -> Callable[[bytes], None]:
            cutters[:] = [list_splitter.ListSplitter(read)]
            return cutters[0].feed

        await self._send(prepared, begin)
        return cutters[0].page()

    async def create(self, resource: client.Resource, namespace: str, body: bytes) -> bytes:
        """See `client.Client.create`."""
        return await self._send(request.create(resource, namespace, body))

    async def patch(
        self,
        resource: client.Resource,
        namespace: str,
        name: str,
        body: bytes,
        patch_type: client.PatchType,
        *,
        subresource: str = "",
    ) -> bytes:
        """See `client.Client.patch`."""
        prepared = request.patch(resource, namespace, name, body, patch_type, subresource=subresource)
        return await self._send(prepared)

    async def delete(
        self, resource: client.Resource, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> None:
        """See `client.Client.delete`."""
        await self._send(request.delete(resource, namespace, name, uid=uid, grace_seconds=grace_seconds))

    async def read_log(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> bytes:
        """See `client.Client.read_log`."""
        return await self._send(request.read_log(namespace, pod, container, limit_bytes=limit_bytes))

    async def watch(
        self,
        resource: client.Resource,
        *,
        namespace: str = "",
        selector: str = "",
        fields: str = "",
        resource_version: str,
    ) -> AsyncGenerator[client.WatchEvent, None]:
        """See `client.Client.watch`. Failures to open the stream are the caller's to retry, but for one 401."""
        least, most = self._limits.watch_timeout_seconds
        prepared = request.watch(
            resource,
            namespace=namespace,
            selector=selector,
            fields=fields,
            resource_version=resource_version,
            timeout_seconds=least + int(self._jitter() * (most - least + 1)),
        )
        async with self._stream(prepared) as channel:
            lines = reply.Lines()
            while chunk := await self._read_chunk(channel):
                for line in lines.feed(chunk):
                    yield reply.watch_event(line)

    @asynccontextmanager
    async def _stream(self, prepared: request.Request) -> AsyncIterator[Channel]:
        token = self._token.current()
        channel, answer = await self._open_stream(prepared, token)
        try:
            if answer.status == 401 and self._token.refused(token):
                channel.abort()
                channel, answer = await self._open_stream(prepared, self._token.current())
            if not answer.is_success:
                raise _refusal(answer, await self._read_refusal(channel))
            yield channel
        finally:
            channel.abort()  # not kept: what is left of the stream is of no use to the next request

    async def _open_stream(self, prepared: request.Request, token: str) -> tuple[Channel, Reply]:
        started = self._clock.monotonic()
        status = 0
        seconds = self._limits.request_seconds
        try:
            # Never a kept one: it would be missing among those for requests for as long as the watch lasts.
            channel = await self._pool.connect(seconds)
            answer = await channel.open(self._encode(prepared, token), seconds)
            status = answer.status
        except OSError as fault:
            raise errors.ReplyLost(f"no reply: {_describe(fault)}") from fault
        else:
            return channel, answer
        finally:
            self._observer(prepared.verb, prepared.resource, status, self._clock.monotonic() - started)

    async def _read_refusal(self, channel: Channel) -> bytes:
        parts: list[bytes] = []
        with contextlib.suppress(OSError):  # the status says enough
            while part := await channel.read(self._limits.request_seconds):
                parts.append(part)
        return b"".join(parts)

    async def _read_chunk(self, channel: Channel) -> bytes:
        """Read what has come; empty at the end of the stream."""
        seconds = self._limits.watch_silence_seconds
        try:
            return await channel.read(seconds)
        except TimeoutError as fault:
            raise errors.WatchSilent(f"nothing came for {seconds:g} s") from fault
        except OSError as fault:
            raise errors.TransportError(f"the watch was cut: {_describe(fault)}") from fault

    async def _send(self, prepared: request.Request, begin: _Begin | None = None) -> bytes:
        """Send until there is an answer, an error that may not be retried, or no time left.

        With `begin` the body of a 2xx goes to what that gives, and not into the result.
        """
        limits = self._limits
        deadline = self._clock.monotonic() + (limits.write_seconds if prepared.is_write else limits.read_seconds)
        failures = 0
        renewed = False
        while True:
            token = self._token.current()
            try:
                return await self._attempt(prepared, token, deadline, begin)
            except errors.Unauthorized:
                if renewed or not self._token.refused(token):
                    raise
                renewed = True
            except errors.ApiError as error:
                if not _is_retryable(prepared, error):
                    raise
                failures += 1
                delay = self._delay(failures, error)
                # Without time to connect, "not sent" could no longer be told from "reply lost".
                if self._clock.monotonic() + delay + limits.connect_seconds >= deadline:
                    raise
                await self._clock.sleep(delay)

    def _delay(self, failures: int, error: errors.ApiError) -> float:
        asked = min(error.retry_after or 0.0, _LONGEST_RETRY_AFTER_SECONDS)
        # On top of what the server asked for, so that all whom it asked the same do not come back together.
        return asked + _BACKOFF.next_delay(failures, self._jitter)

    async def _attempt(self, prepared: request.Request, token: str, deadline: float, begin: _Begin | None) -> bytes:
        await self._take_slot(deadline)
        try:
            answer = await self._exchange(prepared, token, deadline, begin)
            if answer.status == 429:
                self._in_flight.on_too_many_requests()
        finally:
            self._in_flight.release()
        if not answer.is_success:
            raise _refusal(answer, answer.body)
        return answer.body

    async def _take_slot(self, deadline: float) -> None:
        if self._in_flight.take():
            return  # nearly always; a timeout that is not needed would cost a tenth of the request
        try:
            async with asyncio.timeout(deadline - self._clock.monotonic()):
                await self._in_flight.acquire()
        except TimeoutError as fault:
            raise errors.TransportError("not sent: too many requests of our own were under way") from fault

    async def _exchange(self, prepared: request.Request, token: str, deadline: float, begin: _Begin | None) -> Reply:
        started = self._clock.monotonic()
        until = min(started + self._limits.request_seconds, deadline)
        data = self._encode(prepared, token)
        channel = self._pool.take() or await self._connect(prepared, started, until)
        try:
            left = self._seconds_left(until)
            if prepared.is_write:
                self._write_gate()
        except BaseException:
            self._pool.give(channel)
            raise
        status = 0
        seconds = 0.0
        try:
            if begin is None:
                answer = await channel.exchange(data, left)
            else:
                answer = await self._exchange_in_chunks(channel, data, until, begin)
            status = answer.status
        except OSError as fault:
            raise errors.ReplyLost(f"no reply: {_describe(fault)}") from fault
        finally:
            seconds = self._clock.monotonic() - started
            self._observer(prepared.verb, prepared.resource, status, seconds)
        self._pool.give(channel)
        if prepared.is_write and status != 429:
            self._in_flight.observe(f"{prepared.verb} {prepared.resource}", seconds)
        self._on_date(answer.header(b"date"), seconds)
        return answer

    async def _exchange_in_chunks(self, channel: Channel, data: bytes, until: float, begin: _Begin) -> Reply:
        answer = await channel.open(data, self._seconds_left(until))
        parts: list[bytes] = []
        take = begin() if answer.is_success else parts.append
        try:
            while chunk := await channel.read(max(0.0, until - self._clock.monotonic())):
                take(chunk)
        except BaseException:
            channel.abort()  # what is left of the answer would be taken for the next one
            raise
        return answer._replace(body=b"".join(parts))

    async def _connect(self, prepared: request.Request, started: float, until: float) -> Channel:
        try:
            return await self._pool.connect(until - started)
        except errors.TransportError:
            self._observer(prepared.verb, prepared.resource, 0, self._clock.monotonic() - started)
            raise

    def _seconds_left(self, until: float) -> float:
        seconds = until - self._clock.monotonic()
        if seconds <= 0:
            raise errors.TransportError("not sent: connecting took all the time there was")
        return seconds

    def _encode(self, prepared: request.Request, token: str) -> bytes:
        """Write a request down as HTTP/1.1 wants it."""
        lines = [f"{prepared.method} {self._path}{prepared.target} HTTP/1.1", self._common_headers]
        lines += [f"{name}: {value}" for name, value in prepared.headers.items()]
        if token:
            if not token.isprintable():
                raise errors.TransportError("not sent: the token is not one line of text")
            lines.append(f"Authorization: Bearer {token}")
        body = prepared.body
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
        return head if body is None else head + body


def _describe(fault: Exception) -> str:
    return f"{type(fault).__name__} {fault}".rstrip()


def _refusal(answer: Reply, body: bytes) -> errors.ApiError:
    return reply.error(answer.status, answer.header(b"content-type"), answer.header(b"retry-after"), body)


def _is_retryable(prepared: request.Request, error: errors.ApiError) -> bool:
    """Whether sending `prepared` again can do no harm; after a 429 or a failed connection that holds for any verb."""
    if isinstance(error, errors.TooManyRequests) or type(error) is errors.TransportError:
        return True
    return not prepared.is_write and isinstance(error, errors.ServerError | errors.ReplyLost)
