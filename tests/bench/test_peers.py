"""The peers are Airflow's code: a few tasks with each show whether it still works as the bench runs it."""

import pytest

from bench.peers import ExecutorPods, Kpo, KpoDeferrable, Peer
from bench.scenarios import finishing

pytestmark = pytest.mark.apiserver

TASKS = 3
WANTED = {
    Kpo: {"POST pods", "GET pods", "DELETE pods"},
    KpoDeferrable: {"POST pods", "GET pods", "DELETE pods"},
    ExecutorPods: {"POST pods", "DELETE pods"},
}


@pytest.mark.timeout(900)  # the first time, Airflow is installed
@pytest.mark.parametrize("peer", WANTED, ids=lambda peer: peer.name)
async def test_every_task_ends_well_with_one_pod(peer: type[Peer]) -> None:
    figures = (await finishing("peers", peer(), TASKS, cluster="bench-gate")).figures
    print(f"\n{figures['requests_per_task']}")
    assert figures["failed"] == 0
    assert figures["pods_per_task"] == 1
    assert WANTED[peer] <= set(figures["requests_per_task"])
    for key in ("created_to_pod_ms", "ended_to_final_ms"):
        assert figures[key]["p50"] > 0
