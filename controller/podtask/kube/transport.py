"""Sends one request on a connection of aiohttp, and proves whether any of it was handed to the connection.

aiohttp's connector makes and keeps the connections, and its protocol parses the replies. Its `ClientSession` is not
used: redirects, cookies, proxies, compression and re-sending are not wanted here, and cost more CPU than all the rest
(docs/design/0017). Errors are `errors.ReplyLost` if the request may have reached the server, and a plain
`errors.TransportError` if it provably did not.
"""

import asyncio
import functools
import select
import urllib.parse
import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import EofStream, StreamReader
from yarl import URL

import podtask

from . import config, errors, request

T = TypeVar("T")
Begin = Callable[[], Callable[[bytes], None]]
"""Called when a successful reply begins; returns the function that is called with each chunk of its body."""

_KEEPALIVE_SECONDS = 60.0
"""How long an idle connection is kept: a TLS handshake costs as much as ten requests, and load balancers drop idle
connections later than this."""
_READ_BUFFER_BYTES = 1 << 19
"""aiohttp stops reading from a connection while twice as many bytes wait for a slow reader."""
_HEADER_BYTES = 1 << 16
"""Of one line. A longer one would make the reply to a successful write unreadable."""
_FAULTS = (aiohttp.ClientError, HttpProcessingError, EofStream, OSError)
"""What aiohttp raises for connections that cannot be made, that break, and that carry something other than HTTP."""


class Reply(NamedTuple):
    """Status, headers and body of one reply. The body of a stream is empty: it is read chunk by chunk."""

    status: int
    headers: Mapping[str, str]
    """Looked up without regard to case."""
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def header(self, name: str) -> str:
        """Return a header, or an empty string if the reply does not have it."""
        return self.headers.get(name, "")


class Transport:
    """Connections to one API server: kept ones for requests, and a new one for each watch.

    Make it inside the running event loop, and close it in the same. The number of connections is not limited here,
    but by the number of concurrent requests.
    """

    def __init__(self, where: config.ClusterConfig, connect_seconds: float) -> None:
        """`connect_seconds` limits name resolution, TCP and TLS handshakes together."""
        self._server = urllib.parse.urlsplit(where.server)
        self._ssl = config.ssl_context(where) or True
        self._path = self._server.path.rstrip("/")
        # No compression: it would cost the API server more than the network beside it saves.
        self._common_headers = (
            f"Host: {self._server.netloc.rpartition('@')[2]}\r\n"
            f"User-Agent: podtask/{podtask.__version__}\r\n"
            "Accept-Encoding: identity"
        )
        self._loop = asyncio.get_running_loop()
        self._connect_seconds = connect_seconds
        self._timeout = _connect_timeout(connect_seconds)
        self._requests = aiohttp.TCPConnector(limit=0, use_dns_cache=False, keepalive_timeout=_KEEPALIVE_SECONDS)
        # A watch would take a kept connection away from the requests for as long as it lasts.
        self._watches = aiohttp.TCPConnector(limit=0, use_dns_cache=False, force_close=True)
        self._polls: weakref.WeakKeyDictionary[ResponseHandler, select.poll] = weakref.WeakKeyDictionary()
        """Of each connection that was taken once."""

    async def close(self) -> None:
        """Close every connection. Requests that are under way fail."""
        await self._requests.close()
        await self._watches.close()

    async def send(
        self,
        prepared: request.Request,
        token: str,
        seconds: float,
        *,
        before_send: Callable[[], None],
        begin: Begin | None = None,
    ) -> Reply:
        """Send a request and read its whole reply within `seconds`.

        `before_send` is called right before the request is written; nothing is sent if it raises. If `begin` is given
        and the status is 2xx, the body goes to what `begin` returns, and `Reply.body` is empty.
        """
        until = self._loop.time() + seconds
        exchange = await self._connect(self._requests, seconds)
        try:
            data = self._encode(prepared, token)
            before_send()
            reply = await exchange.begin(data, until)
            if begin is None or not reply.is_success:
                return reply._replace(body=await exchange.read_all())
            take = begin()
            while chunk := await exchange.read_chunk():
                take(chunk)
        finally:
            exchange.close()
        return reply

    async def open_stream(self, prepared: request.Request, token: str, seconds: float) -> "Exchange":
        """Send a request on a new connection; returns once the headers of the reply have come, within `seconds`."""
        until = self._loop.time() + seconds
        exchange = await self._connect(self._watches, seconds)
        try:
            await exchange.begin(self._encode(prepared, token), until)
        except BaseException:
            exchange.close()
            raise
        exchange.stop_timer()
        return exchange

    async def _connect(self, connector: aiohttp.TCPConnector, seconds: float) -> "Exchange":
        """Return a kept connection that is alive, or a new one. Raises `errors.TransportError`."""
        if connector.closed:
            raise errors.TransportError("not sent: the client is closed")
        if seconds <= 0:  # aiohttp takes 0 for "no limit"
            raise errors.TransportError("not sent: there is no time left")
        timeout = self._timeout if seconds >= self._connect_seconds else _connect_timeout(seconds)
        try:
            while True:
                connection = await connector.connect(self._target, [], timeout)
                protocol, transport = connection.protocol, connection.transport
                if protocol is None or transport is None:
                    connection.close()
                    raise ConnectionError("the server has closed the new connection")
                poll = self._polls.get(protocol)
                if poll is None:
                    self._prepare(protocol, transport)
                elif protocol.should_close or transport.is_closing() or poll.poll(0):
                    connection.close()
                    continue
                return Exchange(connection, protocol, transport)
        # ValueError: a server address that is no URL.
        except (*_FAULTS, ValueError) as fault:
            raise errors.TransportError(f"not sent: {type(fault).__name__} {fault}".rstrip()) from fault

    def _prepare(self, protocol: ResponseHandler, transport: asyncio.Transport) -> None:
        """Set a new connection up: how replies are read, and how to find out whether the server has closed it.

        The socket itself is asked for that, because the loop may not have read from it yet. Nothing is due on an idle
        connection, so whatever can be read is its end, or a reply that belongs to no request; aiohttp would take that
        for the reply to the next request.
        """
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._polls[protocol] = poll
        protocol.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER_BYTES,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
        )

    @functools.cached_property
    def _target(self) -> aiohttp.ClientRequest:
        """What the connector needs to know of a request: where it goes, and the certificates. Never sent."""
        server = f"{self._server.scheme}://{self._server.netloc.rpartition('@')[2]}"
        return aiohttp.ClientRequest("GET", URL(server), loop=self._loop, ssl=self._ssl)

    def _encode(self, prepared: request.Request, token: str) -> bytes:
        """Return the bytes of a request."""
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


class Exchange:
    """One request and its reply, on a connection that nothing else uses meanwhile."""

    def __init__(self, connection: Connection, protocol: ResponseHandler, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._protocol = protocol
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None
        self._is_begun = False
        self._is_over = False
        self._is_late = False
        self._body: StreamReader
        self.reply: Reply

    async def begin(self, data: bytes, until: float) -> Reply:
        """Hand a request to the connection in this very turn of the loop, and return the reply without its body.

        The connection is closed if the whole reply has not come by `until`, in the loop's time.
        """
        self._is_begun = True
        self._transport.write(data)
        # One timer of the loop, because `asyncio.timeout` costs several times as much.
        self._timer = asyncio.get_running_loop().call_at(until, self._expire)
        message, self._body = await self._translate(self._protocol.read())
        while 100 <= message.code < 200 and message.code != 101:
            message, self._body = await self._translate(self._protocol.read())
        _require_whole_body(message)
        self.reply = Reply(message.code, message.headers, b"")
        return self.reply

    async def read_all(self) -> bytes:
        """Return the whole body."""
        body = await self._translate(self._body.read())
        self._is_over = True
        return body

    async def read_chunk(self) -> bytes:
        """Return what has come of the body since the last call; waits for more, and is empty at the end."""
        chunk = await self._translate(self._body.readany())
        self._is_over = not chunk
        return chunk

    def stop_timer(self) -> None:
        """Let the rest of the reply take any time."""
        if self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        """Give the connection back if the reply is complete or nothing was sent, and otherwise close it at once.

        Bytes that it has buffered are then dropped. aiohttp would close it after sending them, however late that is.
        """
        self.stop_timer()
        if self._is_over or not self._is_begun:
            self._connection.release()
        else:
            self._transport.abort()
            self._connection.close()

    def _expire(self) -> None:
        self._is_late = True
        self._transport.abort()

    async def _translate(self, reading: Awaitable[T]) -> T:
        try:
            return await reading
        except _FAULTS as fault:
            said = "not within its time" if self._is_late else f"{type(fault).__name__} {fault}".rstrip()
            raise errors.ReplyLost(f"no reply: {said}") from fault


def _require_whole_body(message: RawResponseMessage) -> None:
    """Raise `errors.ReplyLost` for a reply that cannot be read, or cannot be told from one that was cut."""
    encoding = message.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise errors.ReplyLost(f"no reply: it has the encoding {encoding[:20]}, which was not asked for")
    if message.code == 101:
        raise errors.ReplyLost("no reply: the server has changed the protocol")
    if not message.chunked and "Content-Length" not in message.headers and message.code not in (204, 304):
        raise errors.ReplyLost("no reply: its end is marked by nothing but the end of the connection")


def _connect_timeout(seconds: float) -> aiohttp.ClientTimeout:
    # Above `ceil_threshold`, aiohttp would round up to whole seconds.
    return aiohttp.ClientTimeout(connect=seconds, ceil_threshold=float("inf"))
