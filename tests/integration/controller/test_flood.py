"""A Pod that requests metrics without a pause, and one that sends half requests: the leader stays the leader."""

import asyncio
import itertools
import os
import threading
from datetime import datetime
from pathlib import Path

import kubernetes
import pytest

from podtask.runtime import election
from tests.harness import flood, sockets
from tests.harness.controller import Controller
from tests.harness.tasks import Namespace
from tests.integration.controller.kubelet import Kubelet, always

pytestmark = pytest.mark.apiserver

SECONDS = 10.0
"""Longer than the duration of a Lease."""
MEMORY_MIB = 8


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


class Renewals:
    """Follows the Lease; `gaps` are the seconds between renewals, by the leader's own clock."""

    def __init__(self, namespace: Namespace) -> None:
        self._api = kubernetes.client.CoordinationV1Api(namespace.api_client)
        self._where = (election.lease_name(namespace.name), namespace.name)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._times: list[datetime] = []
        self.holders: set[str] = set()

    def __enter__(self) -> "Renewals":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    @property
    def gaps(self) -> list[float]:
        return [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(self._times)]

    def _run(self) -> None:
        while not self._stop.wait(0.25):
            lease = self._api.read_namespaced_lease(*self._where).spec
            self.holders.add(lease.holder_identity)
            if not self._times or lease.renew_time != self._times[-1]:
                self._times.append(lease.renew_time)


@pytest.mark.parametrize(
    ("path", "asking", "half"),
    [("/metrics", 400, 0), ("/metrics", 0, 2000), ("/healthz", 400, 0)],
    ids=["metrics", "half-sent", "probes"],
)
def test_a_flood_of_requests_costs_neither_the_lease_nor_memory(
    path: str, asking: int, half: int, namespace: Namespace, kubeconfig: Path
) -> None:
    ports = {"/healthz": sockets.free_port(), "/metrics": sockets.free_port()}
    flags = (
        f"--namespace={namespace.name}",
        f"--leader-election-namespace={namespace.name}",
        "--leader-election=on",
        "--http-address=127.0.0.1",
        f"--http-port={ports['/healthz']}",
        f"--metrics-port={ports['/metrics']}",
    )
    with Kubelet(kubeconfig, namespace.name, always(0)), Controller(kubeconfig, *flags) as controller:
        controller.wait_logged("Lease acquired, leading")
        asyncio.run(flood.flood(ports[path], path, 10, 10, 1.0))  # what is loaded once is no growth
        before = resident_mib(controller.pid)
        with Renewals(namespace) as renewals:
            answers = asyncio.run(flood.flood(ports[path], path, asking, half, SECONDS))
        after = resident_mib(controller.pid)
        assert not controller.has_logged("component of the controller failed")
        assert namespace.run("task", image="i")["phase"] == "Succeeded", "it leads, and works"
    print(f"\n{answers} answers; renewed every {min(renewals.gaps):.1f} to {max(renewals.gaps):.1f} s; ", end="")
    print(f"{before:.1f} MiB before, {after:.1f} after")
    assert len(renewals.holders) == 1
    assert max(renewals.gaps) < election.DURATION_SECONDS - election.MARGIN_SECONDS
    assert after - before < MEMORY_MIB
