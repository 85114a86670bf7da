"""What became of the tasks of one fault, and the table of all of them."""

from dataclasses import dataclass

from tests.chaos.workload import Verdict

MEMORY_GROWTH_MIB = 24
"""Python gives little memory back; what grows with each fault goes beyond this soon."""
TASK_MIB = 0.02
"""What a task that is still there may hold, in a controller in development mode."""
HEADINGS = ("fault", "what struck", "tasks", "right", "twice", "delay s", "restarts", "MiB before", "MiB after", "s")


@dataclass
class Outcome:
    """One fault, played."""

    fault: str
    proof: str
    verdict: Verdict
    restarts: int
    """Containers of the controllers that ended and were started again, by the kubelet and nobody else."""
    memory_before: float
    memory_after: float
    seconds: float

    @property
    def is_clean(self) -> bool:
        """Every task ended right and ran as often as it should, and no memory was lost."""
        verdict = self.verdict
        grown = self.memory_after - self.memory_before
        return (
            verdict.right == verdict.tasks
            and not verdict.duplicates
            and grown < MEMORY_GROWTH_MIB + TASK_MIB * verdict.tasks
        )


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
        outcome.restarts,
        f"{outcome.memory_before:.0f}",
        f"{outcome.memory_after:.0f}",
        f"{outcome.seconds:.0f}",
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(outcomes: list[Outcome]) -> str:
    """Everything, in Markdown, and below it what was wrong."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS), *map(row, outcomes)]
    wrong = [f"{outcome.fault}: {text}" for outcome in outcomes for text in outcome.verdict.wrong]
    return "\n".join([*lines, *wrong])
