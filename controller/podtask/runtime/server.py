"""HTTP for probes and metrics: a thread of its own, and a bound on everything that a caller can ask for.

Each Pod of a cluster may reach these ports where no NetworkPolicy stops it, and the loop that does the work holds the
Lease as well. So requests are answered on another loop, in another thread. The two still share Python's one lock, so
the thread has little to do whatever comes: so many connections a second and no more, each with one request and a few
seconds to live, and the oldest is closed where there are too many. What the main loop has to say is asked of it at
most once a second, however many want to know.
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
_requests.setLevel(logging.CRITICAL + 1)  # a line for each malformed request would be a way to fill the log

CONNECTIONS = 64
"""Connections of one port at once. The oldest is closed for a new one, so that half-sent requests keep none out."""
CONNECTIONS_PER_SECOND = 100
"""Of one port. The others wait in the kernel."""
BACKLOG = 64
"""Connections that wait to be accepted, for less than a second; a client that finds no room tries again by itself."""
CONNECTION_SECONDS = 5.0
"""From its first byte to its last."""
HEADER_BYTES = 4096
"""A line of a request's head."""
HEADERS = 32
FRESH_SECONDS = 1.0
"""An answer serves everyone for so long."""
ANSWER_SECONDS = 3.0
"""What the main loop has not said by then it will not say in time for a probe."""


class Answer(NamedTuple):
    """What a page says."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Page = Callable[[], Awaitable[Answer]]


class Fresh(Generic[T]):
    """A value that is made anew on request, at most once a second. To be used on one loop."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._made: asyncio.Task[T] | None = None
        self._made_at = 0.0

    async def __call__(self) -> T:
        """Give it, no older than `FRESH_SECONDS`; raises what making it raised."""
        now = asyncio.get_running_loop().time()
        if self._made is None or (self._made.done() and now - self._made_at >= FRESH_SECONDS):
            self._made = asyncio.create_task(self._remake())
            self._made_at = now
        return await asyncio.shield(self._made)

    async def _remake(self) -> T:
        return await self._make()


async def ask(main: asyncio.AbstractEventLoop, read: Callable[[], T]) -> T:
    """Call `read` on another thread's loop; raises TimeoutError where that loop has not come to it in time."""

    async def there() -> T:
        return read()

    async with asyncio.timeout(ANSWER_SECONDS):
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), main))


class Server:
    """Serves the pages of every port that it listens on, from `start` until `close`."""

    def __init__(self) -> None:
        """Nothing listens before `listen`."""
        self._ports: list[tuple[socket.socket, Mapping[str, Page]]] = []
        self._thread = threading.Thread(target=self._run, name="probes and metrics", daemon=True)
        self._begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving: asyncio.Task[None] | None = None

    def listen(self, address: str, port: int, pages: Mapping[str, Page]) -> int:
        """Bind a port, of all addresses where `address` is empty; gives its number. Raises OSError."""
        is_dual = not address and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if is_dual or ":" in address else socket.AF_INET
        listener = socket.create_server((address, port), family=family, backlog=BACKLOG, dualstack_ipv6=is_dual)
        listener.setblocking(False)
        self._ports.append((listener, pages))
        number: int = listener.getsockname()[1]
        return number

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        self._begun.wait()

    async def close(self) -> None:
        """Listen no more."""
        if self._loop is not None and self._serving is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
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
        self._begun.set()
        async with asyncio.TaskGroup() as group:
            for listener, pages in self._ports:
                group.create_task(_accept(listener, _http(pages)))


def _http(pages: Mapping[str, Page]) -> web.Server:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        page = pages.get(request.path)
        if page is None:
            found = Answer(404, b"not found")
        else:
            try:
                found = await page()
            except TimeoutError:
                found = Answer(503, f"the main loop has said nothing for {ANSWER_SECONDS:g} s".encode())
        response = web.Response(body=found.body, status=found.status, headers={"Content-Type": found.content_type})
        response.force_close()
        return response

    return web.Server(
        answer,
        handler_cancellation=True,
        access_log=None,
        logger=_requests,
        lingering_time=0.0,
        max_line_size=HEADER_BYTES,
        max_field_size=HEADER_BYTES,
        max_headers=HEADERS,
        read_bufsize=HEADER_BYTES,
    )


async def _accept(listener: socket.socket, server: web.Server) -> None:
    """Take connections in one at a time, at a bounded pace."""
    loop = asyncio.get_running_loop()
    while True:
        with contextlib.suppress(OSError):  # it is gone already, or this process has no descriptor left
            taken, _ = await loop.sock_accept(listener)
            there = server.connections
            for oldest in there[: max(0, len(there) - CONNECTIONS + 1)]:
                if oldest.transport is not None:
                    oldest.transport.abort()
            transport, _ = await loop.connect_accepted_socket(server, taken)
            loop.call_later(CONNECTION_SECONDS, transport.abort)
        await asyncio.sleep(1 / CONNECTIONS_PER_SECOND)
