"""Limits the number of concurrent requests by how quickly the server answers.

Two signs tell that there are too many. API Priority and Fairness answers 429 when our flow's queues are full: each wave
of 429s halves the number. And long before that, answers to writes take longer than the quickest of late: what is added
is time in a queue, of the server or of its machine. A queue there is first come, first served; here urgent requests
go first, and unnecessary ones are never sent. So the number is kept where the queue is short, as TCP Vegas keeps a
window (Brakmo, Peterson 1995). Each round of quick answers adds one. A round in which not all were under way
takes none off, as in TCP (RFC 7661): a queue that is not ours does not become shorter by what we hold back.
"""

import asyncio
from collections import deque

from . import clock

_WAVE_SECONDS = 1.0
"""429s closer together than this belong to one wave: requests already under way must not each halve the limit."""

_QUEUED_SECONDS = 0.04
"""The mean time in a queue that is too long. A burst of simulated tasks ran best with 4 to 12 requests at once, which
at its pace is 20 to 60 ms for each (docs/design/0008)."""

_WINDOW_SECONDS = 30.0
"""The quickest answer counts for so long, and as long again: a server that has become slower is not busy for good."""


class ConcurrencyLimiter:
    """A semaphore in first-come order whose size follows the server's answers."""

    def __init__(self, most: int, *, least: int = 1, time_source: clock.Clock = clock.SYSTEM) -> None:
        """`least` remain however long answers take; 429s may leave one."""
        self._most = most
        self._least = min(least, most)
        self._size = float(most)
        self._answers = 0
        self._queued = 0.0
        self._quickest: dict[str, float] = {}
        self._quickest_before: dict[str, float] = {}
        self._window_at = time_source.monotonic()
        self._used = 0
        self._most_used = 0
        """In this round."""
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
        """Take a slot if one is free and no caller waits for one."""
        if self._waiters or self._used >= self.size:
            return False
        self._use()
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
                self._use()
                waiter.set_result(None)

    def observe(self, kind: str, seconds: float) -> None:
        """Note how long the answer to a write took, among others of its kind. The end of a round moves the number."""
        self._queued += seconds - self._base(kind, seconds)
        self._answers += 1
        if self._answers < self._size:
            return
        mean, self._answers, self._queued = self._queued / self._answers, 0, 0.0
        is_full, self._most_used = self._most_used >= self.size, self._used
        if mean > _QUEUED_SECONDS and is_full:
            self._size = max(min(self._least, self._size), self._size * max(0.5, _QUEUED_SECONDS / mean))
        elif mean < _QUEUED_SECONDS / 2:
            self._size = min(float(self._most), self._size + 1)

    def on_too_many_requests(self) -> None:
        """Note a 429: half the slots, once a wave."""
        now = self._clock.monotonic()
        if now - self._shrunk_at >= _WAVE_SECONDS:
            self._shrunk_at = now
            self._size = max(1.0, self._size / 2)

    def _use(self) -> None:
        self._used += 1
        self._most_used = max(self._most_used, self._used)

    def _base(self, kind: str, seconds: float) -> float:
        """Give the least that a write of this kind has taken of late: a webhook's time is no queue."""
        now = self._clock.monotonic()
        if now - self._window_at >= _WINDOW_SECONDS:
            self._window_at = now
            self._quickest, self._quickest_before = {}, self._quickest
        self._quickest[kind] = min(seconds, self._quickest.get(kind, seconds))
        return min(self._quickest[kind], self._quickest_before.get(kind, seconds))
