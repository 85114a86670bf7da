"""The short form of chaos.py: twenty tasks, ours alone. `make chaos-airflow` plays two hundred, the original beside."""

from collections.abc import Iterator

import pytest

from cluster import Cluster, Form, down, up
from tests.airflow import chaos
from tests.harness import crd

TASKS = 10
"""For each mode."""
SEED = 1


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster of its own, because its controller is killed."""
    made = up("airflow-chaos", Form.NODE)
    crd.install(made)
    yield made
    down("airflow-chaos")


@pytest.mark.node
@pytest.mark.timeout(900)
def test_every_task_ends_once_with_its_own_result(cluster: Cluster) -> None:
    outcomes = list(chaos.play(cluster, "ours", ("sync", "deferrable"), TASKS, SEED, gap_seconds=4))
    print(chaos.table(outcomes))
    for victim in chaos.VICTIMS["ours"]:
        assert any(outcome.kills[victim] for outcome in outcomes), f"no {victim} was killed"
    for outcome in outcomes:
        assert outcome.is_clean, f"{chaos.table([outcome])}\n{outcome.wrong}"
