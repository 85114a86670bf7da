"""The shared watch against a real API server: how many requests, how much memory, and no end missed."""

import asyncio
import gc
import os
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import wire
from podtask_airflow import constants
from podtask_airflow.hooks import cluster_config
from podtask_airflow.utils import informer

ACCESS = cluster_config.ClusterRef(conn_id="c")
SELECTOR = f"{constants.LABEL_DEPLOYMENT}=here"
LABELS = {constants.LABEL_DEPLOYMENT: "here"}
RETAINED = int(os.environ.get("PODTASK_TEST_RETAINED", "2000"))


@pytest.fixture(autouse=True)
def _ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer, "LINGER_SECONDS", 0.2)


async def test_a_thousand_waiters_are_one_watch(
    kubeconfig: Path, admin: wire.Admin, place: str, tmp_path: Path
) -> None:
    made = await asyncio.to_thread(wire.make, kubeconfig, place, 1000, "t", LABELS)
    before = admin.watches()
    with wire.Wire(kubeconfig) as line:
        resolve = wire.resolving(line.write(tmp_path / "k"))
        subscribers = [
            asyncio.ensure_future(informer.wait(ACCESS, place, SELECTOR, name, uid, resolve=resolve))
            for name, uid in made.items()
        ]
        await wire.until(lambda: admin.watches() == before + 1)
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
        found = await asyncio.wait_for(asyncio.gather(*subscribers), wire.HANG_SECONDS)
        assert {(seen.phase, seen.pod_name) for seen in found} == {("Succeeded", "p")}
        assert line.connections == 1
        await wire.until(lambda: admin.watches() == before)
        print(f"1,000 subscribers: 1 watch, {line.connections} connection")


async def test_the_memory_for_what_is_retained_is_bounded(kubeconfig: Path, admin: wire.Admin, place: str) -> None:
    began = time.monotonic()
    made = await asyncio.to_thread(wire.make, kubeconfig, place, RETAINED, "kept", LABELS, 4096)
    print(f"{RETAINED} PodTasks created in {time.monotonic() - began:.0f} s")
    name, uid = next(iter(made.items()))
    last = list(made.items())[-1]
    made.clear()
    # What a process loads once is not counted for the informer.
    await asyncio.to_thread(lambda: list(wire.client_of(kubeconfig).list(place, "none=none")))
    gc.collect()
    tracemalloc.start()
    began = time.monotonic()
    subscriber = asyncio.ensure_future(
        informer.wait(ACCESS, place, SELECTOR, name, uid, resolve=wire.resolving(kubeconfig))
    )
    # Of an earlier test there may be one that lingers.
    await wire.until(
        lambda: any(one._has_synced for (_, key), one in informer._informers.items() if key.namespace == place), 120
    )
    seconds = time.monotonic() - began
    gc.collect()
    kept, peak = (size / 2**20 for size in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    known = len(next(one for (_, key), one in informer._informers.items() if key.namespace == place)._store)
    print(f"{known} PodTasks known after {seconds:.1f} s: {kept:.1f} MiB kept, {peak:.1f} MiB at the peak")
    assert known == RETAINED
    assert kept < 4 + RETAINED / 1000
    assert peak < 16 + RETAINED / 1000
    admin.finish(place, name)
    assert (await asyncio.wait_for(subscriber, 20)).phase == "Succeeded"
    admin.finish(place, last[0])
    assert (
        await informer.wait(ACCESS, place, SELECTOR, *last, resolve=wire.resolving(kubeconfig))
    ).phase == "Succeeded"


async def test_an_outage_with_an_end_in_it(kubeconfig: Path, admin: wire.Admin, place: str, tmp_path: Path) -> None:
    made = wire.make(kubeconfig, place, 3, "t", LABELS)
    with wire.Wire(kubeconfig) as line:
        subscribers = {
            name: asyncio.ensure_future(
                informer.wait(ACCESS, place, SELECTOR, name, uid, resolve=wire.resolving(line.write(tmp_path / "k")))
            )
            for name, uid in made.items()
        }
        await wire.until(lambda: line.connections > 0 and any(h._has_synced for h in informer._informers.values()))
        line.is_open = False
        line.cut()
        await wire.until(lambda: any(h._error for h in informer._informers.values()))
        admin.finish(place, "t-0")
        admin("DELETE", f"{wire.tasks_path(place)}/t-1")
        assert not any(subscriber.done() for subscriber in subscribers.values())
        line.is_open = True
        assert (await asyncio.wait_for(subscribers["t-0"], wire.HANG_SECONDS)).phase == "Succeeded"
        assert (await asyncio.wait_for(subscribers["t-1"], wire.HANG_SECONDS)).phase == "Deleted"
        admin.finish(place, "t-2", "Failed", reason="NonZeroExit")
        seen = await asyncio.wait_for(subscribers["t-2"], wire.HANG_SECONDS)
        assert (seen.phase, seen.reason) == ("Failed", "NonZeroExit")
