"""Time as the clients of the API server see it: monotonic seconds, and a way to wait.

Both are handed in, so that tests of retries, silence and slow relists take no time at all.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock that one can wait on."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back, and is untouched by changes of the wall clock."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Seconds since the machine started."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)


SYSTEM = SystemClock()


def boot_seconds() -> float:
    """Monotonic seconds that go on while the machine sleeps: a Lease runs out in a suspended VM as anywhere else."""
    return time.clock_gettime(_BOOT)


_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Where it is missing (macOS, for development), the nearest there is."""
