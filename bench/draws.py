"""What the tasks of a load do: how long each runs and how it ends. One seed, so that every system gets the same."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

_RUN_MEDIAN_SECONDS = 0.3
_RUN_SIGMA = 0.6
"""Log-normal, as run times of batch work are: the slowest hundredth takes four times the median."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One task: its number, and what its simulated Pods do."""

    index: int
    run_seconds: float | None
    """None runs for ever."""
    fails: bool
    """Whether its first Pod ends with exit code 1. Later ones are made from the same template, so they fail too."""

    @property
    def annotations(self) -> dict[str, str]:
        """The Pod's annotations that hack/cluster/kwok/pods.yaml understands."""
        run = "never" if self.run_seconds is None else f"{self.run_seconds:.3f}"
        given = {"sim.podtask.dev/run-seconds": run}
        if self.fails:
            given["sim.podtask.dev/exit-code"] = "1"
        return given


def draws(count: int, *, seed: int, failing: float = 0.0, endless: bool = False) -> Iterator[Draw]:
    """Draw `count` tasks; `failing` is the share that fails."""
    random_source = random.Random(seed)
    for index in range(count):
        run = random_source.lognormvariate(0, _RUN_SIGMA) * _RUN_MEDIAN_SECONDS
        fails = random_source.random() < failing
        yield Draw(index, None if endless else run, fails)
