"""The simulation finds what it is there to find: each mistake of `mutations.py` breaks a law within so many worlds."""

import dataclasses
import random

import pytest

from . import faults, known
from .faults import Faults
from .mutations import MUTATIONS
from .world import World

WORLDS = 600


def _cut_off(seed: int) -> Faults:
    """Two controllers, of which either may be cut off for minutes: what a live read is for."""
    drawn = faults.draw(random.Random(f"{seed}/faults"))
    lag = {"pods": 200.0, "podtasks": 200.0}
    return dataclasses.replace(drawn, until=400.0, controllers=2, lag=lag, lag_often=1.0, jumps=())


FOCUS = {"skip_live_read": _cut_off}
"""Where the mistake shows only under a rare fault, worlds that have it."""


def _first_broken(name: str) -> str:
    for seed in range(WORLDS):
        given = FOCUS[name](seed) if name in FOCUS else None
        for sentence in World(seed, given=given).run().broken:
            if not known.name_of(sentence):
                return f"world {seed}: {sentence}"
    return ""


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_simulation_finds(name: str) -> None:
    with MUTATIONS[name]():
        found = _first_broken(name)
    print(f"{name}: {found[:200]}")
    assert found


@pytest.mark.parametrize("name", FOCUS)
def test_the_product_itself_passes_where_the_mutation_fails(name: str) -> None:
    broken = [World(seed, given=FOCUS[name](seed)).run().broken for seed in range(100)]
    assert not [sentence for sentences in broken for sentence in sentences if not known.name_of(sentence)]
