"""HTTP server of the probes and metrics, in a thread of its own, with a limit on all that a client can cause.

Without a NetworkPolicy every Pod of the cluster can reach these ports, and the main event loop has to renew the Lease
in time. So requests are answered by another event loop in another thread. Both threads share Python's global lock, so
this one must have little to do under any load: it accepts a limited number of connections per second, each serves one
request and is closed after a few seconds, and above the limit of open connections the oldest is closed. Each
port calls into the main loop at most once a second, however many clients ask.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from aiohttp import web

T = TypeVar("T")
_log = logging.getLogger(__name__)
_requests = _log.getChild("requests")
_requests.setLevel(logging.CRITICAL + 1)  # a line for each malformed request would let a client fill the log

MAX_CONNECTIONS = 64
"""Open connections of one port. The oldest is closed for a new one, so half-sent requests do not block others."""
CONNECTIONS_PER_SECOND = 100
"""Connections that one port accepts per second. More wait in the kernel's queue."""
BACKLOG = 64
"""Length of the kernel's queue. A connection waits there for less than a second; a client that finds the queue full
tries again by itself."""
CONNECTION_TIMEOUT_SECONDS = 5.0
"""Lifetime of a connection."""
MAX_HEADER_BYTES = 4096
"""Longest line of a request's header."""
MAX_HEADERS = 32
CACHE_SECONDS = 1.0
"""How long a response is reused."""
CALL_TIMEOUT_SECONDS = 3.0
"""How long a call into the main loop may take. A later reply would be too late for a probe."""


class Response(NamedTuple):
    """The response of an endpoint."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Endpoint = Callable[[], Awaitable[Response]]


class Cached(Generic[T]):
    """A value that is computed on request, at most once in `CACHE_SECONDS`. Use it on one event loop only."""

    def __init__(self, compute: Callable[[], Awaitable[T]]) -> None:
        self._compute = compute
        self._computation: asyncio.Task[T] | None = None
        self._computed_at = 0.0

    async def __call__(self) -> T:
        """Return the value, no older than `CACHE_SECONDS`; raises what computing it raised."""
        now = asyncio.get_running_loop().time()
        if self._computation is None or (self._computation.done() and now - self._computed_at >= CACHE_SECONDS):
            self._computation = asyncio.create_task(self._run())
            self._computed_at = now
        return await asyncio.shield(self._computation)

    async def _run(self) -> T:
        return await self._compute()


async def call_on_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> T:
    """Call a function on another thread's event loop; raises TimeoutError after `CALL_TIMEOUT_SECONDS`."""

    async def call() -> T:
        return function()

    async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), loop))


class Server:
    """Serves the endpoints of every port that it listens on, from `start` until `close`."""

    def __init__(self) -> None:
        """No port is open before `listen`."""
        self._ports: list[tuple[socket.socket, Mapping[str, Endpoint]]] = []
        self._thread = threading.Thread(target=self._run, name="probes and metrics", daemon=True)
        self._has_started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving: asyncio.Task[None] | None = None

    def listen(self, address: str, port: int, endpoints: Mapping[str, Endpoint]) -> int:
        """Open a port on `address`, or on all addresses if it is empty; return the port's number. Raises OSError.

        `endpoints` are keyed by path (`/healthz`). Port 0 takes a free one.
        """
        is_dual = not address and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if is_dual or ":" in address else socket.AF_INET
        listener = socket.create_server((address, port), family=family, backlog=BACKLOG, dualstack_ipv6=is_dual)
        listener.setblocking(False)
        self._ports.append((listener, endpoints))
        number: int = listener.getsockname()[1]
        return number

    def start(self) -> None:
        """Start the thread that answers requests."""
        self._thread.start()
        self._has_started.wait()

    async def close(self) -> None:
        """Stop the thread and close all ports."""
        if self._loop is not None and self._serving is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._serving.cancel)
            await asyncio.to_thread(self._thread.join)
        for listener, _ in self._ports:
            listener.close()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._serving = asyncio.current_task()
        self._has_started.set()
        async with asyncio.TaskGroup() as group:
            for listener, endpoints in self._ports:
                group.create_task(_accept(listener, _http_server(endpoints)))


def _http_server(endpoints: Mapping[str, Endpoint]) -> web.Server:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        endpoint = endpoints.get(request.path)
        if endpoint is None:
            response = Response(404, b"not found")
        else:
            try:
                response = await endpoint()
            except TimeoutError:
                response = Response(503, f"the main loop has not replied for {CALL_TIMEOUT_SECONDS:g} s".encode())
        reply = web.Response(
            body=response.body, status=response.status, headers={"Content-Type": response.content_type}
        )
        reply.force_close()
        return reply

    return web.Server(
        handle,
        handler_cancellation=True,
        access_log=None,
        logger=_requests,
        lingering_time=0.0,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        max_headers=MAX_HEADERS,
        read_bufsize=MAX_HEADER_BYTES,
    )


async def _accept(listener: socket.socket, server: web.Server) -> None:
    """Accept connections one at a time, `CONNECTIONS_PER_SECOND` at most; close all when cancelled."""
    loop = asyncio.get_running_loop()
    try:
        while True:
            with contextlib.suppress(OSError):  # the client has closed the connection, or no file descriptor is left
                accepted, _ = await loop.sock_accept(listener)
                _abort(server, but=MAX_CONNECTIONS - 1)
                transport, _ = await loop.connect_accepted_socket(server, accepted)
                loop.call_later(CONNECTION_TIMEOUT_SECONDS, transport.abort)
            await asyncio.sleep(1 / CONNECTIONS_PER_SECOND)
    finally:
        _abort(server, but=0)


def _abort(server: web.Server, *, but: int) -> None:
    """Close the oldest connections until so many are left."""
    connections = server.connections
    for oldest in connections[: max(0, len(connections) - but)]:
        if oldest.transport is not None:
            oldest.transport.abort()
