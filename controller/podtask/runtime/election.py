"""Leader election: the replica that holds the Lease works, as long as its own clock says that the Lease is valid.

Two rules make it safe. First, the holder counts the Lease's duration from before it sent the renewal, and stops
`MARGIN_SECONDS` early; the others count from when they observed the renewal. Each uses only its own monotonic clock,
so the holder has stopped before another replica starts, whatever the wall clocks say (docs/design/0003). Second,
`check` runs in the same iteration of the event loop as each write, so a process that was suspended sends no write
after it resumes.
"""

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path

from ..kube import clock, errors
from ..kube.lease import LeaseClient, Record

_log = logging.getLogger(__name__)

DURATION_SECONDS = 10
RENEW_SECONDS = 2.0
MARGIN_SECONDS = 3.0
"""How long before the Lease expires the holder sends its last write. It covers the connection that may have to be
opened after `check` (`CONNECT_SECONDS`), and clocks that do not run at the same speed."""
CONNECT_SECONDS = 2.5
REQUEST_SECONDS = 2.0
"""Timeout of a request for the Lease: after one that hangs there is time for a second."""
_RETRY_SECONDS = 0.5
_PREFETCH_SECONDS = REQUEST_SECONDS + 0.5
"""Followers read the Lease this long before it expires, so that a connection is open for the takeover. Until then they
only watch, and opening a connection on a busy machine may take longer than the timeout. A read that hangs has timed
out when the Lease expires."""
_LONG_AGO = float("-inf")
"""A time that has always passed."""

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class LeadershipLost(Exception):
    """Another replica holds the Lease, or it was not renewed in time. The work has stopped; the process has to end."""


def identity(environment: Mapping[str, str] = os.environ) -> str:
    """Return this process' identity in the Lease. Its random part distinguishes two processes of the same Pod."""
    return f"{environment.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4().hex[:8]}"


def lease_name(followed_namespace: str) -> str:
    """Return the Lease's name. Controllers that follow different namespaces have different Leases."""
    return f"podtask-controller-{followed_namespace}" if followed_namespace else "podtask-controller"


def lease_namespace(configured: str, file: Path = _NAMESPACE_FILE) -> str:
    """Return the Lease's namespace: the configured one, else the Pod's own. Raises `OSError` outside of a Pod."""
    return configured or file.read_text(encoding="ascii").strip()


class Election:
    """Acquires the Lease and renews it. A process leads for one term at most."""

    def __init__(
        self, lease: LeaseClient, *, has_work: Callable[[], bool], now: Callable[[], float] = clock.boot_seconds
    ) -> None:
        """`has_work` returns whether a task has begun and not finished; `now` is a monotonic clock. Sends nothing."""
        self._lease = lease
        self._has_work = has_work
        self._now = now
        self._valid_until = _LONG_AGO
        """Until then this process may write."""
        self._record: Record | None = None
        self._has_observed = False
        self._available_at = _LONG_AGO
        """When the Lease of another holder expires."""
        self._observed = asyncio.Event()
        self._last_warning = ""

    @property
    def is_leader(self) -> bool:
        """Whether this process may write now."""
        return self._now() < self._valid_until

    def check(self) -> None:
        """Raise `errors.NotLeader` if this process may not write now."""
        if self._now() >= self._valid_until:
            raise errors.NotLeader("not sent: this replica does not hold the Lease")

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Acquire the Lease, then run `lead` until it returns or the Lease is lost, which cancels it.

        Raises `LeadershipLost`, or what `lead` raises.
        """
        await self._acquire()
        _log.info("Lease acquired, leading", extra={"identity": self._lease.identity})
        term = asyncio.ensure_future(lead())
        try:
            await self._renew_loop(term)
        finally:
            self._valid_until = _LONG_AGO
            term.cancel()
            await asyncio.wait([term])
        term.result()

    async def release(self) -> None:
        """Release the Lease if this process holds it, so that another replica takes it at once. Cancel `run` before."""
        with suppress(errors.NotFound):
            for _ in range(2):
                if self._record is None or self._record.holder != self._lease.identity:
                    return
                try:
                    await self._lease.release(self._record)
                except errors.Conflict:
                    # Our own renewal was applied, and `run` was cancelled before its reply.
                    self._record = await self._lease.read()
                except errors.ApiError as error:
                    _log.warning("Lease was not released; it has to expire", extra={"error": repr(error)})
                    return
                else:
                    _log.info("Lease released", extra={"identity": self._lease.identity})
                    return

    async def _renew_loop(self, term: "asyncio.Future[None]") -> None:
        """Renew the Lease until `term` is done. Raises `LeadershipLost`."""
        pause = RENEW_SECONDS
        while True:
            await asyncio.wait([term], timeout=max(0.0, min(pause, self._valid_until - self._now())))
            if term.done():
                return
            if not self.is_leader:
                raise LeadershipLost("the Lease was not renewed in time")
            asked_at = self._now()
            try:
                async with asyncio.timeout(self._valid_until - asked_at):
                    await self._renew()
            except (errors.ApiError, TimeoutError) as error:
                self._warn_once("Lease could not be renewed", error)
                pause = _RETRY_SECONDS
            else:
                self._last_warning = ""
                self._valid_until = asked_at + DURATION_SECONDS - MARGIN_SECONDS
                pause = max(0.0, asked_at + RENEW_SECONDS - self._now())

    async def _renew(self) -> None:
        try:
            self._record = await (self._lease.create() if self._record is None else self._lease.renew(self._record))
        except errors.NotFound:
            # It was deleted: the next try creates it again; the others wait until the old one expires.
            self._record = None
            raise
        except errors.Conflict:
            # The other writer was our own renewal, whose reply was lost, or another replica.
            record = await self._lease.read()
            if record.holder != self._lease.identity:
                self._record = record
                raise LeadershipLost(f"the holder of the Lease is now {record.holder or 'empty'}") from None
            self._record = await self._lease.renew(record)

    async def _acquire(self) -> None:
        """Wait until this process holds the Lease."""
        watch = asyncio.create_task(self._watch(), name="lease")
        try:
            while not await self._acquire_once():
                pass
        finally:
            watch.cancel()
            await asyncio.wait([watch])

    async def _acquire_once(self) -> bool:
        """Wait until the Lease is available and try to acquire it; return whether that succeeded."""
        await self._wait_available()
        asked_at = self._now()
        try:
            async with asyncio.timeout(DURATION_SECONDS - MARGIN_SECONDS):
                self._record = await self._try_acquire()
        except (errors.ApiError, TimeoutError) as error:
            if isinstance(error, errors.Conflict):  # another replica was faster, or our earlier try had no reply
                await self._get()
            else:
                self._warn_once("Lease could not be acquired", error)
            await asyncio.sleep(_RETRY_SECONDS)
            return False
        self._last_warning = ""
        self._valid_until = asked_at + DURATION_SECONDS - MARGIN_SECONDS
        return True

    async def _wait_available(self) -> None:
        """Wait until the Lease is free or expired; read it once, `_PREFETCH_SECONDS` before it expires."""
        prefetched_for = _LONG_AGO
        while not self._has_observed or self._now() < self._available_at:
            due = 0.0 if self._available_at == prefetched_for else _PREFETCH_SECONDS
            if self._has_observed and due and self._now() >= self._available_at - due:
                prefetched_for = self._available_at
                await self._get()
                continue
            self._observed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._available_at - due - self._now() if self._has_observed else None):
                    await self._observed.wait()

    async def _get(self) -> None:
        """Read the Lease. Errors are ignored: the watch tries again and logs them."""
        try:
            self._observe(await self._lease.read())
        except errors.NotFound:
            self._observe(None)
        except errors.ApiError:
            return

    async def _try_acquire(self) -> Record:
        return await (self._lease.create() if self._record is None else self._lease.take(self._record))

    async def _watch(self) -> None:
        """Observe every change of the Lease. A missed one costs time only: the Lease is acquired by resourceVersion."""
        while True:
            try:
                await self._follow_watch()
                self._last_warning = ""
            except errors.NotFound:
                self._observe(None)
            except errors.ApiError as error:
                self._warn_once("Lease could not be read", error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _follow_watch(self) -> None:
        record = await self._lease.read()
        self._observe(record)
        async with aclosing(self._lease.watch(record)) as stream:
            async for change in stream:
                self._observe(change)
                if change is None:
                    return

    def _observe(self, record: Record | None) -> None:
        """Store the Lease as it is now (None: it does not exist), and compute when it is available.

        A Lease that was deleted may still have a holder, so its expiry stays as it was. If there is none at the start
        while tasks have begun, it may have been deleted a moment ago: wait one duration.
        """
        if record is None and not self._has_observed and self._has_work():
            self._available_at = self._now() + DURATION_SECONDS
        if record is not None and (self._record is None or record.version != self._record.version):
            is_free = record.holder in {"", self._lease.identity}
            self._available_at = _LONG_AGO if is_free else self._now() + max(record.duration_seconds, 1)
        self._record = record
        self._has_observed = True
        self._observed.set()

    def _warn_once(self, message: str, error: Exception) -> None:
        """Log a warning, but not the same one several times in a row."""
        warning = f"{message} {type(error).__name__}"
        if warning != self._last_warning:
            _log.warning(message, extra={"error": repr(error)})
        self._last_warning = warning
