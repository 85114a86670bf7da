"""The controller without some of its guards, as a process: tests of a guard must fail with it.

python -m tests.harness.unguarded GUARD[,GUARD…] FLAG…
"""

import sys
from collections.abc import Callable

from podtask.runtime import election, main, options


def without_gate() -> None:
    """Writes are sent without the Lease, and a replica that has lost it keeps working."""

    async def keep(self: election.Election, term: object) -> None:
        await term  # type: ignore[misc]

    election.Election.check = lambda self: None  # type: ignore[method-assign]
    election.Election._renew_loop = keep  # type: ignore[assignment]


def without_hold() -> None:
    """`--pod-hold-seconds` may be as short as a test likes: with one controller nothing can be late by 40 s."""
    options.MIN_HOLD_SECONDS = 0


GUARDS: dict[str, Callable[[], None]] = {"gate": without_gate, "hold": without_hold}


if __name__ == "__main__":
    for guard in sys.argv[1].split(","):
        GUARDS[guard]()
    sys.exit(main.run(options.parse(sys.argv[2:])))
