"""The shared watch against a real API server: how many requests, how much memory, and no end missed."""

import asyncio
import contextlib
import gc
import os
import subprocess
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import wire
from podtask_airflow import access, hub, names

ACCESS = access.Access(conn_id="c")
SELECTOR = f"{names.LABEL_DEPLOYMENT}=here"
LABELS = {names.LABEL_DEPLOYMENT: "here"}
RETAINED = int(os.environ.get("PODTASK_TEST_RETAINED", "2000"))
OWN_CLUSTER = os.environ.get("PODTASK_TEST_OWN_CLUSTER")
"""The name of a cluster whose API server this test may stop."""
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def admin(kubeconfig: Path) -> wire.Admin:
    return wire.Admin(kubeconfig)


@pytest.fixture
def place(admin: wire.Admin, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(hub, "LINGER_SECONDS", 0.2)
    name = admin.namespace()
    yield name
    admin.drop(name)


def make(kubeconfig: Path, place: str, count: int, stem: str, weight: int = 0) -> dict[str, str]:
    """Many tasks: name → uid."""
    one = wire.client_of(kubeconfig)

    def create(number: int) -> tuple[str, str]:
        made = wire.task(f"{stem}-{number}", metadata={"labels": LABELS})
        made["spec"]["env"] = [{"name": "WEIGHT", "value": "x" * weight}]
        return made["metadata"]["name"], one.create(place, made)["metadata"]["uid"]

    with ThreadPoolExecutor(8) as pool:
        return dict(pool.map(create, range(count)))


def by(path: Path) -> Any:
    async def resolve(of: access.Access) -> access.Resolved:
        return access.resolve(access.Access(conn_id=None, config_file=str(path)), wire.no_connection)

    return resolve


async def until(condition: Any, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(0.05)


async def test_a_thousand_waiters_are_one_watch(
    kubeconfig: Path, admin: wire.Admin, place: str, tmp_path: Path
) -> None:
    made = await asyncio.to_thread(make, kubeconfig, place, 1000, "t")
    before = admin.watches()
    with wire.Wire(kubeconfig) as line:
        resolve = by(line.write(tmp_path / "k"))
        waiters = [
            asyncio.ensure_future(hub.wait(ACCESS, place, SELECTOR, name, uid, resolve=resolve))
            for name, uid in made.items()
        ]
        await until(lambda: admin.watches() == before + 1)
        with ThreadPoolExecutor(8) as pool:
            attempt = {"number": 1, "podName": "p"}
            await asyncio.gather(
                *(
                    asyncio.get_running_loop().run_in_executor(
                        pool, lambda n=name: admin.finish(place, n, attempts=[attempt])
                    )
                    for name in made
                )
            )
        found = await asyncio.wait_for(asyncio.gather(*waiters), 60)
        assert {(seen.phase, seen.pod_name) for seen in found} == {("Succeeded", "p")}
        assert line.connections == 1
        await until(lambda: admin.watches() == before)
        print(f"1,000 waiters: 1 watch, {line.connections} connection")


async def test_the_memory_for_what_is_retained_is_bounded(kubeconfig: Path, admin: wire.Admin, place: str) -> None:
    began = time.monotonic()
    made = await asyncio.to_thread(make, kubeconfig, place, RETAINED, "kept", 4096)
    print(f"{RETAINED} PodTasks created in {time.monotonic() - began:.0f} s")
    name, uid = next(iter(made.items()))
    last = list(made.items())[-1]
    made.clear()
    # What is loaded once, whoever waits, is not the hub's.
    await asyncio.to_thread(lambda: list(wire.client_of(kubeconfig).list(place, "none=none")))
    gc.collect()
    tracemalloc.start()
    began = time.monotonic()
    waiter = asyncio.ensure_future(hub.wait(ACCESS, place, SELECTOR, name, uid, resolve=by(kubeconfig)))
    # Of an earlier test there may be one that lingers.
    await until(lambda: any(one._synced for (_, key), one in hub._hubs.items() if key.namespace == place), 120)
    seconds = time.monotonic() - began
    gc.collect()
    kept, peak = (size / 2**20 for size in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    known = len(next(one for (_, key), one in hub._hubs.items() if key.namespace == place)._known)
    print(f"{known} PodTasks known after {seconds:.1f} s: {kept:.1f} MiB kept, {peak:.1f} MiB at the peak")
    assert known == RETAINED
    assert kept < 4 + RETAINED / 1000
    assert peak < 16 + RETAINED / 1000
    admin.finish(place, name)
    assert (await asyncio.wait_for(waiter, 20)).phase == "Succeeded"
    admin.finish(place, last[0])
    assert (await hub.wait(ACCESS, place, SELECTOR, *last, resolve=by(kubeconfig))).phase == "Succeeded"


async def test_an_outage_with_an_end_in_it(kubeconfig: Path, admin: wire.Admin, place: str, tmp_path: Path) -> None:
    made = make(kubeconfig, place, 3, "t")
    with wire.Wire(kubeconfig) as line:
        waiters = {
            name: asyncio.ensure_future(
                hub.wait(ACCESS, place, SELECTOR, name, uid, resolve=by(line.write(tmp_path / "k")))
            )
            for name, uid in made.items()
        }
        before = admin.watches()
        await until(lambda: line.connections > 0 and any(h._synced for h in hub._hubs.values()))
        line.is_open = False
        line.cut()
        if OWN_CLUSTER:
            await asyncio.to_thread(restart, admin)
        admin.finish(place, "t-0")
        admin("DELETE", f"{wire.tasks_path(place)}/t-1")
        await asyncio.sleep(3)
        assert not any(waiter.done() for waiter in waiters.values())
        line.is_open = True
        assert (await asyncio.wait_for(waiters["t-0"], 60)).phase == "Succeeded"
        assert (await asyncio.wait_for(waiters["t-1"], 60)).phase == "Gone"
        admin.finish(place, "t-2", "Failed", reason="NonZeroExit")
        seen = await asyncio.wait_for(waiters["t-2"], 60)
        assert (seen.phase, seen.reason) == ("Failed", "NonZeroExit")
        assert before >= 0


@pytest.mark.skipif(not OWN_CLUSTER, reason="set PODTASK_TEST_OWN_CLUSTER to a cluster whose API server may stop")
async def test_the_api_server_is_stopped_and_started(kubeconfig: Path, admin: wire.Admin, place: str) -> None:
    made = make(kubeconfig, place, 2, "t")
    waiters = [
        asyncio.ensure_future(hub.wait(ACCESS, place, SELECTOR, name, uid, resolve=by(kubeconfig)))
        for name, uid in made.items()
    ]
    await until(lambda: any(h._synced for h in hub._hubs.values()))
    await asyncio.to_thread(restart, admin)
    for name in made:
        admin.finish(place, name)
    began = time.monotonic()
    found = await asyncio.wait_for(asyncio.gather(*waiters), 60)
    print(f"heard {time.monotonic() - began:.1f} s after the end, behind a restart of the API server")
    assert [seen.phase for seen in found] == ["Succeeded"] * 2


def restart(admin: wire.Admin) -> None:
    """Stop the API server, wait, start it."""
    python = REPOSITORY / ".venv/bin/python"
    for action in ("stop", "start"):
        command = [str(python), "-m", "cluster", action, "--name", str(OWN_CLUSTER), "apiserver"]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY / "hack")}, timeout=60)
        time.sleep(3)
    end = time.monotonic() + 60
    while True:
        with contextlib.suppress(Exception):
            admin("GET", "/readyz")
            return
        assert time.monotonic() < end
        time.sleep(0.5)
