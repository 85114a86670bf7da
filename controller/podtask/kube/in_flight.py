"""How many requests may be under way at once, learnt from the server: additive increase, multiplicative decrease.

API Priority and Fairness answers 429 when our flow's queues are full. Sending the same number again after a pause
would fill them again, so each wave of 429s halves the number in flight, and each round of successes adds one.
"""

import asyncio
from collections import deque

from . import clock

_WAVE_SECONDS = 1.0
"""429s closer together than this belong to one wave: requests already under way must not each halve the limit."""


class InFlight:
    """A semaphore in first-come order whose size follows the server's answers."""

    def __init__(self, most: int, *, time_source: clock.Clock = clock.SYSTEM) -> None:
        self._most = most
        self._size = float(most)
        self._used = 0
        self._clock = time_source
        self._shrunk_at = float("-inf")
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def size(self) -> int:
        """How many requests may be under way now: between 1 and the number given at the start."""
        return int(self._size)

    @property
    def used(self) -> int:
        """How many requests are under way."""
        return self._used

    def take(self) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        if self._waiters or self._used >= self.size:
            return False
        self._used += 1
        return True

    async def acquire(self) -> None:
        """Take a slot, waiting for one where none is free. Cancelling the wait takes none."""
        if self.take():
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # the slot was given in the very turn in which we were cancelled
            elif waiter in self._waiters:  # `release` may have passed over it, cancelled as it was
                self._waiters.remove(waiter)
            raise

    def release(self) -> None:
        """Give a slot back."""
        self._used -= 1
        while self._waiters and self._used < self.size:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._used += 1
                waiter.set_result(None)

    def succeeded(self) -> None:
        """Note an answer that was not a 429: one more slot for every full round of them."""
        if self._size < self._most:
            self._size = min(float(self._most), self._size + 1.0 / self._size)

    def throttled(self) -> None:
        """Note a 429: half the slots, once a wave."""
        now = self._clock.monotonic()
        if now - self._shrunk_at >= _WAVE_SECONDS:
            self._shrunk_at = now
            self._size = max(1.0, self._size / 2)
