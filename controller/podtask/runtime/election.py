"""Which of several replicas works: the one that holds the Lease, and only while its own clock says that it does.

Two rules carry it. The holder counts from before it asked for a renewal, and stops `MARGIN_SECONDS` early; the others
count from when they saw the last renewal. Each looks at its own clock only, so the holder has stopped before anybody
else begins, whatever wall clocks say (docs/design/0003). And the gate is looked at in the same turn of the loop as each
write, so that a process that was stopped in its tracks sends nothing when it comes to itself again.
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
"""The gate closes so long before the Lease is anybody's. It covers a connection that is being made when a write has
passed the gate (`CONNECT_SECONDS`), and two clocks that do not run equally fast."""
CONNECT_SECONDS = 2.5
REQUEST_SECONDS = 2.0
"""One request about the Lease: after one that hangs there is time for another."""
_RETRY_SECONDS = 0.5
_AHEAD_SECONDS = REQUEST_SECONDS + 0.5
"""A Lease that is about to run out is read so long before. Until then a follower only watches, and its first request
has to make a connection, which on a busy machine may take longer than a request may: now it is there when it counts.
A read that hangs has ended by itself by then."""
_NEVER = float("-inf")

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class LeadershipLost(Exception):
    """The Lease is another's, or was not renewed in time. The process has stopped working, and has to end."""


def identity(environment: Mapping[str, str] = os.environ) -> str:
    """Name this process. The random part tells it from the process that was in the same Pod before it."""
    return f"{environment.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4().hex[:8]}"


def lease_name(followed_namespace: str) -> str:
    """Name the Lease by what is worked on: controllers of different namespaces do not exclude each other."""
    return f"podtask-controller-{followed_namespace}" if followed_namespace else "podtask-controller"


def own_namespace(asked: str, file: Path = _NAMESPACE_FILE) -> str:
    """Say where the Lease is: where asked for, else in the Pod's own namespace. Raises `OSError` outside of a Pod."""
    return asked or file.read_text(encoding="ascii").strip()


class Election:
    """Wins the Lease and keeps it while it can. One term is all that a process gets."""

    def __init__(
        self, lease: LeaseClient, *, has_work: Callable[[], bool], now: Callable[[], float] = clock.boot_seconds
    ) -> None:
        """`has_work` says whether any task is under way, `now` is a monotonic clock. Nothing is sent before `run`."""
        self._lease = lease
        self._has_work = has_work
        self._now = now
        self._closes_at = _NEVER
        self._record: Record | None = None
        self._looked = False
        self._free_at = _NEVER
        self._news = asyncio.Event()
        self._complaint = ""

    @property
    def is_leader(self) -> bool:
        """Whether this process may write now."""
        return self._now() < self._closes_at

    def check(self) -> None:
        """Let a write pass; raises `errors.NotLeader` where none may."""
        if self._now() >= self._closes_at:
            raise errors.NotLeader("not sent: the Lease is not ours")

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, `lead` while it is ours, then cancel it.

        Raises `LeadershipLost`, or what `lead` raises.
        """
        await self._acquire()
        _log.info("leading", extra={"identity": self._lease.identity})
        term = asyncio.ensure_future(lead())
        try:
            await self._renew_loop(term)
        finally:
            self._closes_at = _NEVER
            term.cancel()
            await asyncio.wait([term])
        term.result()

    async def release(self) -> None:
        """Let the Lease go where it is ours, after `run` was cancelled; the others hear of it at once."""
        with suppress(errors.NotFound):
            for _ in range(2):
                if self._record is None or self._record.holder != self._lease.identity:
                    return
                try:
                    await self._lease.release(self._record)
                except errors.Conflict:
                    self._record = await self._lease.read()  # a renewal whose reply we did not wait for
                except errors.ApiError as error:
                    _log.warning("the Lease was not released and has to run out", extra={"error": repr(error)})
                    return
                else:
                    _log.info("released the Lease", extra={"identity": self._lease.identity})
                    return

    # ---- holding ----

    async def _renew_loop(self, term: "asyncio.Future[None]") -> None:
        """Renew until the term ends by itself, or the Lease is lost."""
        pause = RENEW_SECONDS
        while True:
            await asyncio.wait([term], timeout=max(0.0, min(pause, self._closes_at - self._now())))
            if term.done():
                return
            if not self.is_leader:
                raise LeadershipLost("not renewed in time")
            asked_at = self._now()
            try:
                async with asyncio.timeout(self._closes_at - asked_at):
                    await self._renew()
            except (errors.ApiError, TimeoutError) as error:
                self._complain("the Lease could not be renewed", error)
                pause = _RETRY_SECONDS
            else:
                self._complaint = ""
                self._closes_at = asked_at + DURATION_SECONDS - MARGIN_SECONDS
                pause = max(0.0, asked_at + RENEW_SECONDS - self._now())

    async def _renew(self) -> None:
        try:
            self._record = await (self._lease.create() if self._record is None else self._lease.renew(self._record))
        except errors.NotFound:
            self._record = None  # somebody deleted it: the next try makes it anew, while all others wait it out
            raise
        except errors.Conflict:
            # Our own renewal, of which the reply was lost, or somebody else's.
            found = await self._lease.read()
            if found.holder != self._lease.identity:
                self._record = found
                raise LeadershipLost(f"taken by {found.holder or 'nobody'}") from None
            self._record = await self._lease.renew(found)

    # ---- following ----

    async def _acquire(self) -> None:
        """Return with the Lease in hand."""
        watch = asyncio.create_task(self._watch(), name="lease")
        try:
            while not await self._take():
                pass
        finally:
            watch.cancel()
            await asyncio.wait([watch])

    async def _take(self) -> bool:
        """Wait until the Lease is free, and reach for it."""
        await self._wait_free()
        asked_at = self._now()
        try:
            async with asyncio.timeout(DURATION_SECONDS - MARGIN_SECONDS):
                self._record = await self._try_acquire()
        except (errors.ApiError, TimeoutError) as error:
            if isinstance(error, errors.Conflict):  # somebody else was faster, or an earlier try that had no reply
                await self._get()
            else:
                self._complain("the Lease could not be taken", error)
            await asyncio.sleep(_RETRY_SECONDS)
            return False
        self._complaint = ""
        self._closes_at = asked_at + DURATION_SECONDS - MARGIN_SECONDS
        return True

    async def _wait_free(self) -> None:
        looked_before = _NEVER
        while not self._looked or self._now() < self._free_at:
            if self._looked and self._free_at != looked_before and self._now() >= self._free_at - _AHEAD_SECONDS:
                looked_before = self._free_at
                await self._get()
                continue
            self._news.clear()
            ahead = 0.0 if self._free_at == looked_before else _AHEAD_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(self._free_at - ahead - self._now() if self._looked else None):
                    await self._news.wait()

    async def _get(self) -> None:
        """Note what is there; what cannot be read now, the watch goes on trying to, and complains about."""
        try:
            self._observe(await self._lease.read())
        except errors.NotFound:
            self._observe(None)
        except errors.ApiError:
            return

    async def _try_acquire(self) -> Record:
        return await (self._lease.create() if self._record is None else self._lease.take(self._record))

    async def _watch(self) -> None:
        """Note every change. What we miss costs time and no safety: the Lease is taken by version."""
        while True:
            try:
                await self._follow()
                self._complaint = ""
            except errors.NotFound:
                self._observe(None)
            except errors.ApiError as error:
                self._complain("the Lease cannot be read", error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self) -> None:
        record = await self._lease.read()
        self._observe(record)
        async with aclosing(self._lease.watch(record)) as stream:
            async for found in stream:
                self._observe(found)
                if found is None:
                    return

    def _observe(self, record: Record | None) -> None:
        """Take in what is there. A Lease that was deleted may be held still: it runs out as it would have.

        Where none is found at the start and tasks are under way, one may have been deleted a moment ago.
        """
        if record is None and not self._looked and self._has_work():
            self._free_at = self._now() + DURATION_SECONDS
        if record is not None and (self._record is None or record.version != self._record.version):
            is_free = record.holder in {"", self._lease.identity}
            self._free_at = _NEVER if is_free else self._now() + max(record.duration_seconds, 1)
        self._record = record
        self._looked = True
        self._news.set()

    def _complain(self, message: str, error: Exception) -> None:
        """Say it once: a server that is away for an hour is one line."""
        complaint = f"{message} {type(error).__name__}"
        if complaint != self._complaint:
            _log.warning(message, extra={"error": repr(error)})
        self._complaint = complaint
