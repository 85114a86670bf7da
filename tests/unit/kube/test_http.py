"""What is sent again, and what never is: the client against a real HTTP server that follows a script."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from podtask import __version__
from podtask.kube import client, errors
from podtask.kube.client import PODS, EventType, PatchType, WatchEvent
from podtask.kube.config import ClusterConfig
from podtask.kube.http import HttpClient, Limits
from tests.harness import HANG_SECONDS, sockets
from tests.unit.kube.doubles import (
    JumpingClock,
    ScriptedServer,
    hangs_up,
    line,
    refuses,
    says,
    serving,
    streams,
)


@dataclass
class World:
    """One client, its server, its clock, and what its observer heard."""

    server: ScriptedServer
    clock: JumpingClock
    heard: list[tuple[str, str, int]] = field(default_factory=list)
    clients: list[HttpClient] = field(default_factory=list)
    gate: Callable[[], None] = lambda: None

    def client(self, limits: Limits | None = None, **connection: str) -> HttpClient:
        made = HttpClient(
            ClusterConfig(**{"server": self.server.url} | connection),  # type: ignore[arg-type]
            limits=limits or Limits(),
            observer=lambda verb, resource, status, _seconds: self.heard.append((verb, resource, status)),
            before_write=self.pass_gate,
            time_source=self.clock,
            jitter=lambda: 0.0,
        )
        self.clients.append(made)
        return made

    def pass_gate(self) -> None:
        self.gate()

    @property
    def methods(self) -> list[str]:
        return [seen.method for seen in self.server.seen]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with serving() as server:
        made = World(server, JumpingClock())
        yield made
        for each in made.clients:
            assert each._limiter.used == 0, "a slot was kept"
            await each.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind"


Call = Callable[[HttpClient], Awaitable[object]]
READS: dict[str, Call] = {
    "get": lambda api: api.get(PODS, "n", "p"),
    "list": lambda api: api.list_page(PODS, read=bytes),
    "log": lambda api: api.read_log("n", "p", "c", limit_bytes=9),
}
WRITES: dict[str, Call] = {
    "create": lambda api: api.create(PODS, "n", b"{}"),
    "patch": lambda api: api.patch(PODS, "n", "p", b"{}", PatchType.MERGE),
    "delete": lambda api: api.delete(PODS, "n", "p", uid="u"),
}
PAGE = says({"metadata": {"resourceVersion": "1"}, "items": []})
reads = pytest.mark.parametrize("call", READS.values(), ids=READS.keys())
writes = pytest.mark.parametrize("call", WRITES.values(), ids=WRITES.keys())
all_verbs = pytest.mark.parametrize("call", (READS | WRITES).values(), ids=(READS | WRITES).keys())


async def test_a_request_arrives_as_prepared(world: World) -> None:
    world.server.script = [says(b'{"kind":"Pod"}', 201)]
    assert await world.client(token="t").create(PODS, "n", b'{"a":1}') == b'{"kind":"Pod"}'
    (seen,) = world.server.seen
    assert (seen.method, seen.body) == ("POST", b'{"a":1}')
    assert seen.target == "/api/v1/namespaces/n/pods?fieldManager=podtask&fieldValidation=Strict"
    want = {
        "User-Agent": f"podtask/{__version__}",
        "Authorization": "Bearer t",
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
    }
    assert want.items() <= seen.headers.items()
    assert world.heard == [("create", "pods", 201)]


async def test_encoded_characters_stay_encoded(world: World) -> None:
    world.server.script = [says()]
    await world.client().get(PODS, "n", "a/b c")
    assert world.server.seen[0].target == "/api/v1/namespaces/n/pods/a%2Fb%20c"


async def test_a_server_behind_a_path(world: World) -> None:
    world.server.script = [says()]
    await world.client(server=world.server.url + "/k8s/").get(PODS, "n", "p")
    assert world.server.seen[0].target == "/k8s/api/v1/namespaces/n/pods/p"


async def test_connections_are_kept(world: World) -> None:
    peers: set[object] = set()

    async def remember(asked: web.Request) -> web.StreamResponse:
        assert asked.transport is not None
        peers.add(asked.transport.get_extra_info("peername"))
        return web.Response(body=b"{}")

    world.server.script = [remember] * 5
    api = world.client()
    for _ in range(5):
        await api.get(PODS, "n", "p")
    assert len(peers) == 1


@all_verbs
async def test_a_429_is_obeyed_for_every_verb(world: World, call: Call) -> None:
    world.server.script = [refuses(429, Retry_After="2"), refuses(429, Retry_After="3600"), PAGE]
    api = world.client()
    await call(api)
    assert len(world.server.seen) == 3
    assert world.server.seen[0] == world.server.seen[2]
    # 2 s as asked, and 10 s because an hour is more than we wait in one go; with our own backoff on top.
    assert world.clock.slept == pytest.approx([2.05, 10.1])
    assert [status for _, _, status in world.heard] == [429, 429, 200]
    assert api.in_flight_limit < 64


@all_verbs
async def test_429s_without_end_are_given_up_in_time(world: World, call: Call) -> None:
    world.server.script = [refuses(429, "TooManyRequests", Retry_After="9")] * 20
    started = world.clock.now
    with pytest.raises(errors.TooManyRequests):
        await call(world.client())
    limit = 30.0 if call in WRITES.values() else 60.0
    assert limit - 15.0 < world.clock.now - started < limit


@reads
@pytest.mark.parametrize("fault", [refuses(500), refuses(503), hangs_up], ids=["500", "503", "lost reply"])
async def test_a_read_is_tried_again(
    world: World, call: Call, fault: Callable[..., Awaitable[web.StreamResponse]]
) -> None:
    world.server.script = [fault, fault, PAGE]
    await call(world.client())
    assert world.methods == ["GET"] * 3


@writes
async def test_a_write_is_not_sent_again_after_a_lost_reply(world: World, call: Call) -> None:
    world.server.script = [hangs_up, PAGE]
    with pytest.raises(errors.ReplyLost):
        await call(world.client())
    assert len(world.server.seen) == 1
    assert world.heard[0][2] == 0


@writes
async def test_nor_where_a_kept_connection_breaks(world: World, call: Call) -> None:
    """aiohttp itself would send the DELETE again here."""
    world.server.script = [says(), hangs_up, PAGE]
    api = world.client()
    await api.get(PODS, "n", "p")
    with pytest.raises(errors.ReplyLost):
        await call(api)
    assert len(world.server.seen) == 2


@writes
async def test_a_write_is_not_sent_again_after_a_5xx(world: World, call: Call) -> None:
    world.server.script = [refuses(503, Retry_After="1"), PAGE]
    with pytest.raises(errors.ServerError):
        await call(world.client())
    assert len(world.server.seen) == 1


@all_verbs
async def test_a_refused_connection_is_tried_again_for_every_verb(world: World, call: Call) -> None:
    api = world.client(server=f"http://127.0.0.1:{sockets.free_port()}")
    with pytest.raises(errors.TransportError, match="not sent") as caught:
        await call(api)
    assert type(caught.value) is errors.TransportError
    assert len(world.clock.slept) > 5


@all_verbs
async def test_a_handshake_without_answer_is_a_failed_connection(world: World, call: Call) -> None:
    """A node that died takes connections no more, or takes them and is mute; in both cases nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        limits = Limits(connect_seconds=0.05, read_seconds=0.25, write_seconds=0.25)
        api = world.client(limits, server=f"https://127.0.0.1:{mute.getsockname()[1]}")
        with pytest.raises(errors.TransportError, match="not sent") as caught:
            await call(api)
    assert type(caught.value) is errors.TransportError


async def test_a_write_waits_for_the_server_to_come_up(world: World) -> None:
    port = sockets.free_port()
    api = world.client(server=f"http://127.0.0.1:{port}")
    creating = asyncio.create_task(api.create(PODS, "n", b"{}"))
    while not world.clock.slept:  # noqa: ASYNC110 - turns of the loop, not a wait
        await asyncio.sleep(0)
    world.clock.now = 1000.0
    app = web.Application()
    app.router.add_post("/{path:.*}", says(b"made"))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    assert await creating == b"made"
    await runner.cleanup()


@all_verbs
async def test_a_silent_server_is_given_up(world: World, call: Call) -> None:
    world.server.script = [streams(then="silence")] * 3
    with pytest.raises(errors.ReplyLost):
        await call(world.client(Limits(request_seconds=0.05, read_seconds=0.05, write_seconds=0.05)))
    assert len(world.server.seen) == 1


@writes
async def test_a_reply_cut_in_its_body_is_a_lost_reply(world: World, call: Call) -> None:
    world.server.script = [streams(b'{"half', then="cut"), PAGE]
    with pytest.raises(errors.ReplyLost):
        await call(world.client())
    assert len(world.server.seen) == 1


@all_verbs
async def test_a_401_reads_the_token_again_once(world: World, call: Call, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    api = world.client(token_file=str(file))
    assert api._token.current() == "old"
    file.write_text("new")
    os.utime(file, (1, 1))
    world.server.script = [refuses(401), PAGE]
    await call(api)
    assert [seen.headers["Authorization"] for seen in world.server.seen] == ["Bearer old", "Bearer new"]
    assert world.clock.slept == []


@all_verbs
async def test_a_second_401_is_final(world: World, call: Call, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    api = world.client(token_file=str(file))
    assert api._token.current() == "old"
    file.write_text("new")

    async def refuse_and_rotate(asked: web.Request) -> web.StreamResponse:
        file.write_text("newer")
        return await refuses(401)(asked)

    world.server.script = [refuses(401), refuse_and_rotate, PAGE]
    with pytest.raises(errors.Unauthorized):
        await call(api)
    assert len(world.server.seen) == 2


async def test_a_401_to_a_token_that_did_not_change_is_final(world: World) -> None:
    world.server.script = [refuses(401), PAGE]
    with pytest.raises(errors.Unauthorized):
        await world.client(token="t").get(PODS, "n", "p")
    assert len(world.server.seen) == 1


@pytest.mark.parametrize(
    ("code", "want"),
    [
        (400, errors.BadRequest),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (410, errors.Gone),
        (422, errors.Invalid),
        (302, errors.ApiError),
    ],
)
async def test_what_was_understood_is_never_tried_again(world: World, code: int, want: type[errors.ApiError]) -> None:
    world.server.script = [refuses(code, "R", "m", Location="http://127.0.0.1:1/"), PAGE]
    with pytest.raises(want) as caught:
        await world.client().get(PODS, "n", "p")
    assert type(caught.value) is want
    assert (caught.value.code, caught.value.reason, caught.value.message) == (code, "R", "m")
    assert len(world.server.seen) == 1


async def test_html_is_not_repeated(world: World) -> None:
    world.server.script = [says(b"<html>internal.example</html>", 403, Content_Type="text/html")]
    with pytest.raises(errors.Forbidden) as caught:
        await world.client().create(PODS, "n", b"{}")
    assert "internal" not in str(caught.value)


async def test_a_page(world: World) -> None:
    world.server.script = [says(b'{"metadata":{"resourceVersion":"5","continue":"c"},"items":[{"x":1}]}')]
    got = await world.client().list_page(PODS, read=bytes, selector="a=b", limit=1)
    assert got == client.Page([b'{"x":1}'], "5", "c", 69)
    assert world.server.seen[0].target == "/api/v1/pods?limit=1&labelSelector=a%3Db"


ITEMS = [b'{"x":"%s"}' % (b"y" * 50_000) for _ in range(60)]
LONG = b'{"items":[' + b",".join(ITEMS) + b'],"metadata":{"resourceVersion":"5"}}'


async def test_a_page_that_was_cut_off_is_read_again_from_its_beginning(world: World) -> None:
    async def cut_off(asked: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(len(LONG))})
        await answer.prepare(asked)
        await answer.write(LONG[: len(LONG) // 2])
        assert asked.transport is not None
        asked.transport.close()
        return answer

    world.server.script = [cut_off, says(LONG), says()]
    read: list[bytes] = []

    def note(item: bytes) -> bytes:
        read.append(item)
        return item

    api = world.client()
    page = await api.list_page(PODS, read=note)
    assert page.items == ITEMS
    assert len(ITEMS) < len(read) < 2 * len(ITEMS)
    assert await api.get(PODS, "n", "p") == b"{}"


async def test_a_page_whose_items_cannot_be_read_leaves_no_connection_behind(world: World) -> None:
    world.server.script = [says(LONG), says()]
    api = world.client()
    with pytest.raises(ValueError, match="invalid literal"):
        await api.list_page(PODS, read=int)
    assert await api.get(PODS, "n", "p") == b"{}"


async def test_a_refused_page_says_why(world: World) -> None:
    world.server.script = [refuses(410, "R", "m")]
    with pytest.raises(errors.Gone) as caught:
        await world.client().list_page(PODS, read=bytes)
    assert (caught.value.reason, caught.value.message) == ("R", "m")


async def test_the_gate_is_asked_before_every_sending_of_a_write(world: World) -> None:
    asked: list[int] = []
    api = world.client()
    world.gate = lambda: asked.append(len(world.server.seen))
    world.server.script = [says(), refuses(429), says(), PAGE]
    await api.get(PODS, "n", "p")
    await api.create(PODS, "n", b"{}")
    assert asked == [1, 2]

    def closed() -> None:
        raise errors.ApiError("not the leader")

    world.gate = closed
    with pytest.raises(errors.ApiError, match="not the leader"):
        await api.create(PODS, "n", b"{}")
    assert len(world.server.seen) == 3


async def test_no_more_requests_at_once_than_allowed(world: World) -> None:
    busy = most = 0

    async def count(asked: web.Request) -> web.StreamResponse:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0)
        busy -= 1
        return web.Response(body=b"{}")

    world.server.script = [count] * 30
    api = world.client(Limits(in_flight=3))
    await asyncio.gather(*(api.get(PODS, "n", str(number)) for number in range(30)))
    assert most <= 3


async def test_a_write_without_a_slot_is_given_up_unsent(world: World) -> None:
    entered = asyncio.Event()

    async def hang(asked: web.Request) -> web.StreamResponse:
        entered.set()
        await asyncio.Event().wait()
        return web.Response()

    world.server.script = [hang]
    api = world.client(Limits(in_flight=1, write_seconds=0.05))
    holding = asyncio.create_task(api.get(PODS, "n", "p"))
    await entered.wait()
    with pytest.raises(errors.TransportError, match="not sent: too many"):
        await api.create(PODS, "n", b"{}")
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    assert len(world.server.seen) == 1


async def test_cancelling_leaves_nothing(world: World) -> None:
    entered = asyncio.Event()

    async def hang(asked: web.Request) -> web.StreamResponse:
        entered.set()
        await asyncio.Event().wait()
        return web.Response()

    world.server.script = [hang, says(b"next")]
    api = world.client(Limits(in_flight=1))
    creating = asyncio.create_task(api.create(PODS, "n", b"{}"))
    await entered.wait()
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert await api.get(PODS, "n", "p") == b"next"


async def test_a_closed_client_says_so(world: World) -> None:
    api = world.client(Limits(write_seconds=0.0))
    await api.close()
    with pytest.raises(errors.TransportError, match="closed"):
        await api.create(PODS, "n", b"{}")


async def watched(api: HttpClient, resource_version: str = "7") -> list[WatchEvent]:
    return [event async for event in api.watch(PODS, selector="a=b", resource_version=resource_version)]


async def test_a_watch_gives_its_lines_and_ends_with_the_stream(world: World) -> None:
    whole = line("ADDED", a=1) + line("BOOKMARK", metadata={"resourceVersion": "9"}) + line("DELETED", a=1)
    world.server.script = [streams(whole[:10], whole[10:50], whole[50:])]
    assert await watched(world.client()) == [
        WatchEvent(EventType.ADDED, b'{"a":1}'),
        WatchEvent(EventType.BOOKMARK, b'{"metadata":{"resourceVersion":"9"}}'),
        WatchEvent(EventType.DELETED, b'{"a":1}'),
    ]
    assert world.server.seen[0].target == (
        "/api/v1/pods?watch=true&resourceVersion=7&allowWatchBookmarks=true&timeoutSeconds=290&labelSelector=a%3Db"
    )
    assert world.heard == [("watch", "pods", 200)]


async def test_a_line_of_several_megabytes(world: World) -> None:
    big = "x" * (5 << 20)
    world.server.script = [streams(line("ADDED", data=big), line("MODIFIED"))]
    first, second = await watched(world.client())
    assert orjson.loads(first.object) == {"data": big}
    assert second == WatchEvent(EventType.MODIFIED, b"{}")


async def test_events_come_as_they_are_sent(world: World) -> None:
    world.server.script = [streams(line("ADDED"), then="silence")]
    stream = world.client().watch(PODS, resource_version="1")
    assert (await anext(stream)).type is EventType.ADDED
    await stream.aclose()


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        (refuses(410, "Expired"), errors.Gone),
        (streams(line("ERROR", kind="Status", code=410, reason="Expired", message="too old")), errors.Gone),
        (streams(line("ERROR", kind="Status", code=500, message="internal")), errors.ServerError),
        (refuses(403), errors.Forbidden),
        (refuses(500), errors.ServerError),
        (refuses(429, Retry_After="4"), errors.TooManyRequests),
        (streams(b"<html>\n"), errors.TransportError),
        (hangs_up, errors.ReplyLost),
        (streams(line("ADDED")[:-5], then="cut"), errors.TransportError),
    ],
    ids=["410", "410 inside", "500 inside", "403", "500", "429", "HTML line", "no answer", "cut"],
)
async def test_a_watch_fails_once_and_leaves_trying_again_to_its_caller(
    world: World, answer: Callable[..., Awaitable[web.StreamResponse]], want: type[errors.ApiError]
) -> None:
    world.server.script = [answer]
    with pytest.raises(want) as caught:
        await watched(world.client())
    assert type(caught.value) is want
    assert len(world.server.seen) == 1


async def test_a_silent_watch(world: World) -> None:
    world.server.script = [streams(line("ADDED"), then="silence")]
    stream = world.client(Limits(watch_silence_seconds=0.05)).watch(PODS, resource_version="1")
    assert (await anext(stream)).type is EventType.ADDED
    with pytest.raises(errors.WatchSilent):
        await anext(stream)


async def test_a_watch_that_is_not_answered(world: World) -> None:
    async def hang(asked: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    world.server.script = [hang]
    with pytest.raises(errors.ReplyLost):
        await watched(world.client(Limits(request_seconds=0.05)))


async def test_a_watch_reads_the_token_again_after_a_401(world: World, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    api = world.client(token_file=str(file))
    assert api._token.current() == "old"
    file.write_text("new")
    world.server.script = [refuses(401), streams(line("ADDED"))]
    assert len(await watched(api)) == 1
    assert [seen.headers["Authorization"] for seen in world.server.seen] == ["Bearer old", "Bearer new"]


async def test_watches_do_not_take_the_places_of_requests(world: World) -> None:
    world.server.script = [streams(line("ADDED"), then="silence")] * 3 + [says(b"got")]
    api = world.client(Limits(in_flight=1))
    open_streams = [api.watch(PODS, resource_version="1") for _ in range(3)]
    for stream in open_streams:
        await anext(stream)
    assert await api.get(PODS, "n", "p") == b"got"
    for stream in open_streams:
        await stream.aclose()


async def test_cancelling_a_watch_closes_its_connection(world: World) -> None:
    closed = asyncio.Event()

    async def wait_for_close(asked: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(asked)
        await response.write(line("ADDED"))
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()
        return response

    world.server.script = [wait_for_close]
    entered = asyncio.Event()

    async def follow() -> None:
        async for _ in world.client().watch(PODS, resource_version="1"):
            entered.set()

    following = asyncio.create_task(follow())
    await entered.wait()
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    async with asyncio.timeout(HANG_SECONDS):
        await closed.wait()
