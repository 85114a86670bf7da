"""A share of the time for a kind of read that costs the API server much.

Events are in no cache of the API server: to find those of one Pod it reads all of their namespace from etcd. Asked by
each of thousands of slow Pods, that is more work than running them (measured: a third of the server's CPU at 8,000
Events, growing with the square of their number). So such reads go one at a time, and pause for as long as the last
one's time is worth: where Events are few they pass at once, and where they are many they become rare by themselves.
"""

from ..kube import clock

_SHARE = 0.1
"""Of the time of one connection."""


class EventReadLimiter:
    """Says whether a read may be made now. Whoever took a turn gives it back."""

    def __init__(self, time_source: clock.Clock = clock.SYSTEM) -> None:
        """Begin with a free turn."""
        self._clock = time_source
        self._is_taken = False
        self._begun = 0.0
        self._free_at = float("-inf")

    def take(self) -> bool:
        """Take the turn, if there is one."""
        if self._is_taken or self._clock.monotonic() < self._free_at:
            return False
        self._is_taken, self._begun = True, self._clock.monotonic()
        return True

    def give(self) -> None:
        """End the turn: the next comes after a pause in proportion to it."""
        now = self._clock.monotonic()
        self._is_taken, self._free_at = False, now + (now - self._begun) * (1 / _SHARE - 1)
