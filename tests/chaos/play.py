"""Runs one fault while tasks are created, for the command line and the test run."""

import random
import time

from tests.chaos.faults import FAULTS, deletions
from tests.chaos.report import Outcome
from tests.chaos.stand import Memory, Stand
from tests.chaos.workload import Batch

PATIENCE_SECONDS = 600.0
"""The bound on the tasks' ends after the fault. It ends a hang: two cores start one or two Pods a second."""


WARM_UP_TASKS = 12
_CROWD_SECONDS = 2


def play(stand: Stand, name: str, seconds: float, tasks: int, seed: int) -> Outcome:
    """Create tasks, run the fault, and check the result."""
    begun = time.monotonic()
    stand.wait_leader()
    before, restarts = stand.rest or _warm_up(stand, seed), stand.restarts()
    stand.away_since = None
    batch = _batch(stand, name, tasks, seed)
    with batch.arriving(seconds):
        proof = FAULTS[name].strike(stand, seconds)
    stand.wait_controllers()
    verdict = batch.wait(PATIENCE_SECONDS)
    stand.clear()
    stand.wait_leader()
    # A replica that was replaced brings a count of its own.
    restarted = max(0, stand.restarts() - restarts)
    outcome = Outcome(name, proof, verdict, restarted, before, stand.memory(), time.monotonic() - begun)
    outcome.away_since, outcome.calm_seconds = stand.away_since, stand.calm_seconds
    return outcome


def _warm_up(stand: Stand, seed: int) -> Memory:
    """Run some tasks, and let a crowd come and go: what a controller holds at rest is known only after its first work.

    The first hundred tasks at once leave 8,000 blocks behind (connections, buffers, tables that grew), the next none.
    """
    deletions(stand, _CROWD_SECONDS)
    batch = _batch(stand, "warm-up", WARM_UP_TASKS, seed)
    with batch.arriving(1):
        pass
    verdict = batch.wait(PATIENCE_SECONDS)
    assert not verdict.wrong, verdict.wrong
    stand.clear()
    stand.rest, stand.calm_seconds = stand.memory(), verdict.longest_start_seconds
    return stand.rest


def _batch(stand: Stand, name: str, tasks: int, seed: int) -> Batch:
    prefix = f"{name.replace(' ', '-')}-{random.Random(seed).randrange(10**6)}"
    return Batch(stand.namespace, stand.runs, prefix, tasks, seed)
