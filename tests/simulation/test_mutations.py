"""The simulation finds what it is there to find: each mistake of `mutations.py` breaks a law within so many worlds."""

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import pytest

from . import attacker, draws, faults
from .draws import Script, TaskScript
from .fate import Habits
from .faults import Faults
from .mutations import MUTATIONS
from .users import Act
from .world import World

WORLDS = 600


def _cut_off(seed: int) -> dict[str, Any]:
    """Two controllers, of which either may be cut off for minutes: what a live read is for."""
    drawn = faults.draw(random.Random(f"{seed}/faults"))
    lag = {"pods": 200.0, "podtasks": 200.0}
    return {"given": dataclasses.replace(drawn, until=400.0, controllers=2, lag=lag, lag_often=1.0, jumps=())}


def _beside_stranger(seed: int) -> dict[str, Any]:
    """A Pod of another owner has the name: what an answer of 409 may mean besides our own earlier create."""
    drawn = draws.draw(random.Random(f"{seed}/script"))
    return {"script": dataclasses.replace(drawn, has_stranger=True)}


def _late_and_deleted(seed: int) -> dict[str, Any]:
    """Creates that arrive late, of tasks that are deleted in the meantime: what a create in doubt can do."""
    rng = random.Random(f"{seed}/late")
    acts = (Act(rng.uniform(0.05, 2), rng.choice(("delete", "delete-foreground"))),)
    spec = {"image": "x", "terminationGracePeriodSeconds": 0}
    script = Script((TaskScript("late", spec, Habits(run=0.5), acts),))
    return {"script": script, "given": Faults(until=30.0, reply_lost_late=0.7)}


def _late_news(seed: int) -> dict[str, Any]:
    """A deadline that strikes about when the container ends, of which the watch tells late; another one runs on."""
    rng = random.Random(f"{seed}/late news")
    spec = {
        "image": "x",
        "deadlines": {"runSeconds": 2},
        "template": {"spec": {"containers": [{"name": "mesh", "image": "envoy"}]}},
    }
    script = Script((TaskScript("stopped", spec, Habits(run=rng.uniform(0.5, 4))),))
    return {"script": script, "given": Faults(until=30.0, lag={"pods": 3.0}, lag_often=0.7)}


def _under_attack(seed: int) -> dict[str, Any]:
    """Foreign Pods with the marks of every task, and nothing else that goes wrong."""
    rng = random.Random(f"{seed}/under attack")
    drawn = draws.draw(random.Random(f"{seed}/script"))
    tasks = tuple(
        dataclasses.replace(task, attacks=draws.bearable(task, attacker.draw(rng), drawn.tasks)) for task in drawn.tasks
    )
    return {
        "script": dataclasses.replace(drawn, tasks=tasks),
        "given": Faults(until=30.0, deaths=((rng.randrange(1, 9), True),)),
    }


FOCUS = {
    "index_by_uid": _under_attack,
    "judge_by_uid": _under_attack,
    "believe_labels": _under_attack,
    "believe_names": _under_attack,
    "release_once": _under_attack,
    "leave_unlabelled": _under_attack,
    "skip_live_read": _cut_off,
    "ignore_conflict": _beside_stranger,
    "adopt_by_name": _beside_stranger,
    "stop_unversioned": _late_news,
    "forget_doubt": _late_and_deleted,
}
"""Where the mistake shows only under a rare fault, worlds that have it."""


def _first_broken(name: str) -> str:
    for seed in range(WORLDS):
        given = FOCUS[name](seed) if name in FOCUS else {}
        for sentence in World(seed, **given).run().broken:
            return f"world {seed}: {sentence}"
    return ""


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_simulation_finds(name: str) -> None:
    with MUTATIONS[name]():
        found = _first_broken(name)
    print(f"{name}: {found[:200]}")
    assert found


@pytest.mark.parametrize("focus", dict.fromkeys(FOCUS.values()), ids=lambda focus: focus.__name__.strip("_"))
def test_the_product_itself_passes_where_the_mutation_fails(focus: Callable[[int], dict[str, Any]]) -> None:
    broken = [World(seed, **focus(seed)).run().broken for seed in range(100)]
    assert not [sentence for sentences in broken for sentence in sentences]
