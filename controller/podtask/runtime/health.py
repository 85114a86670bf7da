"""Probes and metrics by HTTP: is there progress (/healthz), is everything known (/readyz), how much (/metrics).

That a probe is answered at all says that the loop turns. Beyond that, liveness is about what a restart would mend and
nothing else: a watch that has stopped trying, a queue that hands nothing out. An API server that is away is neither;
then the informers try again and again, and both replicas keep their caches.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from aiohttp import web

_log = logging.getLogger(__name__)

WATCH_SECONDS = 300.0
"""An informer does something at least every 75 s (silence), 60 s (a list) or 60 s (a pause): longer is a standstill."""
QUEUE_SECONDS = 300.0
"""A request takes 30 s at most, retries included, and a worker a few in a row before it takes the next key."""


class Vitals(NamedTuple):
    """What the probes go by."""

    is_synced: bool
    leads: bool
    watch_idle_seconds: Mapping[str, float]
    """Time since each informer last heard or tried anything."""
    queue_stalled_seconds: float
    """Time since a key was taken from the queue, while one waits."""
    ended_parts: Sequence[str]
    """Parts that should run for ever, and do not."""


def problems(vitals: Vitals) -> list[str]:
    """Say what only a restart mends."""
    found = [f"{part} has ended" for part in vitals.ended_parts]
    for resource, seconds in vitals.watch_idle_seconds.items():
        if seconds > WATCH_SECONDS:
            found.append(f"the watch of {resource} has stood still for {seconds:.0f} s")
    if vitals.queue_stalled_seconds > QUEUE_SECONDS:
        found.append(f"no task was taken from the queue for {vitals.queue_stalled_seconds:.0f} s")
    return found


class HealthServer:
    """Listens until it is closed."""

    def __init__(self, vitals: Callable[[], Vitals], metrics: Callable[[], bytes]) -> None:
        """Nothing listens before `start`."""
        self._vitals = vitals
        self._metrics = metrics
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._serve_metrics)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        self.port = 0

    async def start(self, address: str, port: int) -> None:
        """Listen, on all addresses where `address` is empty; raises `OSError` where that cannot be."""
        await self._runner.setup()
        await web.TCPSite(self._runner, address or None, port).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Listen no more."""
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        found = problems(self._vitals())
        if found:
            _log.error("not alive", extra={"problems": found})
        return web.Response(text="; ".join(found) or "ok", status=503 if found else 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        vitals = self._vitals()
        if not vitals.is_synced:
            return web.Response(text="the first lists are not complete", status=503)
        return web.Response(text="ok: leader" if vitals.leads else "ok: follower")

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        content_type = "text/plain; version=0.0.4; charset=utf-8"
        return web.Response(body=self._metrics(), headers={"Content-Type": content_type})
