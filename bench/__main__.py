"""`python -m bench [--profile NAME] [--rounds N] [--only LOAD…] [--add]`: run every load on every system.

The figures are written to build/bench/runs.json, from which `python -m bench.pages` writes docs/performance.md. After
an interruption the same command with --add measures what is missing.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .plan import PROFILES, Work, plan

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "build/bench/runs.json"

Record = dict[str, Any]


def is_done(done: list[Record], profile: str, load: str, system: str, number: int) -> bool:
    """Return whether an earlier command has measured this run."""
    wanted = (profile, load, system, number)
    return any((d["profile"], d["scenario"], d["system"], d["round"]) == wanted for d in done)


def in_order(done: list[Record]) -> list[Record]:
    """Return the runs sorted by profile, load and round."""
    loads = {name: [load for load, _ in plan(profile)] for name, profile in PROFILES.items()}
    names = list(PROFILES)

    def position(run: Record) -> tuple[int, int, int]:
        return names.index(run["profile"]), loads[run["profile"]].index(run["scenario"]), run["round"]

    return sorted(done, key=position)


async def measure(work: Work, profile: str, number: int) -> Record:
    """Run one load on one system; return its record in runs.json."""
    started, busy, day = time.monotonic(), os.getloadavg()[0], time.strftime("%Y-%m-%d")
    run = asdict(await work.run())
    took = round(time.monotonic() - started, 1)
    about = {"profile": profile, "round": number, "day": day, "took_seconds": took}
    return {**run, **about, "machine_load_before": round(busy, 2)}


async def main(options: argparse.Namespace) -> int:
    """Run the rounds; return the exit code. After a run that fails the others are measured all the same."""
    RUNS.parent.mkdir(parents=True, exist_ok=True)
    done: list[Record] = json.loads(RUNS.read_text()) if RUNS.exists() and options.add else []
    failed = []
    for number in range(options.rounds):
        for load, works in plan(PROFILES[options.profile]):
            if options.only and load not in options.only:
                continue
            order = [w for w in works if not options.system or w.system in options.system]
            random.Random(number).shuffle(order)
            for work in order:
                if is_done(done, options.profile, load, work.system, number):
                    continue
                try:
                    done.append(await measure(work, options.profile, number))
                except Exception:  # noqa: BLE001 - a round takes long: one failed run must not end it
                    traceback.print_exc()
                    failed.append(f"{load} on {work.system}, round {number}")
                    continue
                print(json.dumps(done[-1]), flush=True)
                RUNS.write_text(json.dumps(in_order(done), indent=1) + "\n")
    for what in failed:
        print(f"failed: {what}; --add tries it again", file=sys.stderr)
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--profile",
        choices=list(PROFILES),
        default="full",
        help="; ".join(f"{n}: {p.what}" for n, p in PROFILES.items()),
    )
    parser.add_argument("--short", action="store_const", const="short", dest="profile", help="--profile short")
    parser.add_argument("--rounds", type=int, default=1, help="how often; each round has another order of the systems")
    parser.add_argument("--only", nargs="*", help="names of loads")
    parser.add_argument("--system", nargs="*", help="names of systems")
    parser.add_argument("--add", action="store_true", help="keep the existing runs, and measure what is missing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
