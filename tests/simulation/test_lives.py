"""Thousands of whole lives in each test run, the same seeds every time; `make simulate` draws new ones."""

import pytest

from . import lives
from .draws import Script, TaskScript
from .fate import Habits
from .faults import Faults
from .world import World

WORLDS_IN_A_CHUNK = 110
CHUNKS = 20
"""110 worlds are about 180 lives, so that these are more than 3,000."""

FOUND = (
    1779, 2962, 10211, 12049, 12461, 15051, 17260, 787754, 790443, 807593, 813020,
    3162086156, 3162104945, 949826511105, 5600006187, 5600008305, 5600010112, 7700004768, 7700006562,
)  # fmt: skip
"""Seeds of `make simulate` that have broken a law once."""


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_life_keeps_the_laws(chunk: int) -> None:
    first = chunk * WORLDS_IN_A_CHUNK
    _live(range(first, first + WORLDS_IN_A_CHUNK))


@pytest.mark.parametrize("seed", FOUND)
def test_a_life_that_has_broken_a_law_keeps_them_now(seed: int) -> None:
    _live(range(seed, seed + 1))


def _live(seeds: range) -> None:
    tally = lives.run(seeds)
    print(tally)
    assert tally.lives >= len(seeds)
    assert not tally.broken, "\n\n".join(lives.explain(seed) for seed in tally.broken[:2])


def test_the_same_seed_lives_the_same_life() -> None:
    first, second = (World(7, trace=True).run() for _ in range(2))
    assert len(first.history) > 20
    assert first.history == second.history


def test_a_life_without_faults_costs_five_writes() -> None:
    script = Script((TaskScript("calm", {"image": "x", "xcom": {}}, Habits(run=15.0, result=b"1", lumps=0.0)),))
    outcome = World(1, script=script, given=Faults()).run()
    assert (outcome.phases, outcome.broken) == (("Succeeded",), [])
    assert outcome.writes == 5


def test_tasks_that_share_a_pod_name_take_turns() -> None:
    spec = {"image": "x", "template": {"metadata": {"name": "exact"}}}
    tasks = tuple(TaskScript(f"run-{n}", spec, Habits(run=2.0)) for n in range(3))
    outcome = World(1, script=Script(tasks), given=Faults()).run()
    assert (outcome.phases, outcome.broken) == (("Succeeded",) * 3, [])
    keeping = tuple(TaskScript(f"run-{n}", {**spec, "podRetention": "Keep"}) for n in range(2))
    assert sorted(World(1, script=Script(keeping), given=Faults()).run().phases) == ["Failed", "Succeeded"]


def test_nothing_is_asked_of_the_server_while_a_task_runs() -> None:
    """Ten times as long costs the same; a second and less saves the write that reports that it runs."""
    costs = []
    for seconds in (0.5, 15.0, 150.0):
        script = Script((TaskScript("calm", {"image": "x"}, Habits(run=seconds)),))
        costs.append(World(1, script=script, given=Faults()).run().requests)
    assert costs[0] + 1 == costs[1] == costs[2]


@pytest.mark.parametrize("seed", range(25))
def test_a_create_in_doubt_keeps_its_place_when_the_next_one_is_refused(seed: int) -> None:
    """The first task's create is on its way when its quota refuses the next, and arrives when the quota has room.

    Its place must not have gone to the second task meanwhile: the platform allows one Pod at a time.
    """
    refused = Habits(run=15.0, quota_until=0.2 + seed % 18 / 10, lumps=0.0)
    tasks = TaskScript("first", {"image": "x"}, refused), TaskScript("second", {"image": "x"}, Habits(run=15.0))
    faults = Faults(until=3.0, reply_lost_late=0.5)
    outcome = World(seed, script=Script(tasks, running_pods_limit=1), given=faults).run()
    assert (outcome.broken, outcome.phases) == ([], ("Succeeded", "Succeeded"))


@pytest.mark.parametrize("seed", range(10))
def test_a_node_whose_clock_is_behind_loses_no_result(seed: int) -> None:
    """Nor where its kubelet takes the Pod so late that nothing shows how slow its clock is."""
    slow = Habits(result=b"1", run=3.0, skew=-90.0, slow_to_take=100.0, lumps=0.0)
    script = Script((TaskScript("slow", {"image": "x", "xcom": {"required": True}}, slow),))
    outcome = World(seed, script=script, given=Faults()).run()
    assert (outcome.broken, outcome.phases) == ([], ("Succeeded",))
