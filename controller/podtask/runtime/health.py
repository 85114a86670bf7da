"""The probes: /healthz (liveness: does the controller make progress) and /readyz (are the first lists complete).

Both read the state on the main event loop, so a reply shows that this loop runs. Liveness fails only for what a
restart would repair: a watch that has stopped trying, or a queue that hands out no keys. An unreachable API server is
neither: the informers keep trying, and both replicas keep their caches.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from .server import Cached, Endpoint, Response, call_on_loop

_log = logging.getLogger(__name__)

WATCH_SECONDS = 300.0
"""A working informer does something at least every 75 s (watch timeout), 60 s (a list) or 60 s (backoff)."""
QUEUE_SECONDS = 300.0
"""A request takes at most 30 s, retries included, and a worker sends a few in a row before it takes the next key."""


class HealthState(NamedTuple):
    """What the probes are computed from."""

    is_synced: bool
    is_leader: bool
    watch_idle_seconds: Mapping[str, float]
    """Time since each informer last received or tried anything, by resource."""
    queue_stalled_seconds: float
    """Time since a worker took a key from the queue, while keys wait."""
    ended_components: Sequence[str]
    """Names of the background tasks of the controller that have ended and should not have."""


def liveness_failures(state: HealthState) -> list[str]:
    """Return a sentence for each failure that only a restart repairs."""
    failures = [f"{component} has ended" for component in state.ended_components]
    for resource, seconds in state.watch_idle_seconds.items():
        if seconds > WATCH_SECONDS:
            failures.append(f"the watch of {resource} has done nothing for {seconds:.0f} s")
    if state.queue_stalled_seconds > QUEUE_SECONDS:
        failures.append(f"no task was taken from the queue for {state.queue_stalled_seconds:.0f} s")
    return failures


def endpoints(main_loop: asyncio.AbstractEventLoop, read_state: Callable[[], HealthState]) -> Mapping[str, Endpoint]:
    """Return the probes by path; `read_state` is called on `main_loop`, which shows that this loop runs."""
    check = Cached(lambda: _check(main_loop, read_state))

    async def healthz() -> Response:
        failures = (await check()).liveness_failures
        return Response(503 if failures else 200, "; ".join(failures or ["ok"]).encode())

    async def readyz() -> Response:
        state = (await check()).state
        if not state.is_synced:
            return Response(503, b"the first lists are not complete")
        return Response(200, b"ok: leader" if state.is_leader else b"ok: follower")

    return {"/healthz": healthz, "/readyz": readyz}


class _Check(NamedTuple):
    state: HealthState
    liveness_failures: Sequence[str]


async def _check(main_loop: asyncio.AbstractEventLoop, read_state: Callable[[], HealthState]) -> _Check:
    state = await call_on_loop(main_loop, read_state)
    failures = liveness_failures(state)
    if failures:
        _log.error("liveness probe fails", extra={"liveness_failures": failures})
    return _Check(state, failures)
