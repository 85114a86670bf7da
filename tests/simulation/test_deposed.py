"""A deposed leader runs nothing twice, and each guard is needed for it: without any one of them something does.

That a Pod is adopted by the uid of its owner protects from strangers and not from another replica, which owns the same:
`test_mutations.py` has it (`adopt_by_name`).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import pytest

from podtask.core.settings import Settings
from podtask.runtime.election import Election

from . import controller, deposed, mutations
from .deposed import Moment

WORLDS = 40


def without_gate() -> AbstractContextManager[Any]:
    """A write is sent without holding the Lease."""
    return mock.patch.object(Election, "check", lambda _: None)


def without_hold() -> AbstractContextManager[Any]:
    """A finished Pod goes as soon as its outcome is recorded."""
    real = Settings

    def settings(**fields: Any) -> Settings:
        return real(**fields, pod_hold_seconds=0)

    return mock.patch.object(controller, "Settings", settings)


GUARDS: dict[str, tuple[Callable[[], AbstractContextManager[Any]], dict[str, Any]]] = {
    "the gate of the Lease": (without_gate, {"moment": Moment.BEFORE, "seconds": 250.0, "lagging": ()}),
    "the live read after a takeover": (
        mutations.skip_live_read,
        {"at_write": 0, "at_second": 90.0, "seconds": 250.0, "lagging": ("pods", "podtasks")},
    ),
    "the hold of a finished Pod": (
        without_hold,
        {"moment": Moment.WIRE, "seconds": 40.0, "at_write": 1, "lagging": ()},
    ),
    "the finalizer": (mutations.drop_finalizer, {"lagging": ()}),
    "the name that only we give": (mutations.rename_on_conflict, {}),
    "the look at who has the name": (mutations.ignore_conflict, {}),
}
"""Each with the plight that it is there for, if any."""


def _first_broken(**plight: Any) -> str:
    for seed in range(WORLDS):
        if broken := deposed.live(seed, **plight):
            return f"life {seed}: {broken}"
    return ""


def test_nothing_runs_twice() -> None:
    assert not _first_broken()


@pytest.mark.parametrize("guard", GUARDS)
def test_without_it_something_does(guard: str) -> None:
    remove, plight = GUARDS[guard]
    with remove():
        found = _first_broken(**plight)
    print(f"without {guard}: {found[:200]}")
    assert found


@pytest.mark.parametrize("guard", [guard for guard, (_, plight) in GUARDS.items() if plight])
def test_with_it_nothing_does(guard: str) -> None:
    assert not _first_broken(**GUARDS[guard][1])
