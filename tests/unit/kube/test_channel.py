"""One connection against servers that misbehave byte by byte, and which of several connections a request is sent on."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from podtask.kube import channel as channel_module
from podtask.kube import errors, pool
from podtask.kube.channel import Channel
from podtask.kube.client import PODS
from podtask.kube.config import ClusterConfig
from podtask.kube.http import HttpClient
from podtask.kube.pool import Pool
from tests.harness import HANG_SECONDS
from tests.unit.kube.doubles import JumpingClock

ASK = b"GET / HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """A server of bytes: each request is answered with the next piece of the script."""

    def __init__(self, *script: bytes) -> None:
        self.script = list(script)
        self.writers: list[asyncio.StreamWriter] = []
        self.asked = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.asked += 1
                if not self.script:
                    break
                writer.write(self.script.pop(0))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(*script: bytes) -> AsyncIterator[tuple[Peer, Pool]]:
    peer = Peer(*script)
    server = await asyncio.start_server(peer.handle, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    connections = Pool(peer.url, None, 5.0)
    try:
        yield peer, connections
    finally:
        await connections.close()
        server.close()


async def ask(connections: Pool, seconds: float = 5.0) -> bytes:
    channel = connections.take() or await connections.connect(5.0)
    answer = await channel.exchange(ASK, seconds)
    connections.give(channel)
    return answer.body


async def test_an_interim_answer_is_not_the_answer() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nDate: early\r\n\r\n"
    async with listening(interim + OK.replace(b"\r\n\r\n", b"\r\nDate: late\r\n\r\n")) as (_, connections):
        channel = await connections.connect(5.0)
        answer = await channel.exchange(ASK, 5.0)
    assert (answer.status, answer.body, answer.header(b"date")) == (200, b"{}", "late")


async def test_chunks_become_one_body() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with listening(chunked, OK) as (peer, connections):
        assert [await ask(connections), await ask(connections)] == [b"abcde", b"{}"]
        assert len(peer.writers) == 1


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "not HTTP"),
        (OK.replace(b"2", b"-2", 2), "not HTTP"),
        (OK[:-1], "hung up"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", "hung up"),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", "hung up"),
    ],
    ids=["another protocol", "upgrade", "negative length", "short", "cut chunk", "no length at all"],
)
async def test_what_is_no_whole_answer_is_a_lost_reply(answer: bytes, want: str) -> None:
    async with listening(answer) as (peer, connections):
        channel = await connections.connect(5.0)
        asking = asyncio.create_task(channel.exchange(ASK, 5.0))
        while not peer.asked:  # noqa: ASYNC110 - turns of the loop, not a wait
            await asyncio.sleep(0)
        peer.writers[0].close()
        with pytest.raises(ConnectionError, match=want):
            await asking
        await channel.lost
        assert connections.take() is None


async def test_silence_ends_the_connection() -> None:
    async with listening(b"") as (_, connections):
        channel = await connections.connect(5.0)
        with pytest.raises(TimeoutError):
            await channel.exchange(ASK, 0.01)
        await channel.lost


async def test_an_answer_to_nothing_ends_the_connection() -> None:
    """It would be taken for the answer to the next request, and every answer after it for another's."""
    async with listening(OK + OK, OK) as (peer, connections):
        await ask(connections)
        await ask(connections)
        assert len(peer.writers) == 2


async def test_a_second_answer_in_the_same_bytes_does_not_replace_the_first() -> None:
    other = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnull"
    async with listening(OK + other) as (_, connections):
        channel = await connections.connect(5.0)
        answer = await channel.exchange(ASK, 5.0)
        assert (answer.status, answer.body) == (200, b"{}")
        await channel.lost


@pytest.mark.parametrize("streams", [False, True])
async def test_a_compressed_body_that_nobody_asked_for_is_no_answer(streams: bool) -> None:
    answer = OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    async with listening(answer) as (_, connections):
        channel = await connections.connect(5.0)
        with pytest.raises(ConnectionError, match="in the encoding gzip, which was not asked for"):
            await (channel.open(ASK, 5.0) if streams else channel.exchange(ASK, 5.0))
        await channel.lost


async def test_bytes_on_an_idle_connection_end_it() -> None:
    async with listening(OK) as (peer, connections):
        channel = await connections.connect(5.0)
        connections.give(channel)
        while not peer.writers:  # noqa: ASYNC110
            await asyncio.sleep(0)
        peer.writers[0].write(OK)
        await channel.lost
        assert connections.take() is None


async def test_a_server_that_will_close_is_believed() -> None:
    async with listening(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK) as (peer, connections):
        await ask(connections)
        await ask(connections)
        assert len(peer.writers) == 2


async def test_nothing_is_sent_on_a_connection_that_the_loop_does_not_know_to_be_closed() -> None:
    """Between two turns of the loop the server hangs up: the socket knows, the loop has yet to hear of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections = Pool(f"http://127.0.0.1:{server.getsockname()[1]}", None, 5.0)
        channel = await connections.connect(5.0)
        connections.give(channel)
        accepted, _ = server.accept()
        accepted.close()
        assert not channel.lost.done()
        assert connections.take() is None
        await connections.close()


async def test_the_last_used_goes_first_and_the_idle_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_KEPT_SECONDS", 0.05)
    async with listening() as (_, connections):
        first, second = [await connections.connect(5.0) for _ in range(2)]
        connections.give(first)
        connections.give(second)
        taken = connections.take()
        assert taken is second
        async with asyncio.timeout(HANG_SECONDS):
            await first.lost
        assert not second.lost.done()
        connections.give(second)
        async with asyncio.timeout(HANG_SECONDS):
            await second.lost
        assert connections.take() is None


async def test_closing_fails_what_is_under_way() -> None:
    async with listening(b"") as (peer, connections):
        asking = asyncio.create_task(ask(connections))
        while not peer.asked:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await connections.close()
        with pytest.raises(ConnectionError):
            await asking
        with pytest.raises(errors.TransportError, match="not sent"):
            await connections.connect(5.0)


async def test_a_connection_made_while_closing_is_closed() -> None:
    async with listening() as (_, connections):
        connecting = asyncio.create_task(connections.connect(5.0))
        await asyncio.sleep(0)
        await connections.close()
        with pytest.raises(errors.TransportError, match="not sent"):
            await connecting


async def test_a_connection_lost_before_it_was_asked_is_told_when_it_is() -> None:
    async with listening() as (_, connections):
        channel = await connections.connect(5.0)
        channel.abort()
        await channel.lost
        with pytest.raises(ConnectionError):
            await channel.exchange(ASK, 5.0)


async def test_a_slow_reader_makes_the_server_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "_MOST_WAITING_BYTES", 10)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with listening(head + b"14\r\n" + b"x" * 20 + b"\r\n") as (peer, connections):
        stream: Channel = await connections.connect(5.0)
        assert (await stream.open(ASK, 5.0)).status == 200
        while not stream._paused:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert await stream.read(5.0) == b"x" * 20
        assert not stream._paused
        peer.writers[0].write(b"1\r\ny\r\n0\r\n\r\n")
        got = b""
        while piece := await stream.read(5.0):
            got += piece
        assert got == b"y"


@pytest.mark.parametrize("server", ["http://", "http://127.0.0.1:port", "http://[::1"])
async def test_an_address_that_is_none_was_not_sent_to(server: str) -> None:
    with pytest.raises((errors.TransportError, ValueError)):
        await Pool(server, None, 5.0).connect(1.0)


async def test_a_token_cannot_add_a_header() -> None:
    async with listening(OK) as (peer, _):
        api = HttpClient(ClusterConfig(peer.url, token="a\r\nImpersonate-User: root"), time_source=JumpingClock())
        with pytest.raises(errors.TransportError, match="not sent"):
            await api.get(PODS, "n", "p")
        await api.close()
        assert peer.asked == 0


async def test_a_write_whose_time_is_over_is_not_sent() -> None:
    """The proof that a deposed leader's last write is dead counts from when the call began."""
    clock = JumpingClock()
    async with listening(OK, OK) as (peer, _):
        api = HttpClient(ClusterConfig(peer.url), time_source=clock, before_write=lambda: None)
        connect = api._pool.connect

        async def slowly(seconds: float) -> Channel:
            made = await connect(seconds)
            clock.now += 31.0
            return made

        api._pool.connect = slowly  # type: ignore[method-assign]
        with pytest.raises(errors.TransportError, match="not sent: connecting took"):
            await api.create(PODS, "n", b"{}")
        assert peer.asked == 0
        await api.close()


async def test_a_closed_gate_leaves_the_connection_to_others() -> None:
    def closed() -> None:
        raise errors.NotLeader("no")

    async with listening(OK) as (peer, _):
        api = HttpClient(ClusterConfig(peer.url), before_write=closed)
        with pytest.raises(errors.NotLeader):
            await api.create(PODS, "n", b"{}")
        assert await api.get(PODS, "n", "p") == b"{}"
        assert (peer.asked, len(peer.writers)) == (1, 1)
        await api.close()
