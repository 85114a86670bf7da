"""The wait before a further attempt: exponential, capped, and spread, so that not all return together."""

import hashlib

from .snapshot import BackoffSpec

_SPREAD = 0.1


def delay_seconds(spec: BackoffSpec, failures: int, seed: str) -> float:
    """Give the seconds to wait after the `failures`-th failure in a row of counting (from 1).

    The spread of up to 10 % is derived from `seed`, so that the same facts always give the same time.
    """
    exponent = min(max(failures - 1, 0), 32)
    base: int = min(spec.initial_seconds * spec.factor**exponent, spec.max_seconds)
    fraction = int.from_bytes(hashlib.sha256(f"{seed}/{failures}".encode()).digest()[:4], "big") / 2**32
    return base * (1 + _SPREAD * fraction)
