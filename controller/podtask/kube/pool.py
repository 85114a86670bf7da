"""The connections to one API server: those that are idle are kept for a while, the last used one goes first."""

import asyncio
import ssl
import urllib.parse

from . import errors
from .channel import Channel

_KEPT_SECONDS = 60.0
"""An idle connection is kept this long: a TLS handshake costs as much as ten requests. Balancers drop theirs later."""

_READ_BYTES = 64 * 1024
"""Taken from a connection at once: four records of TLS."""


class Pool:
    """Makes connections, keeps them, closes them. Who bounds the requests under way bounds their number."""

    def __init__(self, server: str, context: ssl.SSLContext | None, connect_seconds: float) -> None:
        """`server` is a URL; what stands behind its host and port is not looked at."""
        self._url = urllib.parse.urlsplit(server)
        self._context = context
        self._connect_seconds = connect_seconds
        self._received = memoryview(bytearray(_READ_BYTES))
        self._all: set[Channel] = set()
        # In the order in which they fell idle.
        self._idle: list[Channel] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def host(self) -> str:
        """Give host and port as HTTP's header wants them."""
        return self._url.netloc.rpartition("@")[2]

    async def close(self) -> None:
        """Close every connection; requests under way fail."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for channel in self._all:
            channel.abort()
        if self._all:
            await asyncio.wait([channel.lost for channel in self._all])

    def take(self) -> Channel | None:
        """Take the connection that was used last, None where none is idle."""
        while self._idle:
            channel = self._idle.pop()
            if channel.is_usable:
                return channel
            channel.abort()
        return None

    def give(self, channel: Channel) -> None:
        """Give one back whose answer is complete."""
        loop = asyncio.get_running_loop()
        channel.idle_since = loop.time()
        self._idle.append(channel)
        if self._timer is None and not self._closed:
            self._timer = loop.call_later(_KEPT_SECONDS, self._sweep)

    async def connect(self, seconds: float) -> Channel:
        """Make one, TLS and all, within `seconds` and the time for that. TransportError where it cannot be made."""
        if self._closed:
            raise errors.TransportError("not sent: the client is closed")
        try:
            async with asyncio.timeout(min(seconds, self._connect_seconds)):
                return await self._connect()
        # ValueError: a port that is no number, a name that no resolver takes.
        except (OSError, ValueError) as fault:
            raise errors.TransportError(f"not sent: {type(fault).__name__} {fault}".rstrip()) from fault

    async def _connect(self) -> Channel:
        loop = asyncio.get_running_loop()
        host, port = self._url.hostname, self._url.port or (443 if self._context else 80)
        if not host:
            raise ValueError("the server's address has no host")
        _, channel = await loop.create_connection(lambda: Channel(loop, self._received), host, port, ssl=self._context)
        if self._closed:
            channel.abort()
            raise ConnectionError("the client was closed meanwhile")
        self._all.add(channel)
        channel.lost.add_done_callback(lambda _: self._forget(channel))
        return channel

    def _forget(self, channel: Channel) -> None:
        self._all.discard(channel)
        if channel in self._idle:
            self._idle.remove(channel)

    def _sweep(self) -> None:
        """Close what has been idle for long enough."""
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._idle and self._idle[0].idle_since + _KEPT_SECONDS <= loop.time():
            self._idle.pop(0).abort()
        if self._idle:
            self._timer = loop.call_at(self._idle[0].idle_since + _KEPT_SECONDS, self._sweep)
