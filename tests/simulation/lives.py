"""Many lives in a row: what came of them, in figures, and every failing seed with its history."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from .world import Outcome, World

_SHOWN_LINES = 120


@dataclass
class Tally:
    """The sum of many lives."""

    lives: int = 0
    worlds: int = 0
    seconds: float = 0.0
    requests: int = 0
    virtual_hours: float = 0.0
    phases: Counter[str] = field(default_factory=Counter)
    broken: list[int] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one world."""
        self.lives += outcome.tasks
        self.worlds += 1
        self.requests += outcome.requests
        self.virtual_hours += outcome.seconds / 3600
        self.phases.update(outcome.phases)
        if outcome.broken:
            self.broken.append(outcome.seed)

    def merge(self, other: "Tally") -> None:
        """Add another sum."""
        for name in ("lives", "worlds", "seconds", "requests", "virtual_hours"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.phases.update(other.phases)
        self.broken += other.broken

    def __str__(self) -> str:
        rate = self.lives / self.seconds if self.seconds else 0.0
        return (
            f"{self.lives} lives in {self.worlds} worlds, {self.seconds:.1f} CPU s ({rate:.0f} lives/s), "
            f"{self.virtual_hours:.0f} virtual hours, {self.requests / max(1, self.lives):.1f} requests a life, "
            f"{dict(self.phases.most_common())}"
        )


def run(seeds: Iterable[int]) -> Tally:
    """Live all these seeds."""
    tally = Tally()
    begun = time.process_time()
    for seed in seeds:
        tally.add(World(seed).run())
    tally.seconds = time.process_time() - begun
    return tally


def explain(seed: int) -> str:
    """Live a seed again, and tell everything about it."""
    outcome = World(seed, trace=True).run()
    history = outcome.history
    if len(history) > _SHOWN_LINES:
        left_out = len(history) - _SHOWN_LINES
        history = [*history[: _SHOWN_LINES // 3], f"... {left_out} lines ...", *history[-2 * _SHOWN_LINES // 3 :]]
    again = f"python -m tests.simulation --seed {seed} --explain"
    return "\n".join(
        [f"seed {seed} ({again})", *outcome.broken, f"faults: {outcome.faults}", *(line[:300] for line in history)]
    )
