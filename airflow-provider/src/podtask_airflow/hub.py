"""One watch for all deferred tasks of a process: a thousand waiters cost the API server what one costs.

A hub lives as long as somebody waits, per event loop, access, namespace and label selector. Its thread does the I/O and
hands small facts to the loop, which owns all state; so there is no lock. It asks for the columns that kubectl prints
instead of the objects: what travels is a few words per task, whatever their specs and results weigh, and what is kept
is one `Seen` per task. Its threads have an empty context, or their log lines would go into some task's log.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from . import access as access_module
from . import errors
from .access import Access
from .client import JSON, Client, Watch

log = logging.getLogger(__name__)

T = TypeVar("T")

TERMINAL = frozenset({"Succeeded", "Failed", "Cancelled", "Skipped"})
GONE = "Gone"
UNTOUCHED = "Untouched"

TOLERANCE_SECONDS = 900.0
LINGER_SECONDS = 5.0
"""How long the watch outlives its last waiter: mapped tasks come one by one, and each list costs something."""
RECONFIRM_SECONDS = 30.0
"""How often a task is looked at that exists and that the watch does not show, because somebody changed its labels."""
LONGEST_DELAY = 30.0
UNANSWERED_DELAY = 3.0
"""The longest pause where nobody answers: asking costs the server nothing, and its first answer is what all wait for.

Only here, where one thread asks for all tasks of a process; a worker's own watch (watch.py) is one of very many.
"""
SHORT_LIFE = 2.0
"""A watch that was cut sooner than this counts as a failure."""
REQUEST_SECONDS = 10.0
"""How long one request is tried again before the hub says that there is trouble."""
PAGE = 500
CALLS = 4
"""Requests at once beside the watch."""


class Seen(NamedTuple):
    """A task as a waiter needs it."""

    phase: str
    pod_name: str | None
    resource_version: str
    reason: str | None

    @property
    def is_untouched(self) -> bool:
        """Whether no controller has shown itself, as far as the columns tell."""
        return self.phase in {"", "Pending"} and self.reason is None and self.pod_name is None


Resolve = Callable[[Access], Awaitable[access_module.Resolved]]
Changed = Callable[[Seen], None]


async def resolve_in_triggerer(access: Access) -> access_module.Resolved:
    """Read the connection in the way that neither holds the event loop up nor is refused by any Airflow."""
    from asgiref.sync import sync_to_async

    from .version_compat import BaseHook

    resolved: access_module.Resolved = await sync_to_async(access_module.resolve)(access, BaseHook.get_connection)
    return resolved


@dataclass(frozen=True)
class Key:
    """What a watch is shared by."""

    access: Access
    namespace: str
    selector: str


_hubs: dict[tuple[asyncio.AbstractEventLoop, Key], Hub] = {}


@contextlib.asynccontextmanager
async def joined(
    access: Access, namespace: str, selector: str, *, resolve: Resolve = resolve_in_triggerer
) -> AsyncIterator[Hub]:
    """The shared hub, kept alive for as long as the block lasts; its client may serve other requests too."""
    key = Key(access, namespace, selector)
    place = (asyncio.get_running_loop(), key)
    hub = _hubs.get(place)
    if hub is None:
        hub = _hubs[place] = Hub(key, resolve, forget=lambda: _hubs.pop(place, None))
    hub.enter()
    try:
        await hub.ready()
        yield hub
    finally:
        hub.leave()


async def wait(
    access: Access,
    namespace: str,
    selector: str,
    name: str,
    uid: str,
    *,
    untouched_seconds: float | None = None,
    tolerance: float = TOLERANCE_SECONDS,
    resolve: Resolve = resolve_in_triggerer,
) -> Seen:
    """Wait for a task's end: a terminal phase, or Gone, or Untouched by any controller for that long.

    Raises ApiError when the API refuses at first contact, or could not be used for `tolerance` seconds.
    """
    async with joined(access, namespace, selector, resolve=resolve) as hub:
        return await hub.wait(name, uid, untouched_seconds=untouched_seconds, tolerance=tolerance)


def client_for(access: Access) -> Client | None:
    """The client of a hub that runs in this loop with the same access, for a request by the way."""
    loop = asyncio.get_running_loop()
    for (of, key), hub in _hubs.items():
        if of is loop and key.access == access and hub.client is not None:
            return hub.client
    return None


async def call(function: Callable[..., T], *args: Any) -> T:
    """Run something that blocks in a daemon thread of its own: it neither holds the loop up nor the process's end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            found = function(*args)
        except BaseException as error:  # noqa: BLE001 (whoever awaits shall see it, whatever it is)
            _post(loop, _fail, future, error)
        else:
            _post(loop, _give, future, found)

    threading.Thread(target=contextvars.Context().run, args=(run,), name="podtask-call", daemon=True).start()
    return await future


def _post(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: Any) -> bool:
    """Hand something to the loop; False when the loop has ended."""
    try:
        loop.call_soon_threadsafe(function, *args, context=contextvars.Context())
    except RuntimeError:
        return False
    return True


def _give(future: asyncio.Future[Any], found: Any) -> None:
    if not future.done():
        future.set_result(found)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


@dataclass(eq=False)
class _Waiter:
    """One who waits."""

    name: str
    future: asyncio.Future[Seen]
    tolerance: float
    joined: float
    changed: Changed | None


class Hub:
    """The state of one shared watch. All of it belongs to the event loop."""

    def __init__(self, key: Key, resolve: Resolve, forget: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._key = key
        self._forget = forget
        self._users = 0
        self._linger: asyncio.TimerHandle | None = None
        self._waiters: dict[str, list[_Waiter]] = {}
        self._known: dict[str, Seen] = {}
        self._fresh: dict[str, Seen] = {}
        self._synced = False
        self._trouble: tuple[errors.ApiError, float] | None = None
        self._calls = asyncio.Semaphore(CALLS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._reader: Reader | None = None
        self.client: Client | None = None
        self._start = contextvars.Context().run(self._loop.create_task, self._begin(resolve))

    # Who uses it

    def enter(self) -> None:
        """One more user."""
        self._users += 1
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def leave(self) -> None:
        """One user less; the last one ends it, a little later."""
        self._users -= 1
        if self._users:
            return
        if self._reader is None:
            self._end()
        else:
            self._linger = self._loop.call_later(LINGER_SECONDS, self._end, context=contextvars.Context())

    async def ready(self) -> None:
        """Wait for the connection to be read, which happens once for all."""
        await asyncio.shield(self._start)

    async def _begin(self, resolve: Resolve) -> None:
        resolved = await resolve(self._key.access)
        self.client = Client(resolved.api_client_factory, budget=REQUEST_SECONDS)
        self._reader = Reader(self.client, self._key, self)
        self._reader.start()

    def _end(self) -> None:
        self._forget()
        self._start.cancel()
        for task in self._tasks:
            task.cancel()
        if self._reader is not None:
            self._reader.stop()

    # Waiting

    async def wait(
        self,
        name: str,
        uid: str,
        *,
        untouched_seconds: float | None = None,
        tolerance: float = TOLERANCE_SECONDS,
        changed: Changed | None = None,
    ) -> Seen:
        """Wait for the end of one task; `changed` is called on the loop with what is known, and each change."""
        waiter = _Waiter(name, self._loop.create_future(), tolerance, self._loop.time(), changed)
        self._waiters.setdefault(uid, []).append(waiter)
        if self._synced:
            self._look(uid, waiter)
        try:
            if untouched_seconds is not None and await self._is_untouched(waiter, uid, untouched_seconds):
                return Seen(UNTOUCHED, None, "", None)
            return await waiter.future
        finally:
            left = self._waiters[uid]
            left.remove(waiter)
            if not left:
                del self._waiters[uid]

    async def _is_untouched(self, waiter: _Waiter, uid: str, seconds: float) -> bool:
        """Whether no controller has shown itself in that time. Columns leave a little out, so the object is read."""
        while True:
            done, _ = await asyncio.wait({waiter.future}, timeout=seconds)
            seen = self._known.get(uid)
            if done or (seen is not None and not seen.is_untouched):
                return False
            if self._trouble is not None or self.client is None:
                continue
            try:
                found = await call(self.client.get, self._key.namespace, waiter.name)
            except errors.ApiError:
                continue
            status = found.get("status") or {}
            written = any(status.get(key) for key in ("observedGeneration", "reason", "attempts"))
            return not written and seen_of(found).is_untouched

    async def request(self, namespace: str, name: str, operations: list[JSON]) -> JSON:
        """Patch one task, with few requests at once however many ask."""
        assert self.client is not None  # noqa: S101
        async with self._calls:
            return await call(self.client.patch, namespace, name, operations)

    def _look(self, uid: str, waiter: _Waiter) -> None:
        seen = self._known.get(uid)
        if seen is None:
            self._confirm(uid, waiter)
        else:
            _tell(waiter, seen)

    def _confirm(self, uid: str, waiter: _Waiter) -> None:
        """Ask for one task that the list does not show: deleted, younger than the list, or with other labels now."""
        task = contextvars.Context().run(self._loop.create_task, self._confirmed(uid, waiter))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _confirmed(self, uid: str, waiter: _Waiter) -> None:
        assert self.client is not None  # noqa: S101
        while not waiter.future.done() and uid not in self._known and uid in self._waiters:
            try:
                async with self._calls:
                    found = await call(self.client.get, self._key.namespace, waiter.name)
            except errors.CrdMissing as error:
                return _fail(waiter.future, error)
            except errors.NotFound:
                return _give(waiter.future, Seen(GONE, None, "", None))
            except errors.ApiError as error:
                if error.lasting:
                    return _fail(waiter.future, error)
            else:
                if found["metadata"]["uid"] != uid:
                    return _give(waiter.future, Seen(GONE, None, "", None))
                _tell(waiter, seen_of(found))
            await asyncio.sleep(RECONFIRM_SECONDS)
        return None

    # What the reader tells

    def page(self, rows: list[tuple[str, Seen]]) -> None:
        """Some of the tasks that exist."""
        self._fresh.update(rows)

    def listed(self) -> None:
        """That was the last page."""
        self._known, self._fresh = self._fresh, {}
        self._synced = True
        self.well()
        for uid, waiters in list(self._waiters.items()):
            for waiter in list(waiters):
                self._look(uid, waiter)

    def unlisted(self) -> None:
        """A list was not finished."""
        self._fresh = {}

    def changed(self, uid: str, seen: Seen | None) -> None:
        """One task is so now; None: it was deleted."""
        if seen is None:
            self._known.pop(uid, None)
            seen = Seen(GONE, None, "", None)
        else:
            self._known[uid] = seen
        for waiter in self._waiters.get(uid, ()):
            _tell(waiter, seen)

    def well(self) -> None:
        """The API server answers."""
        if self._trouble is not None:
            log.info("The API server is back; %s tasks are waited for", len(self._waiters))
        self._trouble = None

    def trouble(self, error: errors.ApiError) -> None:
        """The API server could not be used, again."""
        now = self._loop.time()
        since = now if self._trouble is None else self._trouble[1]
        self._trouble = (error, since)
        log.warning("%s (%d tasks are waited for)", error, len(self._waiters))
        for waiters in list(self._waiters.values()):
            for waiter in waiters:
                refused = error.lasting and not self._synced
                if refused or now - max(since, waiter.joined) >= waiter.tolerance:
                    _fail(waiter.future, error)


def _tell(waiter: _Waiter, seen: Seen) -> None:
    if waiter.changed is not None:
        waiter.changed(seen)
    if seen.phase in TERMINAL or seen.phase == GONE:
        _give(waiter.future, seen)


class Reader:
    """The thread of a hub: list, watch, and begin again until it is stopped."""

    def __init__(self, client: Client, key: Key, hub: Hub) -> None:
        self._client = client
        self._key = key
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._version = ""
        self._thread = threading.Thread(
            target=contextvars.Context().run, args=(self._run,), name=f"podtask-hub-{key.namespace}", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End at once; the client ends with it."""
        self._stop.set()
        self._client.close()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            failures = self._round(failures)

    def _round(self, failures: int) -> int:
        """List where that is needed, and watch. Returns how often in a row nothing came of it."""
        began = time.monotonic()
        try:
            if not self._version:
                self._list()
            self._watch()
        except Exception as caught:  # noqa: BLE001 (whatever it is: who waits must not wait for a thread that died)
            error = caught if isinstance(caught, errors.ApiError) else self._unexpected(caught)
            if isinstance(error, errors.Expired):
                self._version = ""
            elif not self._stop.is_set():
                self._tell(self._hub.trouble, error)
            self._tell(self._hub.unlisted)
            failures = 0 if time.monotonic() - began > LONGEST_DELAY else failures + 1
            is_unanswered = isinstance(error, errors.Unreachable) and not error.status
            longest = UNANSWERED_DELAY if is_unanswered else LONGEST_DELAY
            self._stop.wait(min(0.5 * 2.0**failures, longest) * random.uniform(0.5, 1.0))  # noqa: S311
            return failures
        return 0

    def _unexpected(self, caught: Exception) -> errors.ApiError:
        if not self._stop.is_set():
            log.error("The shared watch of namespace %s failed", self._key.namespace, exc_info=caught)
        return errors.Unexpected(repr(caught), doing=f"watch podtasks in namespace {self._key.namespace}")

    def _tell(self, function: Callable[..., None], *args: Any) -> None:
        if not _post(self._loop, function, *args):
            self.stop()

    def _list(self) -> None:
        version = ""
        for table in self._client.tables(self._key.namespace, self._key.selector, PAGE):
            version = version or table["metadata"]["resourceVersion"]
            columns = Columns(table)
            self._tell(self._hub.page, [columns.read(row) for row in table["rows"] or ()])
        self._tell(self._hub.listed)
        self._version = version

    def _watch(self) -> None:
        """Pass changes on until the watch ends by itself."""
        watch: Watch = self._client.watch(
            self._key.namespace, selector=self._key.selector, resource_version=self._version, table=True
        )
        began = time.monotonic()
        self._tell(self._hub.well)
        try:
            self._changes(watch)
        except errors.Unreachable:
            # Load balancers cut what is open for long. The next one tells whether there is trouble.
            if time.monotonic() - began < SHORT_LIFE:
                raise

    def _changes(self, watch: Watch) -> None:
        columns: Columns | None = None
        for kind, table in watch:
            columns = columns or Columns(table)
            for row in table["rows"] if kind != "BOOKMARK" else ():
                uid, seen = columns.read(row)
                self._tell(self._hub.changed, uid, None if kind == "DELETED" else seen)
            self._version = table["metadata"]["resourceVersion"]


class Columns:
    """Where in a row of a table the words stand that count."""

    def __init__(self, table: JSON) -> None:
        places = {column["name"]: index for index, column in enumerate(table["columnDefinitions"] or ())}
        if "Phase" not in places:
            raise errors.ApiError("the CRD in this cluster is not PodTask's: it shows no column Phase", doing="watch")
        self._places = [places.get(name) for name in ("Phase", "Pod", "Reason")]

    def read(self, row: JSON) -> tuple[str, Seen]:
        """The uid, and what is known of it. A few words stand for thousands of tasks: they are kept once."""
        phase, pod, reason = (None if place is None else row["cells"][place] for place in self._places)
        metadata = row["object"]["metadata"]
        known_reason = sys.intern(reason) if reason else None
        return metadata["uid"], Seen(sys.intern(phase or ""), pod or None, metadata["resourceVersion"], known_reason)


def seen_of(task: JSON) -> Seen:
    """The same of a whole object."""
    status = task.get("status") or {}
    attempts: list[JSON] = status.get("attempts") or []
    pod = attempts[-1]["podName"] if attempts else None
    return Seen(status.get("phase") or "", pod, task["metadata"]["resourceVersion"], status.get("reason"))
