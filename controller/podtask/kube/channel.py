"""One connection to the API server: bytes out, a reply in, one request at a time.

A general HTTP client took half of the controller's CPU, most of it for redirects, cookies, proxies and compression,
none of which is wanted here. llhttp, the parser of Node.js, does the part that is hard to get right. A reply whose
end is marked by nothing but the end of the connection counts as lost: nobody can tell it from one that was cut.
"""

import asyncio
import select
from typing import NamedTuple, cast

import httptools

_MOST_WAITING_BYTES = 1 << 20
"""Of a stream whose reader is slow. The server is told to wait beyond that."""
_INFORMATIONAL = 200
"""Statuses below this are followed by the real one."""
_KEPT_HEADERS = frozenset({b"content-type", b"retry-after", b"date", b"content-encoding"})


class Reply(NamedTuple):
    """One answer. Of a stream the body is empty: it is read piece by piece."""

    status: int
    headers: dict[bytes, bytes]
    """Names in lower case; only those that anybody asks for."""
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the server did as it was asked."""
        return 200 <= self.status < 300

    def header(self, name: bytes) -> str:
        """Give a header, empty where there is none."""
        return self.headers.get(name, b"").decode("latin-1")


class Channel(asyncio.BufferedProtocol):
    """One connection. What it raises is OSError: after the first byte was sent, nobody knows what became of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, received: memoryview) -> None:
        """To be given to `loop.create_connection`. `received` may be shared by all connections of one loop.

        What is read into it is parsed in the same turn. Without it each read takes 256 KiB from the allocator, which
        asks the kernel for it and gives it back.
        """
        self._loop = loop
        self._received = received
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._waiting_bytes = 0
        self._streams = False
        self._paused = False
        self._is_free = True
        """Nothing was asked, or its answer is complete."""
        self._fault: OSError | None = None
        self.lost: asyncio.Future[None] = loop.create_future()
        """Done when the connection is gone."""
        self.idle_since = 0.0

    # ---- asking ----

    @property
    def is_usable(self) -> bool:
        """Whether a request may be sent on it.

        The socket itself is asked, because the loop may not have come round to telling us that the server has hung
        up. Nothing is due on a connection that is idle, so whatever waits there is the end of it.
        """
        return self._is_free and not self._transport.is_closing() and not self._poll.poll(0)

    async def exchange(self, data: bytes, seconds: float) -> Reply:
        """Send a request in this very turn of the loop, and wait for the whole answer."""
        self._begin(data, streams=False)
        await self._wait(seconds)
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        return Reply(self._status, self._headers, body)

    async def open(self, data: bytes, seconds: float) -> Reply:
        """Send a request in this very turn of the loop, and wait for the beginning of the answer."""
        self._begin(data, streams=True)
        while not self._status:
            await self._wait(seconds)
        return Reply(self._status, self._headers, b"")

    async def read(self, seconds: float) -> bytes:
        """Give what has come of a stream since the last time; empty at its end. TimeoutError where nothing comes."""
        while not self._parts and not self._is_free:
            await self._wait(seconds)
        data = b"".join(self._parts)
        self._parts = []
        self._waiting_bytes = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    def abort(self) -> None:
        """Close it at once, whatever is under way."""
        self._transport.abort()

    def _begin(self, data: bytes, *, streams: bool) -> None:
        if self._fault is not None:
            raise self._fault
        self._is_free = False
        self._streams = streams
        self._status = 0
        self._headers = {}
        self._transport.write(data)

    async def _wait(self, seconds: float) -> None:
        if self._fault is not None:
            raise self._fault
        waiter = self._waiter = self._loop.create_future()
        # One timer of the loop: `asyncio.timeout` costs several times as much.
        timer = self._loop.call_later(seconds, self._expire)
        try:
            await waiter
        except BaseException:
            self.abort()  # whatever comes now would be taken for the answer to the next request
            raise
        finally:
            timer.cancel()
            self._waiter = None

    def _expire(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError("nothing came"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, fault: OSError) -> None:
        self._fault = self._fault or fault
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._fault)

    # ---- asyncio's side ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - it has one size
        """See asyncio.BufferedProtocol."""
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        if self._is_free:
            self.abort()  # nothing was asked
            return
        try:
            self._parser.feed_data(self._received[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:
            self._fail(ConnectionError(f"what came is not HTTP: {fault}"))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._fail(exc if isinstance(exc, OSError) else ConnectionError(str(exc or "the server hung up")))
        if not self.lost.done():
            self.lost.set_result(None)

    # ---- the parser's side ----

    def on_message_begin(self) -> None:
        """See httptools."""
        if self._is_free:
            raise ValueError("a second answer to one request")  # the parser stops, and the first answer stands

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        name = name.lower()
        if name in _KEPT_HEADERS:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        """See httptools."""
        status = self._parser.get_status_code()
        if status < _INFORMATIONAL:
            self._headers = {}
            return
        self._status = status
        encoding = self._headers.get(b"content-encoding", b"identity").decode("latin-1")
        if encoding.lower() != "identity":
            self._fail(ConnectionError(f"the answer came in the encoding {encoding[:20]}, which was not asked for"))
            self.abort()
        elif self._streams:
            self._wake()

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._parts.append(body)
        if self._streams:
            self._waiting_bytes += len(body)
            if self._waiting_bytes > _MOST_WAITING_BYTES and not self._paused:
                self._paused = True
                self._transport.pause_reading()
            self._wake()

    def on_message_complete(self) -> None:
        """See httptools."""
        if not self._status:
            return
        self._is_free = True
        if not self._parser.should_keep_alive():
            self._transport.close()
        self._wake()
