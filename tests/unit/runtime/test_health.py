"""The probes: what is a liveness failure, what is not, and the responses over HTTP."""

import asyncio
import contextlib
import http.client
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from podtask.runtime import server as server_module
from podtask.runtime.health import QUEUE_SECONDS, WATCH_SECONDS, HealthState, endpoints, liveness_failures
from podtask.runtime.server import Server

WELL = HealthState(
    is_synced=True,
    is_leader=True,
    watch_idle_seconds={"pods": 60.0, "podtasks": 70.0},
    queue_stalled_seconds=5.0,
    ended_components=(),
)

CASES: dict[str, tuple[HealthState, list[str]]] = {
    "all is well": (WELL, []),
    "a follower is as alive as a leader": (WELL._replace(is_leader=False), []),
    "a first list that takes long is no failure": (WELL._replace(is_synced=False), []),
    "a watch that has stopped trying": (
        WELL._replace(watch_idle_seconds={"pods": WATCH_SECONDS + 1, "podtasks": 0.0}),
        ["the watch of pods has done nothing for 301 s"],
    ),
    "a queue that hands out no keys": (
        WELL._replace(queue_stalled_seconds=QUEUE_SECONDS + 1),
        ["no task was taken from the queue for 301 s"],
    ),
    "a component that has ended": (WELL._replace(ended_components=("workers",)), ["workers has ended"]),
}


@pytest.mark.parametrize(("state", "want"), CASES.values(), ids=CASES.keys())
def test_liveness_failures(state: HealthState, want: list[str]) -> None:
    assert liveness_failures(state) == want


@dataclass
class Probed:
    """A server whose state the test sets."""

    state: HealthState = WELL
    url: str = ""
    session: aiohttp.ClientSession = field(init=False)

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(self.url + path) as reply:
            return reply.status, await reply.text()


@pytest.fixture
async def probed() -> AsyncIterator[Probed]:
    made = Probed()
    server = Server()
    port = server.listen("127.0.0.1", 0, endpoints(asyncio.get_running_loop(), lambda: made.state))
    server.start()
    made.url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as made.session:
        yield made
    await server.close()


async def test_the_probes_of_a_leader(probed: Probed) -> None:
    assert await probed.get("/healthz") == (200, "ok")
    assert await probed.get("/readyz") == (200, "ok: leader")
    assert (await probed.get("/metrics"))[0] == 404, "on a port of its own"


async def test_a_follower_is_ready_too(probed: Probed) -> None:
    probed.state = WELL._replace(is_leader=False)
    assert await probed.get("/readyz") == (200, "ok: follower")


async def test_before_the_first_lists_it_is_alive_and_not_ready(probed: Probed) -> None:
    probed.state = WELL._replace(is_synced=False)
    assert (await probed.get("/readyz"))[0] == 503
    assert (await probed.get("/healthz"))[0] == 200


async def test_a_liveness_failure_is_named(probed: Probed, caplog: pytest.LogCaptureFixture) -> None:
    probed.state = WELL._replace(queue_stalled_seconds=1000.0)
    assert await probed.get("/healthz") == (503, "no task was taken from the queue for 1000 s")
    assert "liveness probe fails" in caplog.text


async def test_a_blocked_main_loop_is_named(probed: Probed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CALL_TIMEOUT_SECONDS", 0.2)
    asking = asyncio.to_thread(_get, int(probed.url.rpartition(":")[2]))
    answer = asyncio.ensure_future(asking)
    await asyncio.sleep(0)  # the thread has begun
    time.sleep(0.7)  # noqa: ASYNC251 - that is what is tried
    assert await answer == (503, "the main loop has not replied for 0.2 s")


def _get(port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/healthz")
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
