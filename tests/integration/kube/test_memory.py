"""What the controller takes of memory: it follows the tasks that live, and no page of a list is in it as a whole.

The server makes each object as it is asked for it; what follows it is the whole controller but for kopf, in a process
of its own.
"""

import asyncio
import contextlib
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.harness.controller import ROOT

pytestmark = pytest.mark.timeout(300)

KIB = 1024
_HEADER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def _task(number: int, spec: str, status: str) -> bytes:
    metadata = (
        f'"name":"t{number}","namespace":"n","uid":"{number:032x}","resourceVersion":"{number + 1}","generation":1,'
        '"creationTimestamp":"2026-01-01T00:00:00Z"'
    )
    text = f'"apiVersion":"podtask.dev/v1alpha1","kind":"PodTask","metadata":{{{metadata}}}'
    return f'{{{text},"spec":{{"image":"i"{spec}}},"status":{{{status}}}}}'.encode()


def finished(number: int, size: int) -> bytes:
    """A task that is over, with a result of this many bytes."""
    value = json.dumps(json.dumps({"return_value": "x" * (size - 20)}))
    xcom = f'"xcom":{{"state":"Collected","sizeBytes":{size},"sha256":"{"0" * 64}","attempt":1,"value":{value}}}'
    attempt = '{"number":1,"podName":"t-1","podUID":"p","outcome":"Succeeded","exitCode":0,"reason":"Completed"}'
    return _task(
        number, "", f'"observedGeneration":1,"phase":"Succeeded","reason":"Completed","attempts":[{attempt}],{xcom}'
    )


_PAYLOAD = random.Random(1).randbytes(1_500_000).hex()  # nothing that could be compressed well


def pending(number: int, size: int, status: str = "") -> bytes:
    """A suspended task that nothing was done about yet, with a spec of this many bytes."""
    begin = number % KIB
    annotations = f'"metadata":{{"annotations":{{"payload":"{_PAYLOAD[begin : begin + size - 100]}"}}}}'
    return _task(number, f',"suspend":true,"template":{{{annotations}}}', status)


class Load(NamedTuple):
    """So many objects of one size, and the most memory in MiB that they may take."""

    count: int
    make: Callable[[int, int], bytes]
    size: int
    kept_mib: float
    peak_mib: float


LOADS = {
    "6,000 finished, 64 KiB": Load(6_000, finished, 64 * KIB, 40, 150),
    "500 finished, 500 KiB": Load(500, finished, 500 * KIB, 40, 150),
    # Each status that is written brings the whole object back, for as many as are written at once.
    "300 pending, 1.4 MB": Load(300, pending, 1_400_000, 40, 200),
    "300 pending, 500 KiB": Load(300, pending, 500 * KIB, 250, 400),
}


class Server:
    """A server of one load: pages of a list as they are asked for, statuses as they are written, and silent watches."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.watched = asyncio.Event()
        self.settled = asyncio.Event()
        """The status of every task was written that nothing was done about."""
        self._written = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve; gives the URL."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, limit=1 << 22)
        async with server:
            yield "http://{}:{}".format(*server.sockets[0].getsockname())

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while request := await reader.readline():
                length = 0
                while (header := await reader.readline()) not in {b"\r\n", b""}:
                    name, _, value = header.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                body = await reader.readexactly(length)
                method, target, _ = request.decode().split()
                url = urlsplit(target)
                query = {key: values[0] for key, values in parse_qs(url.query).items()}
                writer.write(_HEADER)
                if "watch" in query:
                    self.watched.set() if url.path.endswith("podtasks") else None
                    await reader.read()
                elif method == "GET":
                    await self._list(writer, self.load.count if url.path.endswith("podtasks") else 0, query)
                else:
                    await self._write(writer, url.path, body)

    async def _list(self, writer: asyncio.StreamWriter, count: int, query: dict[str, str]) -> None:
        begin = int(query.get("continue", 0))
        end = min(count, begin + int(query["limit"]))
        token = f'"continue":"{end}","remainingItemCount":{count - end},' if end < count else ""
        await _send(writer, b'{"apiVersion":"podtask.dev/v1alpha1","items":[')
        for number in range(begin, end):
            await _send(writer, (b"," if number > begin else b"") + self.load.make(number, self.load.size))
        await _send(writer, b'],"kind":"PodTaskList","metadata":{%s"resourceVersion":"10000"}}' % token.encode())
        await _end(writer)

    async def _write(self, writer: asyncio.StreamWriter, path: str, body: bytes) -> None:
        if path.endswith("/status"):
            number = int(path.split("/")[-2].removeprefix("t"))
            status = json.dumps(json.loads(body)["status"])[1:-1]
            await _send(
                writer,
                pending(number, self.load.size, status).replace(b'"resourceVersion":"', b'"resourceVersion":"20000', 1),
            )
            self._written += 1
            if self._written == self.load.count:
                self.settled.set()
        else:
            await _send(writer, b"{}")  # an Event
        await _end(writer)


async def _send(writer: asyncio.StreamWriter, part: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(part), part))
    await writer.drain()


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.write(b"0\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS.keys())
async def test_memory_follows_what_lives(load: Load, request: pytest.FixtureRequest) -> None:
    server = Server(load)
    async with server.serving() as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.integration.kube.follower",
            url,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}/controller:{ROOT}/hack:{ROOT}"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        await server.watched.wait()
        if load.make is pending:
            await server.settled.wait()
        output, _ = await process.communicate(b"")
    found = json.loads(output)
    print(f"\n{request.node.callspec.id}: " + ", ".join(f"{key} {value:.0f}" for key, value in found.items()))
    assert found["tasks"] == load.count
    assert found["kept"] < load.kept_mib
    assert found["peak"] < load.peak_mib
