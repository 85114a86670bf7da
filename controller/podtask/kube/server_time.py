"""What time it is for those who write times into objects: the API server's time, where our machine's is another.

Deadlines, retries and the wait for a result compare our clock with times from the API server and the nodes. On a
machine a minute ahead, every task with a result would seem to have waited too long for it, and fail. The server says
its time with each reply; between replies a monotonic clock goes on, so that a wall clock that is set moves nothing.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from . import clock

_log = logging.getLogger(__name__)

TOLERANCE = timedelta(seconds=5)
"""The server says whole seconds. Below this our own clock is the finer one."""


class ServerTime:
    """The time, by our own clock until the first reply."""

    def __init__(
        self,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        elapsed: Callable[[], float] = clock.boot_seconds,
    ) -> None:
        """`elapsed` is monotonic seconds."""
        self._wall = wall
        self._elapsed = elapsed
        self._said = ""
        self._differs = False
        self._anchor = wall()
        self._anchored_at = elapsed()

    def now(self) -> datetime:
        """Give the time."""
        return self._anchor + timedelta(seconds=self._elapsed() - self._anchored_at)

    def note(self, said: str, seconds: float) -> None:
        """Take in the `Date` of a reply to a request that took so long: it may be older by that much."""
        if said == self._said:
            return
        self._said = said
        try:
            date = parsedate_to_datetime(said).astimezone(UTC)
        except ValueError:
            return
        wall = self._wall()
        differs = not date - TOLERANCE <= wall <= date + timedelta(seconds=seconds) + TOLERANCE
        if differs != self._differs:
            extra = {"ahead_seconds": round((wall - date).total_seconds())}
            _log.warning("our clock is not the API server's; its is used" if differs else "clocks agree", extra=extra)
        self._differs = differs
        self._anchor = date if differs else wall
        self._anchored_at = self._elapsed()
