"""`client.Client` over HTTP/1.1: retries, limits, credentials and metrics. `transport` sends each single request.

Retry policy: reads are retried on transport errors and 5xx. Writes are retried only if provably not applied (connect
failed, 429, 401). After a lost reply or a 5xx a write may have been applied, and only its caller can find out. No call
takes longer than `Limits.write_seconds` or `read_seconds`, waiting and retries included: `runtime.election` relies on
it for the time after which no write of a deposed leader can land.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from . import backoff, client, clock, concurrency_limiter, config, errors, list_splitter, reply, request
from .transport import Begin, Exchange, Reply, Transport

V = TypeVar("V")

_BACKOFF = backoff.Backoff(base_seconds=0.1, cap_seconds=5.0)
_MAX_RETRY_AFTER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes and times of one client."""

    in_flight: int = 64
    """Requests at once, watches not counted. More than 64 cost more CPU for each request."""
    least_in_flight: int = 8
    """The lowest number of concurrent requests, however slowly the server answers."""
    connect_seconds: float = 5.0
    request_seconds: float = 30.0
    """One attempt, from its first byte to the last byte of its reply."""
    read_seconds: float = 60.0
    """A whole read, retries included."""
    write_seconds: float = 30.0
    """A whole write, retries included: how long after losing the Lease our last write can still land."""
    watch_silence_seconds: float = 75.0
    """Bookmarks come once a minute, so a watch on which nothing came for this long is dead."""
    watch_timeout_seconds: tuple[int, int] = (290, 590)
    """How long the server may keep a watch open, drawn at random so that watches do not end together."""


class RequestObserver(Protocol):
    """Is called after every request that was sent, or whose connection failed."""

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
        observer: RequestObserver = _unobserved,
        before_write: Callable[[], None] = _allow_all,
        on_server_date: Callable[[str, float], None] = _ignore_date,
        time_source: clock.Clock = clock.SYSTEM,
        jitter: backoff.Jitter = random.random,
    ) -> None:
        """`before_write` is called right before each write is handed to its connection, in the same turn of the event
        loop. If it raises, nothing is sent, and the exception goes to the caller.

        `on_server_date` is called with the `Date` of each reply, and how many seconds the request took.
        """
        self._token = config.Token(where, time_source=time_source)
        self._limits = limits
        self._observer = observer
        self._before_write = before_write
        self._on_server_date = on_server_date
        self._clock = time_source
        self._jitter = jitter
        self._limiter = concurrency_limiter.ConcurrencyLimiter(
            limits.in_flight, least=limits.least_in_flight, time_source=time_source
        )
        self._transport = Transport(where, limits.connect_seconds)

    @property
    def in_flight_limit(self) -> int:
        """How many requests may run at once now: `Limits.in_flight`, or fewer while the server is busy."""
        return self._limiter.size

    async def close(self) -> None:
        """Close every connection. Requests that are running fail."""
        await self._transport.close()

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
        splitters: list[list_splitter.ListSplitter[V]] = []

        def begin() -> Callable[[bytes], None]:
            splitters[:] = [list_splitter.ListSplitter(read)]
            return splitters[0].feed

        await self._send(prepared, begin)
        return splitters[0].page()

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
        async with self._stream(prepared) as stream:
            lines = reply.Lines()
            while chunk := await self._read_chunk(stream):
                for line in lines.feed(chunk):
                    yield reply.watch_event(line)

    @asynccontextmanager
    async def _stream(self, prepared: request.Request) -> AsyncIterator[Exchange]:
        token = self._token.current()
        stream = await self._open_stream(prepared, token)
        try:
            if stream.reply.status == 401 and self._token.refused(token):
                stream.close()
                stream = await self._open_stream(prepared, self._token.current())
            if not stream.reply.is_success:
                raise _error(stream.reply, await self._read_error_body(stream))
            yield stream
        finally:
            stream.close()

    async def _open_stream(self, prepared: request.Request, token: str) -> Exchange:
        started = self._clock.monotonic()
        status = 0
        try:
            stream = await self._transport.open_stream(prepared, token, self._limits.request_seconds)
            status = stream.reply.status
        finally:
            self._observer(prepared.verb, prepared.resource, status, self._clock.monotonic() - started)
        return stream

    async def _read_error_body(self, stream: Exchange) -> bytes:
        parts: list[bytes] = []
        with contextlib.suppress(errors.TransportError, TimeoutError):  # the status says enough
            async with asyncio.timeout(self._limits.request_seconds):
                while part := await stream.read_chunk():
                    parts.append(part)
        return b"".join(parts)

    async def _read_chunk(self, stream: Exchange) -> bytes:
        """Return what has come; empty at the end of the stream."""
        seconds = self._limits.watch_silence_seconds
        try:
            async with asyncio.timeout(seconds):
                return await stream.read_chunk()
        except TimeoutError as fault:
            raise errors.WatchSilent(f"nothing came for {seconds:g} s") from fault
        except errors.ReplyLost as fault:
            raise errors.TransportError(f"the watch was cut: {fault}") from fault

    async def _send(self, prepared: request.Request, begin: Begin | None = None) -> bytes:
        """Send until there is a reply, an error that may not be retried, or no time left.

        With `begin` the body of a 2xx reply goes to the function that `begin` returns, and the result is empty.
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
        asked = min(error.retry_after or 0.0, _MAX_RETRY_AFTER_SECONDS)
        # Added to Retry-After, so that clients which got the same value do not all come back at once.
        return asked + _BACKOFF.next_delay(failures, self._jitter)

    async def _attempt(self, prepared: request.Request, token: str, deadline: float, begin: Begin | None) -> bytes:
        await self._take_slot(deadline)
        try:
            answer = await self._exchange(prepared, token, deadline, begin)
            if answer.status == 429:
                self._limiter.on_too_many_requests()
        finally:
            self._limiter.release()
        if not answer.is_success:
            raise _error(answer, answer.body)
        return answer.body

    async def _take_slot(self, deadline: float) -> None:
        if self._limiter.take():
            return  # nearly always; a timeout that is not needed would cost a tenth of the request
        try:
            async with asyncio.timeout(deadline - self._clock.monotonic()):
                await self._limiter.acquire()
        except TimeoutError as fault:
            raise errors.TransportError("not sent: too many requests of our own were under way") from fault

    async def _exchange(self, prepared: request.Request, token: str, deadline: float, begin: Begin | None) -> Reply:
        started = self._clock.monotonic()
        until = min(started + self._limits.request_seconds, deadline)
        status = 0
        is_refused = False

        def before_send() -> None:
            nonlocal is_refused
            is_refused = True
            if self._clock.monotonic() >= until:
                raise errors.TransportError("not sent: connecting took all the time there was")
            if prepared.is_write:
                self._before_write()
            is_refused = False

        try:
            answer = await self._transport.send(prepared, token, until - started, before_send=before_send, begin=begin)
            status = answer.status
        finally:
            seconds = self._clock.monotonic() - started
            if not is_refused:
                self._observer(prepared.verb, prepared.resource, status, seconds)
        if prepared.is_write and status != 429:
            self._limiter.observe(f"{prepared.verb} {prepared.resource}", seconds)
        self._on_server_date(answer.header("Date"), seconds)
        return answer


def _error(answer: Reply, body: bytes) -> errors.ApiError:
    return reply.error(answer.status, answer.header("Content-Type"), answer.header("Retry-After"), body)


def _is_retryable(prepared: request.Request, error: errors.ApiError) -> bool:
    """Whether `prepared` may be sent again. After a 429 or a failed connection that is so for every verb."""
    if isinstance(error, errors.TooManyRequests) or type(error) is errors.TransportError:
        return True
    return not prepared.is_write and isinstance(error, errors.ServerError | errors.ReplyLost)
