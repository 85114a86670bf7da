"""What the probes say: is there progress (/healthz), is everything known (/readyz).

A probe is answered with what the main loop says at that moment, so it says that the loop turns. Beyond that, liveness
is about what a restart would mend and
nothing else: a watch that has stopped trying, a queue that hands nothing out. An API server that is away is neither;
then the informers try again and again, and both replicas keep their caches.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from .server import Answer, Fresh, Page, ask

_log = logging.getLogger(__name__)

WATCH_SECONDS = 300.0
"""An informer does something at least every 75 s (silence), 60 s (a list) or 60 s (a pause): longer is a standstill."""
QUEUE_SECONDS = 300.0
"""A request takes 30 s at most, retries included, and a worker a few in a row before it takes the next key."""


class HealthState(NamedTuple):
    """What the probes go by."""

    is_synced: bool
    is_leader: bool
    watch_idle_seconds: Mapping[str, float]
    """Time since each informer last heard or tried anything."""
    queue_stalled_seconds: float
    """Time since a key was taken from the queue, while one waits."""
    ended_parts: Sequence[str]
    """Parts that should run for ever, and do not."""


def liveness_failures(vitals: HealthState) -> list[str]:
    """Say what only a restart mends."""
    found = [f"{part} has ended" for part in vitals.ended_parts]
    for resource, seconds in vitals.watch_idle_seconds.items():
        if seconds > WATCH_SECONDS:
            found.append(f"the watch of {resource} has stood still for {seconds:.0f} s")
    if vitals.queue_stalled_seconds > QUEUE_SECONDS:
        found.append(f"no task was taken from the queue for {vitals.queue_stalled_seconds:.0f} s")
    return found


def pages(main: asyncio.AbstractEventLoop, vitals: Callable[[], HealthState]) -> Mapping[str, Page]:
    """Give what the probes ask for; `vitals` is called on the loop `main`, which thereby shows that it turns."""
    looked = Fresh(lambda: _look(main, vitals))

    async def healthz() -> Answer:
        found = (await looked()).liveness_failures
        return Answer(503 if found else 200, "; ".join(found or ["ok"]).encode())

    async def readyz() -> Answer:
        seen = (await looked()).vitals
        if not seen.is_synced:
            return Answer(503, b"the first lists are not complete")
        return Answer(200, b"ok: leader" if seen.is_leader else b"ok: follower")

    return {"/healthz": healthz, "/readyz": readyz}


class _Looked(NamedTuple):
    vitals: HealthState
    liveness_failures: Sequence[str]


async def _look(main: asyncio.AbstractEventLoop, vitals: Callable[[], HealthState]) -> _Looked:
    seen = await ask(main, vitals)
    found = liveness_failures(seen)
    if found:
        _log.error("not alive", extra={"liveness_failures": found})
    return _Looked(seen, found)
