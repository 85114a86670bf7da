"""One fault, while tasks arrive: what the command line and the test run have in common."""

import random
import time

from tests.chaos.faults import FAULTS
from tests.chaos.report import Outcome
from tests.chaos.stand import Stand
from tests.chaos.workload import Batch

PATIENCE_SECONDS = 180.0
"""How long tasks may take after the fault. Two cores start one or two Pods a second."""


def play(stand: Stand, name: str, seconds: float, tasks: int, seed: int) -> Outcome:
    """Let tasks arrive, strike, and see what became of everything."""
    begun = time.monotonic()
    stand.wait_leader()
    before, restarts = stand.memory_mib(), stand.restarts()
    prefix = f"{name.replace(' ', '-')}-{random.Random(seed).randrange(10**6)}"
    batch = Batch(stand.namespace, stand.runs, prefix, tasks, seed)
    with batch.arriving(seconds):
        proof = FAULTS[name].strike(stand, seconds)
    stand.wait_controllers()
    verdict = batch.wait(PATIENCE_SECONDS)
    stand.wait_leader()
    # A replica that was replaced brings a count of its own.
    restarted = max(0, stand.restarts() - restarts)
    return Outcome(name, proof, verdict, restarted, before, stand.memory_mib(), time.monotonic() - begun)
