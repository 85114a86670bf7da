"""An event loop whose clock jumps to the next timer: hours pass in milliseconds, in the same order every time.

asyncio's own loop does all the work; only its selector is exchanged for one that, instead of sleeping, moves the clock.
Nothing may do real input or output on it. Where nothing is ready and no timer is set, nothing can ever happen again:
the life is over.
"""

import asyncio
import asyncio.base_events
from typing import Any

_LONGEST_TURN = 20_000
"""Passes of the loop in which the clock stands still; more is a program that spins."""


class Spinning(Exception):
    """The program runs without ever letting time pass."""


class _Selector:
    """Where asyncio would wait for sockets."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.advance(timeout)
        return []


class VirtualLoop(asyncio.base_events.BaseEventLoop):
    """Deterministic, single-threaded, and never asleep."""

    def __init__(self, end: float) -> None:
        """Runs until nothing is left to happen, or until `end`."""
        super().__init__()
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9
        self._now = 0.0
        self._end = end
        self._still = 0
        self.turns = 0

    def time(self) -> float:
        """Seconds since the life began."""
        return self._now

    def advance(self, timeout: float | None) -> None:
        """Move the clock on to the next timer; stop the loop where there is none."""
        self.turns += 1
        if timeout == 0:
            self._still += 1
            if self._still > _LONGEST_TURN:
                raise Spinning(f"{_LONGEST_TURN} turns at {self._now:.3f} s")
            return
        self._still = 0
        if timeout is None or self._now + timeout > self._end:
            self.stop()
        else:
            self._now += timeout

    def run_out(self) -> bool:
        """Run until nothing is left to happen; False where the end of time came first."""
        self.run_forever()
        return not any(not timer.cancelled() for timer in self._scheduled)

    def finish(self) -> None:
        """Cancel what still waits, and close."""
        self._still = 0
        for task in asyncio.all_tasks(self):
            task.cancel()
        self.call_soon(self.stop)
        for _ in range(5):
            self.run_forever()
            if not asyncio.all_tasks(self):
                break
            self.call_soon(self.stop)
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()

    def _process_events(self, events: list[Any]) -> None: ...

    def _write_to_self(self) -> None: ...
