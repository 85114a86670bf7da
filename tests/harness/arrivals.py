"""Times at which changes arrive: two watches, whose events get this process's time.

Times in the objects are whole seconds and of several clocks; what counts for a waiter is when it hears of it.
"""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness import HANG_SECONDS

Object = dict[str, Any]


class Arrivals:
    """The changes of one namespace, each with its time of arrival."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server
        self._seen: list[tuple[float, Object]] = []
        self._news = asyncio.Condition()
        self._broken: BaseException | None = None

    async def post(self, path: str, body: Object) -> float:
        """Create an object; return the time at which the request was sent."""
        begun = time.monotonic()
        async with self._session.post(self._server + path, json=body) as reply:
            assert reply.status == 201, await reply.text()
        return begun

    async def first(self, fact: Callable[[Object], bool], seconds: float = HANG_SECONDS) -> float:
        """Wait for the first object for which `fact` holds; return the time of its arrival."""
        return (await self.first_seen(fact, seconds))[0]

    async def first_seen(self, fact: Callable[[Object], bool], seconds: float = HANG_SECONDS) -> tuple[float, Object]:
        """Wait for the first object for which `fact` holds; return the time of its arrival, and the object."""
        async with asyncio.timeout(seconds), self._news:
            while self._broken is None:
                for at, found in self._seen:
                    if fact(found):
                        return at, found
                await self._news.wait()
            raise self._broken

    async def follow(self, path: str, opened: asyncio.Event) -> None:
        """Watch a collection until cancelled. If the watch ends before, the waits for its events fail."""
        try:
            await self._follow(path, opened)
            self._broken = EOFError(f"the watch of {path} has ended")
        except Exception as error:  # noqa: BLE001 - raised where an event is awaited
            self._broken = error
        opened.set()
        async with self._news:
            self._news.notify_all()

    async def _follow(self, path: str, opened: asyncio.Event) -> None:
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(self._server + path, params={"watch": "true"}, timeout=timeout) as reply:
            assert reply.status == 200, await reply.text()
            opened.set()
            async for line in reply.content:
                async with self._news:
                    self._seen.append((time.monotonic(), json.loads(line)["object"]))
                    self._news.notify_all()


@asynccontextmanager
async def arrivals(kubeconfig: Path, directory: Path, *collections: str) -> AsyncIterator[Arrivals]:
    """Watch collections and record the events."""
    server, context = _read(kubeconfig, directory)
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector, read_bufsize=1 << 24) as session:
        found = Arrivals(session, server)
        opened = [asyncio.Event() for _ in collections]
        watches = [
            asyncio.create_task(found.follow(path, event)) for path, event in zip(collections, opened, strict=True)
        ]
        try:
            for event in opened:
                await event.wait()
            yield found
        finally:
            # While the watches hold their connections: those are closed, and waited for. One that a cancelled watch
            # gives back is closed by the garbage collector.
            async with asyncio.timeout(HANG_SECONDS):
                await connector.close()
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)


def _read(kubeconfig: Path, directory: Path) -> tuple[str, ssl.SSLContext]:
    document = json.loads(kubeconfig.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    pair = directory / "client.pem"
    pair.write_bytes(b"\n".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))
    context.load_cert_chain(pair)
    return str(cluster["server"]), context
