"""The short form: each fault for some seconds, a few tasks. `make chaos` plays them longer, with many, and more."""

from collections.abc import Iterator

import pytest

from cluster import Cluster
from tests.chaos import memory, report
from tests.chaos.faults import FAULTS
from tests.chaos.play import play
from tests.chaos.report import Outcome
from tests.chaos.stand import Stand, standing

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("chaos"), pytest.mark.timeout(900)]

TASKS = 6
SEED = 1
SHORT = [name for name, fault in FAULTS.items() if fault.short_seconds]


@pytest.fixture(scope="module")
def outcomes() -> Iterator[list[Outcome]]:
    """What became of each fault, printed as one table in the end."""
    played: list[Outcome] = []
    yield played
    print("\n" + report.table(played))


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """One for all faults: each one meets what the last one left."""
    with standing() as made:
        yield made


@pytest.mark.parametrize("name", SHORT)
def test_every_task_ends_as_expected(stand: Stand, outcomes: list[Outcome], name: str) -> None:
    outcome = play(stand, name, FAULTS[name].short_seconds, TASKS, SEED)
    outcomes.append(outcome)
    assert outcome.is_clean, report.table([outcome])


@pytest.fixture(scope="module")
def simulated() -> Iterator[Cluster]:
    """Tasks by the hundred need nodes that are none."""
    with memory.standing() as cluster:
        yield cluster


@pytest.mark.parametrize("leaks", [False, True])
def test_memory_is_released_and_a_leak_is_detected(simulated: Cluster, leaks: bool) -> None:
    growth = memory.measure(simulated, rounds=3, tasks=200, leaks=leaks)
    print(f"\n{growth}")
    assert growth.is_clean is not leaks
