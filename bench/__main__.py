"""`python -m bench [--short] [--rounds N] [--only NAME…]`: every load on every system.

The figures go to build/bench/runs.json, from which `python -m bench.pages` makes docs/performance.md.
"""

import argparse
import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from .scenarios import Run, cleaning, finishing, standing
from .systems import Jobs, PodTasks, System, UnthrottledJobs

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "build/bench/runs.json"

Work = Callable[[], Awaitable[Run]]


def plan(*, short: bool) -> Iterator[tuple[str, list[Work]]]:
    """Give each load's name with one piece of work for each system."""
    size = 20 if short else 1  # the divisor of every count
    seconds = 120 // size
    fast: list[System] = [PodTasks(), UnthrottledJobs()]

    def each(
        name: str, systems: list[System], work: Callable[..., Awaitable[Run]], *given: object, **more: object
    ) -> tuple[str, list[Work]]:
        return name, [partial(work, name, system, *given, **more) for system in systems]

    yield each("burst", fast, finishing, 5000 // size)
    yield each("burst-throttled", [Jobs()], finishing, 500 // size)
    yield each("paced-3", [*fast, Jobs()], finishing, 3 * seconds, rate=3)
    for rate in (20, 50, 100):
        yield each(f"paced-{rate}", fast, finishing, rate * seconds, rate=rate)
    yield each("retries", fast, finishing, 1000 // size, failing=0.2)
    yield each("standing", [PodTasks()], standing, 20_000 // size)
    yield each("cleaning", fast, cleaning, 20_000 // size)


async def main(options: argparse.Namespace) -> None:
    """Run the rounds; what is there already is kept, so a run can be interrupted and gone on with."""
    RUNS.parent.mkdir(parents=True, exist_ok=True)
    done: list[dict[str, object]] = json.loads(RUNS.read_text()) if RUNS.exists() and options.add else []
    for number in range(options.rounds):
        for name, works in plan(short=options.short):
            if options.only and name not in options.only:
                continue
            order = list(works)
            random.Random(number).shuffle(order)
            for work in order:
                run = await work()
                print(json.dumps(asdict(run)), flush=True)
                done.append({**asdict(run), "round": number})
                RUNS.write_text(json.dumps(done, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a twentieth of every count")
    parser.add_argument("--rounds", type=int, default=1, help="how often; the order of the systems changes")
    parser.add_argument("--only", nargs="*", help="names of loads")
    parser.add_argument("--add", action="store_true", help="keep the runs that are there")
    asyncio.run(main(parser.parse_args()))
