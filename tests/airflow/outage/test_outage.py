"""The informer while its API server is stopped and started, in a cluster of its own (see the matrix)."""

import asyncio
import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest
import wire
from podtask_airflow import constants
from podtask_airflow.hooks import cluster_config
from podtask_airflow.utils import informer

ACCESS = cluster_config.ClusterRef(conn_id="c")
LABELS = {constants.LABEL_DEPLOYMENT: "here"}
REPOSITORY = Path(__file__).parents[3]


def order(action: str) -> None:
    """Tell the cluster's API server to stop or to start."""
    command = [str(REPOSITORY / ".venv/bin/python"), "-m", "cluster", action]
    name = os.environ["PODTASK_TEST_OWN_CLUSTER"]
    told = {**os.environ, "PYTHONPATH": str(REPOSITORY / "hack")}
    subprocess.run([*command, "--name", name, "apiserver"], check=True, env=told, timeout=wire.HANG_SECONDS)


def answers(admin: wire.Admin) -> bool:
    """Whether the API server does."""
    with contextlib.suppress(Exception):
        admin("GET", "/readyz")
        return True
    return False


async def test_the_api_server_is_stopped_and_started(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer, "LINGER_SECONDS", 0.2)
    admin = wire.Admin(kubeconfig)
    place = admin.namespace()
    made = wire.make(kubeconfig, place, 2, "t", LABELS)
    subscribers = [
        asyncio.ensure_future(
            informer.wait(
                ACCESS, place, f"{constants.LABEL_DEPLOYMENT}=here", name, uid, resolve=wire.resolving(kubeconfig)
            )
        )
        for name, uid in made.items()
    ]
    await wire.until(lambda: any(h._has_synced for h in informer._informers.values()))
    await asyncio.to_thread(order, "stop")
    await wire.until(lambda: any(h._error for h in informer._informers.values()))
    assert not any(subscriber.done() for subscriber in subscribers)
    await asyncio.to_thread(order, "start")
    await asyncio.to_thread(wire.until_true, lambda: answers(admin))
    for name in made:
        admin.finish(place, name)
    began = time.monotonic()
    found = await asyncio.wait_for(asyncio.gather(*subscribers), wire.HANG_SECONDS)
    print(f"heard {time.monotonic() - began:.1f} s after the end, behind a restart of the API server")
    assert [seen.phase for seen in found] == ["Succeeded"] * 2
    admin.drop(place)
