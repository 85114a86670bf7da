"""The client against servers that misbehave byte by byte, and which connection a request is sent on."""

import asyncio
import select
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from cluster import pki
from podtask.kube import errors, transport
from podtask.kube.client import PODS, PatchType
from podtask.kube.config import ClusterConfig
from podtask.kube.http import HttpClient, Limits
from tests.harness import HANG_SECONDS
from tests.unit.kube.doubles import JumpingClock, line

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
Call = Callable[[HttpClient], Awaitable[object]]


@dataclass
class Peer:
    """A server of bytes: each request is answered with the next piece of the script; after that it hangs up."""

    script: list[bytes]
    context: ssl.SSLContext | None = None
    requests: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    ended: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    """Connections that the client has closed, by number."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.writers)
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [
                    int(line[16:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: ")
                ]
                self.requests.append(head + await reader.readexactly(sum(length)))
                if not self.script:
                    break
                writer.write(self.script.pop(0))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.ended.put_nowait(number)
        finally:
            writer.close()

    async def until_closed(self, number: int) -> None:
        async with asyncio.timeout(HANG_SECONDS):
            while await self.ended.get() != number:
                pass


@asynccontextmanager
async def listening(*script: bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    peer = Peer(list(script), context)
    server = await asyncio.start_server(peer.handle, "127.0.0.1", 0, ssl=context)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        await _abort_connections(server, peer)


async def _abort_connections(server: asyncio.Server, peer: Peer) -> None:
    """Abort every connection and wait for its end: one that was accepted last has no handler yet.

    What is left is found by the garbage collector, in the middle of another test.
    """
    async with asyncio.timeout(HANG_SECONDS):
        await asyncio.sleep(0)  # `accept` has made a task, which makes the transport
        while server._active_count:  # type: ignore[attr-defined]
            for writer in peer.writers:
                writer.transport.abort()
            await asyncio.sleep(0)


@asynccontextmanager
async def connected(where: ClusterConfig | str, **given: object) -> AsyncIterator[HttpClient]:
    where = ClusterConfig(where) if isinstance(where, str) else where
    api = HttpClient(where, jitter=lambda: 0.0, **given)  # type: ignore[arg-type]
    try:
        yield api
    finally:
        await api.close()


async def patch(api: HttpClient) -> bytes:
    return await api.patch(PODS, "n", "p", b"{}", PatchType.MERGE)


async def follow(api: HttpClient) -> None:
    async for _ in api.watch(PODS, resource_version="1"):
        pass


CALLS: dict[str, Call] = {
    "write": patch,
    "list": lambda api: api.list_page(PODS, read=bytes),
    "watch": follow,
}


async def turns_until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not fact():  # noqa: ASYNC110 - turns of the loop, not a wait
            await asyncio.sleep(0)


async def test_an_interim_reply_is_not_the_reply() -> None:
    dates: list[str] = []
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nDate: early\r\n\r\n"
    async with (
        listening(interim + OK.replace(b"\r\n\r\n", b"\r\nDate: late\r\n\r\n")) as peer,
        connected(peer.url, on_server_date=lambda said, _: dates.append(said)) as api,
    ):
        assert await patch(api) == b"{}"
    assert dates == ["late"]


async def test_chunks_become_one_body_and_the_connection_is_kept() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with listening(chunked, OK) as peer, connected(peer.url) as api:
        assert [await patch(api), await patch(api)] == [b"abcde", b"{}"]
        assert len(peer.writers) == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
        OK.replace(b"2", b"-2", 2),
        OK[:-1],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
        b"HTTP/1.0 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}",
    ],
    ids=["another protocol", "upgrade", "negative length", "short", "cut chunk", "no length at all", "not chunked"],
)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_what_is_no_whole_reply_is_a_lost_one(reply: bytes, call: Call) -> None:
    async with listening(reply) as peer, connected(peer.url, limits=Limits(read_seconds=5.0)) as api:
        asking = asyncio.ensure_future(call(api))
        await turns_until(lambda: len(peer.requests) == 1)
        peer.writers[0].close()
        with pytest.raises(errors.TransportError) as caught:
            await asking
        # A watch that was opened has been cut, which makes no difference to its caller.
        assert isinstance(caught.value, errors.ReplyLost) or call is follow
        assert not str(caught.value).startswith("not sent")
        peer.script.append(OK)
        assert await patch(api) == b"{}"


async def test_a_second_reply_in_the_same_bytes_does_not_replace_the_first() -> None:
    other = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnull"
    async with listening(OK + other, OK.replace(b"{}", b"[]")) as peer, connected(peer.url) as api:
        assert [await patch(api), await patch(api)] == [b"{}", b"[]"]
        assert len(peer.writers) == 2


async def test_a_reply_to_nothing_is_not_taken_for_the_reply_to_the_next_request() -> None:
    async with listening(OK, OK.replace(b"{}", b"[]")) as peer, connected(peer.url) as api:
        assert await patch(api) == b"{}"
        (kept,) = api._transport._polls
        peer.writers[0].write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnull")
        await turns_until(lambda: kept.should_close)
        assert await patch(api) == b"[]"
        assert len(peer.writers) == 2


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_compressed_body_that_was_not_asked_for_is_no_reply(call: Call) -> None:
    reply = OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    async with listening(reply) as peer, connected(peer.url, limits=Limits(read_seconds=5.0)) as api:
        with pytest.raises(errors.ReplyLost, match="has the encoding gzip, which was not asked for"):
            await call(api)
        await peer.until_closed(0)


async def test_a_long_header_does_not_lose_the_reply() -> None:
    """The API server adds a header for each warning of a webhook."""
    reply = OK.replace(b"\r\n\r\n", b"\r\nWarning: 299 - " + b"x" * 20_000 + b"\r\n\r\n")
    async with listening(reply) as peer, connected(peer.url) as api:
        assert await patch(api) == b"{}"


async def test_a_server_that_will_close_is_believed() -> None:
    async with (
        listening(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK) as peer,
        connected(peer.url) as api,
    ):
        await patch(api)
        await patch(api)
        assert len(peer.writers) == 2


async def test_nothing_is_sent_on_a_connection_that_the_loop_does_not_know_to_be_closed() -> None:
    """Between two turns of the loop the server hangs up: the socket knows, the loop has yet to hear of it."""
    loop = asyncio.get_running_loop()

    async def answer() -> socket.socket:
        connection, _ = await loop.sock_accept(server)
        connection.setblocking(False)
        await loop.sock_recv(connection, 1 << 16)
        await loop.sock_sendall(connection, OK)
        return connection

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        async with connected(f"http://127.0.0.1:{server.getsockname()[1]}") as api:
            answering = asyncio.create_task(answer())
            assert await patch(api) == b"{}"
            (await answering).close()
            answering = asyncio.create_task(answer())
            assert await patch(api) == b"{}"
            (await answering).close()


async def test_idle_connections_are_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_KEEPALIVE_SECONDS", 0.05)
    async with listening(OK) as peer, connected(peer.url) as api:
        await patch(api)
        await peer.until_closed(0)


async def test_a_watch_takes_no_kept_connection_and_leaves_none() -> None:
    async with listening(OK, STREAM + b"0\r\n\r\n", OK) as peer, connected(peer.url) as api:
        await patch(api)
        await follow(api)
        await peer.until_closed(1)
        await patch(api)
        assert len(peer.writers) == 2


async def test_closing_fails_what_is_under_way() -> None:
    async with listening(b"") as peer, connected(peer.url, limits=Limits(connect_seconds=60.0)) as api:
        asking = asyncio.create_task(patch(api))
        await turns_until(lambda: len(peer.requests) == 1)
        await api.close()
        with pytest.raises(errors.ReplyLost):
            await asking
        with pytest.raises(errors.TransportError, match="not sent: the client is closed"):
            await patch(api)


async def test_a_connection_made_while_closing_is_closed() -> None:
    limits = Limits(connect_seconds=60.0)  # more than there is for another try
    async with listening(OK) as peer, connected(peer.url, limits=limits) as api:
        asking = asyncio.create_task(patch(api))
        await asyncio.sleep(0)
        await api.close()
        with pytest.raises(errors.TransportError, match="not sent"):
            await asking
        assert peer.requests == []


@pytest.mark.parametrize("stops", ["times out", "is cancelled"])
async def test_what_a_given_up_write_has_not_sent_is_never_sent(stops: str) -> None:
    """Such as the write of a deposed leader: it must not land when the server reads again, whenever that is."""
    loop = asyncio.get_running_loop()
    body = b"x" * (16 << 20)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        limits = Limits(write_seconds=60.0 if stops == "is cancelled" else 0.3, connect_seconds=60.0)
        async with connected(f"http://127.0.0.1:{server.getsockname()[1]}", limits=limits) as api:
            asking = asyncio.create_task(api.patch(PODS, "n", "p", body, PatchType.MERGE))
            connection, _ = await loop.sock_accept(server)
            connection.setblocking(False)
            got = len(await loop.sock_recv(connection, 1 << 16))
            if stops == "is cancelled":
                asking.cancel()
            with pytest.raises(asyncio.CancelledError if stops == "is cancelled" else errors.ReplyLost):
                await asking
            with connection:
                async with asyncio.timeout(HANG_SECONDS):
                    while chunk := await loop.sock_recv(connection, 1 << 20):
                        got += len(chunk)
    assert got < len(body)


async def test_a_slow_reader_makes_the_server_wait() -> None:
    data = line("ADDED", data="x" * 1_000_000)
    chunk = b"%x\r\n%s\r\n" % (len(data), data)
    size = 64 * len(chunk)
    async with (
        listening(STREAM + 64 * chunk + b"0\r\n\r\n") as peer,
        connected(peer.url) as api,
        aclosing(api.watch(PODS, resource_version="1")) as stream,
    ):
        await anext(stream)
        for _ in range(2000):  # without a limit, a few hundred are enough for all of it
            await asyncio.sleep(0)
        assert peer.writers[0].transport.get_write_buffer_size() > size // 2
        assert len([event async for event in stream]) == 63


@pytest.mark.parametrize("server", ["http://", "http://127.0.0.1:port", "http://[::1", "127.0.0.1:80"])
async def test_an_address_that_is_none_was_not_sent_to(server: str) -> None:
    with pytest.raises((errors.TransportError, ValueError)) as caught:
        async with connected(server, limits=Limits(write_seconds=1.0, connect_seconds=5.0)) as api:
            await patch(api)
    assert type(caught.value) is errors.TransportError or server == "http://[::1"


async def test_a_token_cannot_add_a_header() -> None:
    async with (
        listening(OK) as peer,
        connected(ClusterConfig(peer.url, token="a\r\nImpersonate-User: root"), time_source=JumpingClock()) as api,
    ):
        with pytest.raises(errors.TransportError, match="not sent"):
            await api.get(PODS, "n", "p")
        assert peer.requests == []


async def test_cookies_are_not_sent_back_and_proxies_of_the_environment_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with (
        listening(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b; Path=/\r\n\r\n"), OK) as peer,
        connected(peer.url) as api,
    ):
        await patch(api)
        await patch(api)
        assert len(peer.requests) == 2
        assert not any(b"cookie" in asked.lower() for asked in peer.requests)


async def test_a_write_whose_time_is_over_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof that a deposed leader's last write is dead counts from when the call began."""
    clock = JumpingClock()
    connect = aiohttp.TCPConnector.connect

    async def slowly(*given: object) -> object:
        clock.now += 31.0
        return await connect(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", slowly)
    async with listening(OK) as peer, connected(peer.url, time_source=clock) as api:
        with pytest.raises(errors.TransportError, match="not sent: connecting took"):
            await api.create(PODS, "n", b"{}")
        assert peer.requests == []


async def test_a_write_whose_gate_is_closed_is_not_sent_and_not_counted() -> None:
    heard: list[tuple[str, int]] = []

    def closed() -> None:
        raise errors.NotLeader("no")

    async with (
        listening(OK) as peer,
        connected(
            peer.url,
            before_write=closed,
            observer=lambda verb, _resource, status, _seconds: heard.append((verb, status)),
        ) as api,
    ):
        with pytest.raises(errors.NotLeader):
            await api.create(PODS, "n", b"{}")
        assert await api.get(PODS, "n", "p") == b"{}"
        assert (len(peer.requests), len(peer.writers)) == (1, 1)
    assert heard == [("get", 200)]


async def test_a_write_is_in_its_connection_in_the_turn_in_which_the_gate_was_asked() -> None:
    """The server's own socket is asked, at the beginning of each turn after the gate was."""
    loop = asyncio.get_running_loop()
    arrived: list[bool] = []
    accepted: list[socket.socket] = []

    def look(turns: int) -> None:
        poll = select.poll()
        poll.register(accepted[-1], select.POLLIN)
        arrived.append(bool(poll.poll(0)))
        if turns > 1:
            loop.call_soon(look, turns - 1)

    async def answer(connection: socket.socket) -> None:
        await loop.sock_recv(connection, 1 << 16)
        await loop.sock_sendall(connection, OK)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)

        def gate() -> None:
            if not accepted:  # the handshake is the kernel's work, and over
                accepted.append(server.accept()[0])
                accepted[0].setblocking(False)
            loop.call_soon(look, 2)

        async with connected(f"http://127.0.0.1:{server.getsockname()[1]}", before_write=gate) as api:
            for _ in ("on a new connection", "on a kept one"):
                asking = asyncio.create_task(patch(api))
                await turns_until(lambda: len(arrived) % 2 == 0 and bool(arrived))
                await answer(accepted[0])
                assert await asking == b"{}"
                assert arrived == [True, True]
                arrived.clear()
        accepted[0].close()


async def test_a_certificate_of_another_authority_ends_the_connection_before_anything_is_sent(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        pki.issue_all(tmp_path / name, [pki.Subject("server", "server", names=("127.0.0.1",))], datetime.now(UTC))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "theirs/server.crt", tmp_path / "theirs/server.key")
    limits = Limits(write_seconds=1.0, connect_seconds=5.0)
    async with listening(OK, context=context) as peer:
        async with connected(ClusterConfig(peer.url, ca_path=str(tmp_path / "ours/ca.crt")), limits=limits) as api:
            with pytest.raises(errors.TransportError, match=r"not sent: .*CERTIFICATE_VERIFY_FAILED") as caught:
                await patch(api)
        assert type(caught.value) is errors.TransportError
        assert peer.requests == []
        async with connected(ClusterConfig(peer.url, ca_path=str(tmp_path / "theirs/ca.crt"))) as api:
            assert await patch(api) == b"{}"
