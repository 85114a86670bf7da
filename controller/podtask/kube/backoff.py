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
    """How long a stream waits before it begins anew: by what failed, and how often since it last said something.

    *No answer* costs the server nothing (a refused connection is the work of its kernel), and what we wait for is the
    first moment at which there is one: it is asked for every `_UNANSWERED.cap_seconds` at most, so that whoever was cut
    off is back within three seconds however long the server was away. *An answer that is an error* is the server's own
    work, and may well come from too much of it: there the pauses grow to half a minute.

    Both are counted apart. A server that comes up refuses for its first seconds (403 until its roles are read, 429,
    503), and would meet the count of all that it was away, which was the half minute that this replaces.

    Why it is no thundering herd: each replica has two streams, and half of each pause is drawn, so the four of two
    replicas come at four moments. They take up their watch where it broke, which the server answers from its memory;
    only a position that the server has refused by itself makes a list (`must_relist`), never the time without one.
    """

    def __init__(self, jitter: Jitter) -> None:
        """Begin without a failure."""
        self._jitter = jitter
        self._unanswered = 0
        self._refused = 0

    def reset(self) -> None:
        """The stream has said something."""
        self._unanswered = self._refused = 0

    def on_transport_error(self) -> float:
        """Note that no answer came; gives the seconds to wait."""
        self._unanswered += 1
        return _UNANSWERED.next_delay(self._unanswered, self._jitter)

    def on_error(self) -> float:
        """Note an answer that was an error, or an end before anything was said; gives the seconds to wait."""
        self._refused += 1
        return _REFUSED.next_delay(self._refused, self._jitter)

    @property
    def must_relist(self) -> bool:
        """Whether the server has refused so often in a row that it may do so for ever, as after a restore of etcd."""
        return self._refused >= _REFUSALS_BEFORE_LIST


_UNANSWERED = Backoff(base_seconds=0.2, cap_seconds=3.0)
_REFUSED = Backoff(base_seconds=0.2, cap_seconds=30.0)
_REFUSALS_BEFORE_LIST = 5
