"""The result of one fault, and the table of all results."""

from dataclasses import dataclass
from datetime import datetime

from tests.chaos.stand import Memory
from tests.chaos.workload import Verdict

GROWTH_MIB = 12
"""What resident memory may grow over all faults, from the rest before the first one; Python gives little back. The
64 connections of a busy moment have buffers of 256 KiB each, and are kept for a minute."""
FRESH_MIB = 24
"""The same for a process of a fault's own, which has done nothing before it; in development mode."""
TASK_MIB = 0.02
"""What a task that is still there may hold, in a controller in development mode."""
GROWTH_BLOCKS = 0.03
"""What Python may hold more of at rest, as a share: half of what it takes to keep the views of a fault's tasks."""
BACK_SECONDS = 5
"""A task that the API server took once it was back waits no longer for its Pod, however long it had been away; that
much more, and three times what the slowest of a batch without a fault waited on this stand."""
HEADINGS = ("fault", "what struck", "tasks", "right", "twice", "delay s", "to Pod s", "restarts", "MiB", "blocks", "s")


@dataclass
class Outcome:
    """The result of one fault."""

    fault: str
    proof: str
    verdict: Verdict
    restarts: int
    """Containers of the controllers that ended and were started again, by the kubelet alone."""
    memory_before: Memory
    """At rest, before the first fault of all."""
    memory_after: Memory
    """At rest, with every task gone."""
    seconds: float
    away_since: datetime | None = None
    """When the API server went away, where that was the fault."""
    calm_seconds: float = 0.0
    """How long the slowest task waited for its Pod before any fault."""
    allowed_mib: float = GROWTH_MIB

    @property
    def is_clean(self) -> bool:
        """Every task ended right and ran as often as it should, in time, and no memory was lost."""
        verdict = self.verdict
        return verdict.right == verdict.tasks and not verdict.duplicates and self.is_back and self.is_in_time

    @property
    def is_back(self) -> bool:
        """Return whether memory is where it was."""
        before, after = self.memory_before, self.memory_after
        return after.mib - before.mib < self.allowed_mib and after.blocks <= before.blocks * (1 + GROWTH_BLOCKS)

    @property
    def is_in_time(self) -> bool:
        """Return whether the controllers were back soon after the API server was."""
        allowed = BACK_SECONDS + 3 * self.calm_seconds
        return self.away_since is None or self.verdict.longest_start_since(self.away_since) <= allowed


def row(outcome: Outcome) -> str:
    """One line of the table."""
    verdict = outcome.verdict
    cells = (
        outcome.fault,
        outcome.proof,
        verdict.tasks,
        verdict.right,
        verdict.duplicates,
        f"{verdict.longest_delay_seconds:.0f}",
        f"{verdict.longest_start_seconds:.0f}",
        outcome.restarts,
        f"{outcome.memory_before.mib:.1f} to {outcome.memory_after.mib:.1f}",
        f"{outcome.memory_before.blocks:.0f} to {outcome.memory_after.blocks:.0f}",
        f"{outcome.seconds:.0f}",
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(outcomes: list[Outcome]) -> str:
    """Everything, in Markdown, and below it what was wrong."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS), *map(row, outcomes)]
    wrong = [f"{outcome.fault}: {text}" for outcome in outcomes for text in outcome.verdict.wrong]
    return "\n".join([*lines, *wrong])
