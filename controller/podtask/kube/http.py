"""The door to a real API server: `client.Client` over HTTP/1.1 keep-alive.

What may be sent twice is the whole art here. A read is tried again after any failure that may pass. A write is tried
again only where it is certain that nothing was done: the connection could not be made, or the server answered 429 or
401. After a lost reply or a 5xx the write may have happened, and only the caller can look. No call, waiting and
retries included, outlives `Limits.write_seconds` or `read_seconds`: the proof that a deposed leader's last create is
dead rests on it.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import aiohttp
import yarl

import podtask

from . import backoff, client, clock, connection, errors, in_flight, reply, request

_BACKOFF = backoff.Backoff(base_seconds=0.1, cap_seconds=5.0)
_LONGEST_RETRY_AFTER_SECONDS = 10.0
_WATCH_CONNECTIONS = 8
_KEPT_SECONDS = 60.0
"""An idle connection is kept this long: a TLS handshake costs as much as ten requests. Balancers drop theirs later."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes and times of one client."""

    in_flight: int = 64
    """Requests at once, watches not counted. More than 64 cost more CPU for each request."""
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


def _open_gate() -> None: ...


def _no_watchmaker(said: str, seconds: float) -> None: ...


DEFAULT_LIMITS = Limits()


class HttpClient:
    """`client.Client` on aiohttp. To be made inside the running event loop, and closed in the same."""

    def __init__(
        self,
        where: connection.Connection,
        *,
        limits: Limits = DEFAULT_LIMITS,
        observer: Observer = _unobserved,
        write_gate: Callable[[], None] = _open_gate,
        on_date: Callable[[str, float], None] = _no_watchmaker,
        time_source: clock.Clock = clock.SYSTEM,
        jitter: backoff.Jitter = random.random,
    ) -> None:
        """`write_gate` is called before every sending of a write; what it raises goes to the caller, unsent.

        `on_date` hears the `Date` of each reply, and how many seconds the request took.

        On a kept connection the write goes out in the same turn of the loop; a new one takes `connect_seconds` at most.
        """
        self._server = where.server.rstrip("/")
        self._token = connection.Token(where, time_source=time_source)
        self._limits = limits
        self._observer = observer
        self._write_gate = write_gate
        self._on_date = on_date
        self._clock = time_source
        self._jitter = jitter
        self._in_flight = in_flight.InFlight(limits.in_flight, time_source=time_source)
        context = connection.ssl_context(where)
        # Watches have connections of their own: they never end, and would leave none for the rest.
        self._requests = _session(context, limits, limits.in_flight)
        self._watches = _session(context, limits, _WATCH_CONNECTIONS)

    @property
    def in_flight_limit(self) -> int:
        """How many requests may be under way now: `Limits.in_flight`, or fewer after 429s."""
        return self._in_flight.size

    async def close(self) -> None:
        """Close every connection; requests under way fail."""
        await self._requests.close()
        await self._watches.close()

    async def get(self, resource: client.Resource, namespace: str, name: str) -> bytes:
        """See `client.Client.get`."""
        return await self._send(request.get(resource, namespace, name))

    async def list_page(
        self,
        resource: client.Resource,
        *,
        namespace: str = "",
        selector: str = "",
        fields: str = "",
        limit: int = 500,
        continue_token: str = "",
    ) -> client.Page:
        """See `client.Client.list_page`."""
        prepared = request.list_page(
            resource, namespace=namespace, selector=selector, fields=fields, limit=limit, continue_token=continue_token
        )
        return reply.page(await self._send(prepared))

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
        async with self._stream(prepared) as response:
            lines = reply.Lines()
            while chunk := await self._read_chunk(response):
                for line in lines.feed(chunk):
                    yield reply.watch_event(line)

    @asynccontextmanager
    async def _stream(self, prepared: request.Request) -> AsyncIterator[aiohttp.ClientResponse]:
        token = self._token.current()
        response = await self._open_stream(prepared, token)
        if response.status == 401 and self._token.refused(token):
            response.close()
            response = await self._open_stream(prepared, self._token.current())
        try:
            if not _is_success(response):
                raise _refusal(response, await self._read_refusal(response))
            yield response
        finally:
            response.close()  # not released: what is left of the stream is of no use to the next request

    async def _open_stream(self, prepared: request.Request, token: str) -> aiohttp.ClientResponse:
        started = self._clock.monotonic()
        status = 0
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                response = await self._request(self._watches, prepared, token)
            status = response.status
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            raise _transport_error(fault) from fault
        else:
            return response
        finally:
            self._observer(prepared.verb, prepared.resource, status, self._clock.monotonic() - started)

    async def _read_refusal(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                return await response.read()
        except (aiohttp.ClientError, OSError):
            return b""  # the status says enough

    async def _read_chunk(self, response: aiohttp.ClientResponse) -> bytes:
        """Read what has come; empty at the end of the stream."""
        seconds = self._limits.watch_silence_seconds
        try:
            async with asyncio.timeout(seconds):
                return await response.content.readany()
        except TimeoutError as fault:
            raise errors.WatchSilent(f"nothing came for {seconds:g} s") from fault
        except (aiohttp.ClientError, OSError) as fault:
            raise errors.TransportError(f"the watch was cut: {_describe(fault)}") from fault

    async def _send(self, prepared: request.Request) -> bytes:
        """Send until there is an answer, an error that may not be retried, or no time left."""
        limits = self._limits
        deadline = self._clock.monotonic() + (limits.write_seconds if prepared.is_write else limits.read_seconds)
        failures = 0
        renewed = False
        while True:
            token = self._token.current()
            try:
                return await self._attempt(prepared, token, deadline)
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

    async def _attempt(self, prepared: request.Request, token: str, deadline: float) -> bytes:
        await self._take_slot(deadline)
        try:
            seconds = min(self._limits.request_seconds, deadline - self._clock.monotonic())
            if prepared.is_write:
                self._write_gate()
            response, body = await self._exchange(prepared, token, seconds)
            if response.status == 429:
                self._in_flight.throttled()
            else:
                self._in_flight.succeeded()
            if not _is_success(response):
                raise _refusal(response, body)
            return body
        finally:
            self._in_flight.release()

    async def _take_slot(self, deadline: float) -> None:
        if self._in_flight.take():
            return  # nearly always; a timeout that is not needed would cost a tenth of the request
        try:
            async with asyncio.timeout(deadline - self._clock.monotonic()):
                await self._in_flight.acquire()
        except TimeoutError as fault:
            raise errors.TransportError("not sent: too many requests of our own were under way") from fault

    async def _exchange(
        self, prepared: request.Request, token: str, seconds: float
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        started = self._clock.monotonic()
        status = 0
        try:
            async with asyncio.timeout(seconds):
                response = await self._request(self._requests, prepared, token)
                async with response:
                    body = await response.read()
            status = response.status
            self._on_date(response.headers.get("Date", ""), self._clock.monotonic() - started)
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            raise _transport_error(fault) from fault
        else:
            return response, body
        finally:
            self._observer(prepared.verb, prepared.resource, status, self._clock.monotonic() - started)

    async def _request(
        self, session: aiohttp.ClientSession, prepared: request.Request, token: str
    ) -> aiohttp.ClientResponse:
        if session.closed:
            raise errors.TransportError("not sent: the client is closed")
        return await session.request(
            prepared.method,
            yarl.URL(self._server + prepared.target, encoded=True),
            headers=prepared.headers | {"Authorization": f"Bearer {token}"} if token else prepared.headers,
            data=prepared.body,
            allow_redirects=False,  # a token goes to the server it was given for, and to no other
            middlewares=(_send_once,),
        )


def _session(context: ssl.SSLContext | None, limits: Limits, connections: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=context or True, keepalive_timeout=_KEPT_SECONDS),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        # No compression: it would cost the API server more than the network beside it saves.
        headers={"User-Agent": f"podtask/{podtask.__version__}", "Accept-Encoding": "identity"},
    )


async def _send_once(prepared: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending again by itself: it would, for a GET and a DELETE whose connection broke."""
    try:
        return await handler(prepared)
    except (aiohttp.ClientError, OSError) as fault:
        raise _transport_error(fault) from fault


def _transport_error(fault: Exception) -> errors.TransportError:
    """Tell what was certainly not sent from what may have been."""
    if isinstance(fault, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL):
        return errors.TransportError(f"not sent: {_describe(fault)}")
    return errors.ReplyLost(f"no reply: {_describe(fault)}")


def _describe(fault: Exception) -> str:
    return f"{type(fault).__name__} {fault}".rstrip()


def _is_success(response: aiohttp.ClientResponse) -> bool:
    return 200 <= response.status < 300


def _refusal(response: aiohttp.ClientResponse, body: bytes) -> errors.ApiError:
    headers = response.headers
    return reply.error(response.status, headers.get("Content-Type", ""), headers.get("Retry-After", ""), body)


def _is_retryable(prepared: request.Request, error: errors.ApiError) -> bool:
    """Whether sending `prepared` again can do no harm; after a 429 or a failed connection that holds for any verb."""
    if isinstance(error, errors.TooManyRequests) or type(error) is errors.TransportError:
        return True
    return not prepared.is_write and isinstance(error, errors.ServerError | errors.ReplyLost)
