"""`python -m tests.simulation --lives 100000 [--seed N]`: many lives on two processes, for `make simulate`."""

import argparse
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from . import lives

_PROCESSES = 2
_CHUNK = 200
_SHOWN_SEEDS = 3


def main() -> int:
    """Give 0 where no law was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--lives", type=int, default=10_000, help="how many lives, at least")
    parser.add_argument("--seed", type=int, help="the first seed; drawn and printed where it is not given")
    parser.add_argument("--explain", action="store_true", help="tell the life of this one seed")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1 << 32)
    if asked.explain:
        print(lives.explain(seed))
        return 0
    return _run(seed, asked.lives)


def _run(seed: int, wanted: int) -> int:
    print(f"first seed {seed}", flush=True)
    total = lives.Tally()
    begun = time.monotonic()
    with ProcessPoolExecutor(_PROCESSES) as pool:
        # A world has 1.6 lives on average; what is not needed is not begun.
        starts = range(seed, seed + wanted, _CHUNK)
        waiting = {pool.submit(lives.run, range(start, start + _CHUNK)): start for start in starts}
        for done in as_completed(waiting):
            if done.cancelled():
                continue
            total.merge(done.result())
            _show(total, wanted, time.monotonic() - begun)
            if total.lives >= wanted:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    print(f"\n{total}")
    for broken in sorted(total.broken)[:_SHOWN_SEEDS]:
        print(f"\n{lives.explain(broken)}")
    if total.broken:
        print(f"\n{len(total.broken)} seeds broke a law: {sorted(total.broken)[:50]}")
    return 1 if total.broken else 0


def _show(total: lives.Tally, wanted: int, seconds: float) -> None:
    broken = f"{len(total.broken)} broken {total.broken[:_SHOWN_SEEDS] or ''}"
    line = f"{total.lives:>8} of {wanted} lives, {total.lives / seconds:.0f}/s, {broken}"
    sys.stderr.write(f"\r{line}" if sys.stderr.isatty() else f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
