"""Rate limiter for LIST requests of Events.

The API server has no watch cache of Events: to find the Events of one Pod it reads all Events of the namespace from
etcd. Thousands of slow Pods that each ask for theirs would cost more than running them (measured: a third of the
server's CPU at 8,000 Events, growing with the square of their number). So one such request runs at a time, and they
take at most 10 % of the time: after a request that took t seconds the next one waits 9 t. Where Events are few,
requests pass at once; where they are many, requests become rare.
"""

from ..kube import clock

_TIME_SHARE = 0.1
"""The part of the time in which such a request may run."""


class EventReadLimiter:
    """Allows one request at a time. Every successful `try_acquire` needs a `release`."""

    def __init__(self, time_source: clock.Clock = clock.SYSTEM) -> None:
        """Make a limiter whose first request passes."""
        self._clock = time_source
        self._is_acquired = False
        self._acquired_at = 0.0
        self._next_at = float("-inf")

    def try_acquire(self) -> bool:
        """Return whether the request may be made now. Does not wait."""
        if self._is_acquired or self._clock.monotonic() < self._next_at:
            return False
        self._is_acquired, self._acquired_at = True, self._clock.monotonic()
        return True

    def release(self) -> None:
        """End the request: the next one may begin after a pause in proportion to its duration."""
        now = self._clock.monotonic()
        self._is_acquired = False
        self._next_at = now + (now - self._acquired_at) * (1 / _TIME_SHARE - 1)
