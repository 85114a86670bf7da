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
