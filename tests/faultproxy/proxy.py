"""The proxy: plain HTTP on loopback towards the controller, TLS with the admin's certificate towards the server.

For every request a test's rule says what happens to it. The proxy runs in a thread with a loop of its own, so that
tests stay ordinary functions. It invents no answer of the API server: a fault is a refusal to pass something on, or
one of the few errors that a front end (a load balancer, priority and fairness) gives by itself.
"""

import asyncio
import enum
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import aiohttp
from aiohttp import web

from podtask.kube.config import ClusterConfig, ssl_context
from tests.harness import HANG_SECONDS
from tests.kubeconfig import connect

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Fault(enum.Enum):
    """What becomes of a request."""

    NONE = "passed on"
    DROP = "not passed on, connection cut"
    LOSE_REPLY = "passed on, and the reply withheld"
    HOLD = "passed on when the test lets go"
    HOLD_REPLY = "passed on, and the reply given when the test lets go"
    TOO_MANY = "answered 429"
    UNAVAILABLE = "answered 503"


@dataclass(frozen=True)
class Seen:
    """One request, as a rule sees it."""

    method: str
    path: str
    body: bytes

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return self.method in WRITES


Rule = Callable[[Seen], Fault]


def _no_fault(_: Seen) -> Fault:
    return Fault.NONE


@dataclass
class FaultProxy:
    """A context manager; `kubeconfig(path)` writes what a client needs to go through it."""

    target: Path
    """The kubeconfig of the real cluster."""
    rule: Rule = _no_fault
    after_loss: Callable[[Seen], None] = lambda _: None
    """Called once a request was dropped, or passed on with its reply withheld, before its connection is cut."""
    seen: list[Seen] = field(default_factory=list)
    port: int = 0
    let_through: threading.Event = field(default_factory=threading.Event)
    """Whether what was held has been answered by the server, and passed on to the clients that still wait."""

    def __enter__(self) -> "FaultProxy":
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._up.wait(HANG_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    def let_go(self) -> None:
        """Pass on what is held, and hold nothing any more."""
        self._loop.call_soon_threadsafe(self._free.set)

    def cut_watches(self) -> None:
        """Cut every watch that is open now."""
        self._loop.call_soon_threadsafe(lambda: [t.close() for t in list(self._watches)])

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads through the proxy."""
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        config = {
            "clusters": [cluster],
            "contexts": [context],
            "users": [{"name": "u", "user": {}}],
            "current-context": "x",
        }
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **config}))
        return path

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._free = asyncio.Event()
        self._watches: set[asyncio.BaseTransport] = set()
        self._where: ClusterConfig = connect(self.target)
        connector = aiohttp.TCPConnector(ssl=ssl_context(self._where) or False, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False, timeout=timeout) as self._session:
            app = web.Application(client_max_size=8 * 1024 * 1024)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = runner.addresses[0][1]
            self._up.set()
            await self._end.wait()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        seen = Seen(request.method, request.path, body)
        self.seen.append(seen)
        fault = self.rule(seen)
        if fault is Fault.TOO_MANY:
            return web.json_response(
                {"kind": "Status", "message": "slow down"}, status=429, headers={"Retry-After": "1"}
            )
        if fault is Fault.UNAVAILABLE:
            return web.Response(text="<html>no backend</html>", status=503)
        if fault is Fault.DROP:
            return self._lose(request, seen)
        if fault is Fault.HOLD:
            await self._free.wait()
        try:
            response = await self._pass_on(request, seen, body, fault)
        except aiohttp.ClientError:
            return self._lose(request, seen)
        finally:
            # Also where the client is gone by then: the server has carried it out all the same.
            if fault in {Fault.HOLD, Fault.HOLD_REPLY}:
                self.let_through.set()
        return response

    async def _pass_on(self, request: web.Request, seen: Seen, body: bytes, fault: Fault) -> web.StreamResponse:
        headers = {
            k: v for k, v in request.headers.items() if k.lower() not in {"host", "content-length", "connection"}
        }
        url = self._where.server + request.path_qs
        async with self._session.request(request.method, url, data=body or None, headers=headers) as reply:
            if fault is Fault.LOSE_REPLY:
                await reply.read()
                return self._lose(request, seen)
            if fault is Fault.HOLD_REPLY:
                await self._free.wait()
            kept = {k: v for k, v in reply.headers.items() if k.lower() not in {"transfer-encoding", "content-length"}}
            response = web.StreamResponse(status=reply.status, headers=kept)
            await response.prepare(request)
            transport = request.transport
            is_watch = "watch" in request.query
            if is_watch and transport is not None:
                self._watches.add(transport)
            try:
                async for chunk in reply.content.iter_any():
                    await response.write(chunk)
            except ConnectionError:
                return response
            finally:
                if transport is not None:
                    self._watches.discard(transport)
            await response.write_eof()
            return response

    def _lose(self, request: web.Request, seen: Seen) -> web.Response:
        self.after_loss(seen)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)
