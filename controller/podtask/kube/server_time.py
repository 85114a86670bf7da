"""The current time by the API server's clock, for comparisons with the times in objects.

Deadlines, retries and the wait for a result compare now with times from the API server and the nodes. If the clock of
this machine were a minute ahead, each task with a result would fail, because the wait for it would seem too long. Every
reply has the server's time in its Date header. Between replies a monotonic clock is used, so setting the wall clock has
no effect.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from . import clock

_log = logging.getLogger(__name__)

TOLERANCE = timedelta(seconds=5)
"""Date has whole seconds. If the difference is smaller, the local clock is used, which is finer."""


class ServerTime:
    """The API server's time; the local time until the first reply."""

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
        """Return the current time."""
        return self._anchor + timedelta(seconds=self._elapsed() - self._anchored_at)

    def note(self, said: str, seconds: float) -> None:
        """Note the `Date` of a reply. It may be up to `seconds` old, the duration of the request."""
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
