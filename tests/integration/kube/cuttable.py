"""A TCP relay in front of the API server whose connections can be cut, and made again or not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Relay:
    """Bytes go both ways until `cut`; TLS passes through untouched."""

    host: str
    port: int
    listening_on: int = 0
    accepting: bool = True
    accepted: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def cut(self) -> None:
        """Break every connection at once, as a lost node does: no goodbye."""
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._relay(reader, writer)
        finally:
            self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.accepting:
            writer.transport.abort()
            return
        self.accepted += 1
        upstream_reader, upstream = await asyncio.open_connection(self.host, self.port)
        both = {writer, upstream}
        self._open |= both
        try:
            await asyncio.gather(_pump(reader, upstream), _pump(upstream_reader, writer))
        finally:
            self._open -= both
            for each in both:
                each.transport.abort()

    async def stop(self) -> None:
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def relaying(host: str, port: int) -> AsyncIterator[Relay]:
    relay = Relay(host, port)
    server = await asyncio.start_server(relay._serve, "127.0.0.1", 0)
    relay.listening_on = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        await relay.stop()
        await server.wait_closed()
