"""Stand-ins for the tests of kube/: a clock that jumps, and a real HTTP server that follows a script."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class JumpingClock:
    """Sleeping takes no time and moves the clock on; every sleep is written down."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Seen:
    """One request as the server saw it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedServer:
    """Answers the n-th request with the n-th answer of its script, and remembers what it was asked."""

    url: str = ""
    script: list[Answer] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    async def _handle(self, asked: web.Request) -> web.StreamResponse:
        self.seen.append(Seen(asked.method, asked.raw_path, dict(asked.headers), await asked.read()))
        if not self.script:
            return web.Response(status=599, text="the script has ended")
        return await self.script.pop(0)(asked)


@asynccontextmanager
async def serving() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{path:.*}", server._handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = runner.addresses[0] and f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


def says(body: bytes | dict[str, object] = b"{}", status: int = 200, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)

    async def answer(asked: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=raw, status=status, headers={"Content-Type": "application/json"} | named)

    return answer


def refuses(code: int, reason: str = "", message: str = "no", **headers: str) -> Answer:
    return says({"kind": "Status", "reason": reason, "message": message, "code": code}, code, **headers)


def hangs_up(asked: web.Request) -> Awaitable[web.StreamResponse]:
    """The request was read, and the connection breaks."""

    async def answer() -> web.StreamResponse:
        assert asked.transport is not None
        asked.transport.abort()
        return web.Response()

    return answer()


def streams(*chunks: bytes, then: str = "end") -> Answer:
    """A stream that ends, is cut, or goes silent after its chunks."""

    async def answer(asked: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(asked)
        for chunk in chunks:
            await response.write(chunk)
        if then == "cut":
            assert asked.transport is not None
            asked.transport.close()
        if then == "silence":
            await asyncio.Event().wait()
        return response

    return answer


def line(kind: str, /, **obj: object) -> bytes:
    return orjson.dumps({"type": kind, "object": obj}) + b"\n"
