"""The tasks of a load: how long each runs and how it ends. A fixed seed gives every system the same tasks."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

_RUN_MEDIAN_SECONDS = 0.3
_RUN_SIGMA = 0.6
"""Log-normal, like the run times of batch work: the 99th percentile is four times the median."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One task: its number, and the behaviour of its simulated Pods."""

    index: int
    run_seconds: float | None
    """None: it never ends."""
    fails: bool
    """Whether its Pods end with exit code 1. Those of later attempts have the same template, so they fail too."""

    @property
    def annotations(self) -> dict[str, str]:
        """The Pod's annotations for hack/cluster/kwok/pods.yaml."""
        run = "never" if self.run_seconds is None else f"{self.run_seconds:.3f}"
        found = {"sim.podtask.dev/run-seconds": run}
        if self.fails:
            found["sim.podtask.dev/exit-code"] = "1"
        return found


def draws(count: int, *, seed: int, failing: float = 0.0, endless: bool = False) -> Iterator[Draw]:
    """Yield `count` random tasks; `failing` is the share that fails, `endless` ones never end."""
    random_source = random.Random(seed)
    for index in range(count):
        run = random_source.lognormvariate(0, _RUN_SIGMA) * _RUN_MEDIAN_SECONDS
        fails = random_source.random() < failing
        yield Draw(index, None if endless else run, fails)
