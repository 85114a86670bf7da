"""How long to wait after the n-th failure in a row: one formula for requests, watches and queue keys.

Half of each delay is drawn at random, so that many clients which failed together do not come back together, and the
other half is fixed, so that no client comes back at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

Jitter = Callable[[], float]
"""Draws from [0, 1), as `random.random` does."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential growth from `base_seconds`, doubling, up to `cap_seconds`."""

    base_seconds: float
    cap_seconds: float

    def next_delay(self, failures: int, jitter: Jitter) -> float:
        """Seconds to wait after `failures` failures in a row; 0 after none."""
        if failures <= 0:
            return 0.0
        # The exponent is bounded before the power is taken: 2**5000 does not fit a float.
        ceiling = min(self.cap_seconds, self.base_seconds * 2.0 ** min(failures - 1, 60))
        return ceiling * (0.5 + 0.5 * jitter())


class WatchBackoff:
    """Delays between attempts to open a watch, by kind of failure and number of failures since the last event.

    Transport errors: at most `_TRANSPORT_ERRORS.cap_seconds` (3 s). A refused connection costs the server nothing, and
    a client is back within three seconds after an outage of any length.

    HTTP errors, and watches that end before their first event: up to 30 s, because the server may be overloaded.

    The two are counted separately. A server that starts answers with errors for some seconds (403 until its roles are
    read, 429, 503); counted together with the outage before, they would cost half a minute.

    There is no thundering herd: each replica has two watches, and half of each delay is random. A watch resumes from
    its resourceVersion, which the server answers from memory. Only repeated errors for one resourceVersion cause a
    list (`must_relist`), never the time without a watch.
    """

    def __init__(self, jitter: Jitter) -> None:
        """Start with no failures."""
        self._jitter = jitter
        self._transport_errors = 0
        self._errors = 0

    def reset(self) -> None:
        """Note an event: both counts start again at 0."""
        self._transport_errors = self._errors = 0

    def on_transport_error(self) -> float:
        """Note a transport error; returns the seconds to wait."""
        self._transport_errors += 1
        return _TRANSPORT_ERRORS.next_delay(self._transport_errors, self._jitter)

    def on_error(self) -> float:
        """Note an HTTP error, or a watch that ended before its first event; returns the seconds to wait."""
        self._errors += 1
        return _ERRORS.next_delay(self._errors, self._jitter)

    @property
    def must_relist(self) -> bool:
        """Whether there were so many errors in a row that they may be permanent, as after a restore of etcd."""
        return self._errors >= _ERRORS_BEFORE_LIST


_TRANSPORT_ERRORS = Backoff(base_seconds=0.2, cap_seconds=3.0)
_ERRORS = Backoff(base_seconds=0.2, cap_seconds=30.0)
_ERRORS_BEFORE_LIST = 5
