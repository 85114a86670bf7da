"""The controller with one of its guards taken out, as a process: tests must fail on it, or they guard nothing.

python -m tests.harness.unguarded GUARD FLAG…
"""

import sys
from collections.abc import Callable

from podtask.runtime import election, main, settings


def without_gate() -> None:
    """A write is sent whoever holds the Lease, and whoever lost it works on."""

    async def keep(self: election.Election, term: object) -> None:
        await term  # type: ignore[misc]

    election.Election.check = lambda self: None  # type: ignore[method-assign]
    election.Election._keep = keep  # type: ignore[assignment]


GUARDS: dict[str, Callable[[], None]] = {"gate": without_gate}


if __name__ == "__main__":
    GUARDS[sys.argv[1]]()
    sys.exit(main.run(settings.parse(sys.argv[2:])))
