"""Chaos on the real chart: every fault in turn, while tasks run.

python -m tests.chaos --tasks 40 --seed 1 --fault "etcd paused" --fault "429 storm"

What must be true after each: every task ended as its kind has to, ran as often as that needs and no more, and gave its
own result; the controllers are ready without anybody's help; an API server that was away is followed again within
seconds; and memory is where it was before the first fault. At last many more tasks come and go (`memory`).
"""

import argparse
import random
import sys

from cluster.errors import ClusterError
from tests.chaos import memory, outside, report
from tests.chaos.faults import FAULTS
from tests.chaos.play import play
from tests.chaos.report import Outcome
from tests.chaos.stand import Memory, Stand, standing
from tests.chaos.workload import Verdict

MEMORY = "memory"
ROUNDS, ROUND_TASKS = 10, 500


def main() -> int:
    """Run the faults; the exit code is 0 if each one was survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Faults on a real cluster.")
    parser.add_argument("--tasks", type=int, default=40, help="tasks that arrive while a fault strikes (default 40)")
    parser.add_argument("--seed", type=int, default=0, help="draws the tasks (default: a fresh one, printed)")
    names = sorted((*FAULTS, *outside.FAULTS, outside.FULL_QUEUE, MEMORY))
    parser.add_argument("--fault", action="append", choices=names, help="one of them, again and again (default all)")
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 10**6)
    chosen = options.fault or [*FAULTS, *outside.FAULTS, outside.FULL_QUEUE, MEMORY]
    print(f"seed {seed}", flush=True)
    outcomes = []
    on_stand = [name for name in chosen if name not in {outside.FULL_QUEUE, MEMORY}]
    if on_stand:
        with standing() as stand:
            for name in on_stand:
                outcomes.append(_play(stand, name, options.tasks, seed))
                print(report.row(outcomes[-1]), flush=True)
    if outside.FULL_QUEUE in chosen:
        outcomes.append(outside.full_queue(5000))
    print(report.table(outcomes))
    is_clean = all(outcome.is_clean for outcome in outcomes)
    if MEMORY in chosen:
        with memory.standing() as cluster:
            growth = memory.measure(cluster, rounds=ROUNDS, tasks=ROUND_TASKS)
        print(growth)
        is_clean = is_clean and growth.is_clean
    return 0 if is_clean else 1


def _play(stand: Stand, name: str, tasks: int, seed: int) -> Outcome:
    """Run one fault. Its failures are in the table, and the other faults are run too."""
    try:
        if name in FAULTS:
            return play(stand, name, FAULTS[name].seconds, tasks, seed)
        return outside.play(stand, name, tasks, seed)
    except (AssertionError, ClusterError) as error:
        return Outcome(name, "FAILED", Verdict(tasks, wrong=[str(error)]), 0, Memory(0, 0), Memory(0, 0), 0)


if __name__ == "__main__":
    sys.exit(main())
