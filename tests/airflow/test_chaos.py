"""The short form of chaos.py: twenty tasks, ours alone. `make chaos-airflow` plays two hundred, the original beside."""

from collections.abc import Iterator

import pytest

from cluster import Cluster, Form, down, up
from tests.airflow import chaos
from tests.harness import crd

TASKS = 20
SEED = 1


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster of its own, because its controller is killed."""
    made = up("airflow-chaos", Form.NODE)
    crd.install(made)
    yield made
    down("airflow-chaos")


@pytest.mark.node
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["deferrable"])
def test_every_task_ends_once_with_its_own_result(cluster: Cluster, mode: str) -> None:
    outcome = chaos.play(cluster, "ours", mode, TASKS, SEED)
    print(chaos.table([outcome]))
    assert sum(outcome.kills.values()) > 0, "nothing was killed"
    assert outcome.is_clean, f"{chaos.table([outcome])}\n{outcome.wrong}"
