"""One watch for all deferred tasks of a triggerer: a thousand subscribers cost the API server one watch.

A SharedInformer exists per event loop, cluster, namespace and label selector, while it has subscribers. Its thread does
the I/O and posts small facts to the event loop, which owns all state, so there are no locks. It asks for the columns
that kubectl prints instead of the objects: a few words per task cross the network whatever the specs and results weigh,
and one `Snapshot` per task is kept. Its threads have an empty context, so that their log lines do not appear in the
log of the task that happened to start them.
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

from ..api_types import JsonObject, JsonPatch, PodTask
from ..hooks import api_errors
from ..hooks import cluster_config as cluster_configs
from ..hooks.cluster_config import ClusterConfig, ClusterRef
from ..hooks.podtask import PodTaskClient
from ..hooks.streams import Watch
from . import podtask as podtasks

log = logging.getLogger(__name__)

T = TypeVar("T")

DELETED = "Deleted"
NOT_RECONCILED = "NotReconciled"

TOLERANCE_SECONDS = 900.0
LINGER_SECONDS = 5.0
"""How long the watch outlives its last subscriber: mapped tasks come one by one, and each list costs something."""
CONFIRM_SECONDS = 30.0
"""How often a task is read that exists although the watch does not return it, because its labels were changed."""
MAX_DELAY = 30.0
MAX_CONNECT_DELAY = 3.0
"""The longest pause while the API server does not reply at all: trying costs the server nothing, and all tasks wait for
its first reply. Only here, where one thread asks for a whole triggerer; a worker's reflector is one of very many."""
MIN_WATCH_SECONDS = 2.0
"""A watch that was cut sooner than this counts as a failure."""
REQUEST_SECONDS = 10.0
"""How long one request is retried before it is reported as a watch error."""
PAGE_SIZE = 500
CONCURRENT_REQUESTS = 4
"""Requests at once, not counting the watch."""


class Snapshot(NamedTuple):
    """What a subscriber needs to know of a PodTask. `phase` may also be DELETED or NOT_RECONCILED."""

    phase: str
    pod_name: str | None = None
    resource_version: str = ""
    reason: str | None = None

    @property
    def is_not_reconciled(self) -> bool:
        """Whether no controller has written the status, as far as the columns show."""
        return self.phase in {"", "Pending"} and self.reason is None and self.pod_name is None


Resolve = Callable[[ClusterRef], Awaitable[ClusterConfig]]
OnChange = Callable[[Snapshot], None]


async def resolve_in_triggerer(cluster: ClusterRef) -> ClusterConfig:
    """Read the connection without blocking the event loop, in a way that each Airflow version allows."""
    from asgiref.sync import sync_to_async

    from ..version_compat import BaseHook

    resolved: ClusterConfig = await sync_to_async(cluster_configs.resolve)(cluster, BaseHook.get_connection)
    return resolved


@dataclass(frozen=True)
class Key:
    """What subscribers of one informer have in common."""

    cluster: ClusterRef
    namespace: str
    selector: str


_informers: dict[tuple[asyncio.AbstractEventLoop, Key], SharedInformer] = {}


@contextlib.asynccontextmanager
async def subscribe(
    cluster: ClusterRef, namespace: str, selector: str, *, resolve: Resolve = resolve_in_triggerer
) -> AsyncIterator[SharedInformer]:
    """Return the shared informer and keep it running for the length of the block. Its client serves other requests."""
    key = Key(cluster, namespace, selector)
    index = (asyncio.get_running_loop(), key)
    informer = _informers.get(index)
    if informer is None:
        informer = _informers[index] = SharedInformer(key, resolve, on_end=lambda: _informers.pop(index, None))
    informer.add_user()
    try:
        await informer.ready()
        yield informer
    finally:
        informer.remove_user()


async def wait(
    cluster: ClusterRef,
    namespace: str,
    selector: str,
    name: str,
    uid: str,
    *,
    not_reconciled_seconds: float | None = None,
    tolerance: float = TOLERANCE_SECONDS,
    resolve: Resolve = resolve_in_triggerer,
) -> Snapshot:
    """Wait for one PodTask, see SharedInformer.wait."""
    async with subscribe(cluster, namespace, selector, resolve=resolve) as informer:
        return await informer.wait(name, uid, not_reconciled_seconds=not_reconciled_seconds, tolerance=tolerance)


def client_for(cluster: ClusterRef) -> PodTaskClient | None:
    """Return the client of an informer of the same cluster in this event loop, if there is one."""
    loop = asyncio.get_running_loop()
    for (of, key), informer in _informers.items():
        if of is loop and key.cluster == cluster and informer.client is not None:
            return informer.client
    return None


async def call(function: Callable[..., T], *args: Any) -> T:
    """Run a blocking function in a daemon thread, which delays neither the event loop nor the process's exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            found = function(*args)
        except BaseException as error:  # noqa: BLE001 (raised again in the coroutine that awaits the result)
            _post(loop, _set_exception, future, error)
        else:
            _post(loop, _set_result, future, found)

    threading.Thread(target=contextvars.Context().run, args=(run,), name="podtask-call", daemon=True).start()
    return await future


def _post(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: Any) -> bool:
    """Schedule a call on the event loop; return False when the loop is closed."""
    try:
        loop.call_soon_threadsafe(function, *args, context=contextvars.Context())
    except RuntimeError:
        return False
    return True


def _set_result(future: asyncio.Future[Any], found: Any) -> None:
    if not future.done():
        future.set_result(found)


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


@dataclass(eq=False)
class _Subscriber:
    """One wait for one PodTask."""

    name: str
    future: asyncio.Future[Snapshot]
    tolerance: float
    since: float
    on_change: OnChange | None

    def notify(self, snapshot: Snapshot) -> None:
        """Report a state, and end the wait if it is a final one."""
        if self.on_change is not None:
            self.on_change(snapshot)
        if snapshot.phase in podtasks.TERMINAL_PHASES or snapshot.phase == DELETED:
            _set_result(self.future, snapshot)


class SharedInformer:
    """The state of one shared watch. Only the event loop reads or writes it."""

    def __init__(self, key: Key, resolve: Resolve, on_end: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._key = key
        self._on_end = on_end
        self._users = 0
        self._linger: asyncio.TimerHandle | None = None
        self._subscribers: dict[str, list[_Subscriber]] = {}
        self._store: dict[str, Snapshot] = {}
        self._next_store: dict[str, Snapshot] = {}
        self._has_synced = False
        self._error: tuple[api_errors.ApiError, float] | None = None
        self._requests = asyncio.Semaphore(CONCURRENT_REQUESTS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._reflector: TableReflector | None = None
        self.client: PodTaskClient | None = None
        self._start = contextvars.Context().run(self._loop.create_task, self._begin(resolve))

    # Users

    def add_user(self) -> None:
        """Count one more user."""
        self._users += 1
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def remove_user(self) -> None:
        """Count one user less; LINGER_SECONDS after the last one the watch ends."""
        self._users -= 1
        if self._users:
            return
        if self._reflector is None:
            self._end()
        else:
            self._linger = self._loop.call_later(LINGER_SECONDS, self._end, context=contextvars.Context())

    async def ready(self) -> None:
        """Wait until the connection has been read, once for all users."""
        await asyncio.shield(self._start)

    async def _begin(self, resolve: Resolve) -> None:
        resolved = await resolve(self._key.cluster)
        self.client = PodTaskClient(resolved.api_client_factory, budget=REQUEST_SECONDS)
        self._reflector = TableReflector(self.client, self._key, self)
        self._reflector.start()

    def _end(self) -> None:
        self._on_end()
        self._start.cancel()
        for task in self._tasks:
            task.cancel()
        if self._reflector is not None:
            self._reflector.stop()

    # Waiting

    async def wait(
        self,
        name: str,
        uid: str,
        *,
        not_reconciled_seconds: float | None = None,
        tolerance: float = TOLERANCE_SECONDS,
        on_change: OnChange | None = None,
    ) -> Snapshot:
        """Wait for a terminal phase, DELETED, or NOT_RECONCILED by any controller for that many seconds.

        `on_change` is called on the event loop with the known state and each change. Raises ApiError when the API
        server rejects the first request for good, or could not be watched for `tolerance` seconds.
        """
        subscriber = _Subscriber(name, self._loop.create_future(), tolerance, self._loop.time(), on_change)
        self._subscribers.setdefault(uid, []).append(subscriber)
        if self._has_synced:
            self._notify_or_confirm(uid, subscriber)
        try:
            if not_reconciled_seconds is not None and await self._is_not_reconciled(
                subscriber, uid, not_reconciled_seconds
            ):
                return Snapshot(NOT_RECONCILED)
            return await subscriber.future
        finally:
            others = self._subscribers[uid]
            others.remove(subscriber)
            if not others:
                del self._subscribers[uid]

    async def _is_not_reconciled(self, subscriber: _Subscriber, uid: str, seconds: float) -> bool:
        """Return whether no controller wrote a status in that time. The columns omit some of it: read the object."""
        while True:
            done, _ = await asyncio.wait({subscriber.future}, timeout=seconds)
            known = self._store.get(uid)
            if done or (known is not None and not known.is_not_reconciled):
                return False
            if self._error is not None or self.client is None:
                continue
            try:
                found = await call(self.client.get, self._key.namespace, subscriber.name)
            except api_errors.ApiError:
                continue
            return podtasks.is_not_reconciled(found) and snapshot_of(found).is_not_reconciled

    async def patch(self, namespace: str, name: str, operations: JsonPatch) -> PodTask:
        """Patch one PodTask, with a bounded number of requests at once."""
        assert self.client is not None  # noqa: S101
        async with self._requests:
            return await call(self.client.patch, namespace, name, operations)

    def _notify_or_confirm(self, uid: str, subscriber: _Subscriber) -> None:
        known = self._store.get(uid)
        if known is not None:
            subscriber.notify(known)
            return
        task = contextvars.Context().run(self._loop.create_task, self._confirm(uid, subscriber))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _confirm(self, uid: str, subscriber: _Subscriber) -> None:
        """Read a PodTask that is not in the list: deleted, newer than the list, or with other labels now."""
        assert self.client is not None  # noqa: S101
        while not subscriber.future.done() and uid not in self._store and uid in self._subscribers:
            try:
                async with self._requests:
                    found = await call(self.client.get, self._key.namespace, subscriber.name)
            except api_errors.CrdMissing as error:
                return _set_exception(subscriber.future, error)
            except api_errors.NotFound:
                return _set_result(subscriber.future, Snapshot(DELETED))
            except api_errors.ApiError as error:
                if error.is_permanent:
                    return _set_exception(subscriber.future, error)
            else:
                if found["metadata"]["uid"] != uid:
                    return _set_result(subscriber.future, Snapshot(DELETED))
                subscriber.notify(snapshot_of(found))
            await asyncio.sleep(CONFIRM_SECONDS)
        return None

    # What the reflector posts

    def on_page(self, rows: list[tuple[str, Snapshot]]) -> None:
        """One page of a list has been read."""
        self._next_store.update(rows)

    def on_listed(self) -> None:
        """The last page has been read."""
        self._store, self._next_store = self._next_store, {}
        self._has_synced = True
        self.on_reply()
        for uid, subscribers in list(self._subscribers.items()):
            for subscriber in list(subscribers):
                self._notify_or_confirm(uid, subscriber)

    def on_list_failed(self) -> None:
        """A list failed before its last page."""
        self._next_store = {}

    def on_event(self, uid: str, snapshot: Snapshot | None) -> None:
        """One PodTask was changed; None: deleted."""
        if snapshot is None:
            self._store.pop(uid, None)
            snapshot = Snapshot(DELETED)
        else:
            self._store[uid] = snapshot
        for subscriber in self._subscribers.get(uid, ()):
            subscriber.notify(snapshot)

    def on_reply(self) -> None:
        """The API server replies."""
        if self._error is not None:
            log.info("The API server replies again; PodTasks waited for: %d", len(self._subscribers))
        self._error = None

    def on_error(self, error: api_errors.ApiError) -> None:
        """A list or watch failed."""
        now = self._loop.time()
        since = now if self._error is None else self._error[1]
        self._error = (error, since)
        log.warning("%s (PodTasks waited for: %d)", error, len(self._subscribers))
        for subscribers in list(self._subscribers.values()):
            for subscriber in subscribers:
                is_rejected = error.is_permanent and not self._has_synced
                if is_rejected or now - max(since, subscriber.since) >= subscriber.tolerance:
                    _set_exception(subscriber.future, error)


class TableReflector:
    """The thread of an informer: list, watch, and repeat until it is stopped."""

    def __init__(self, client: PodTaskClient, key: Key, informer: SharedInformer) -> None:
        self._client = client
        self._key = key
        self._informer = informer
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._version = ""
        self._thread = threading.Thread(
            target=contextvars.Context().run, args=(self._run,), name=f"podtask-informer-{key.namespace}", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread at once, and close the client."""
        self._stop.set()
        self._client.close()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            failures = self._sync(failures)

    def _sync(self, failures: int) -> int:
        """List where that is needed, and watch. Return the number of failures in a row."""
        began = time.monotonic()
        try:
            if not self._version:
                self._list()
            self._watch()
        except Exception as caught:  # noqa: BLE001 (subscribers wait for what this thread posts, so it must not die)
            error = caught if isinstance(caught, api_errors.ApiError) else self._unexpected(caught)
            if isinstance(error, api_errors.Expired):
                self._version = ""
            elif not self._stop.is_set():
                self._post(self._informer.on_error, error)
            self._post(self._informer.on_list_failed)
            failures = 0 if time.monotonic() - began > MAX_DELAY else failures + 1
            got_no_reply = isinstance(error, api_errors.Unreachable) and not error.status
            longest = MAX_CONNECT_DELAY if got_no_reply else MAX_DELAY
            self._stop.wait(min(0.5 * 2.0**failures, longest) * random.uniform(0.5, 1.0))  # noqa: S311
            return failures
        return 0

    def _unexpected(self, caught: Exception) -> api_errors.ApiError:
        if not self._stop.is_set():
            log.error("The watch of namespace %s failed", self._key.namespace, exc_info=caught)
        return api_errors.Unexpected(repr(caught), doing=f"watch PodTasks in namespace {self._key.namespace}")

    def _post(self, function: Callable[..., None], *args: Any) -> None:
        if not _post(self._loop, function, *args):
            self.stop()

    def _list(self) -> None:
        version = ""
        for table in self._client.tables(self._key.namespace, self._key.selector, PAGE_SIZE):
            version = version or table["metadata"]["resourceVersion"]
            columns = Columns(table)
            self._post(self._informer.on_page, [columns.read(row) for row in table["rows"] or ()])
        self._post(self._informer.on_listed)
        self._version = version

    def _watch(self) -> None:
        """Post changes until the watch ends by itself."""
        watch = self._client.watch(
            self._key.namespace, selector=self._key.selector, resource_version=self._version, table=True
        )
        began = time.monotonic()
        self._post(self._informer.on_reply)
        try:
            self._post_changes(watch)
        except api_errors.Unreachable:
            # Load balancers cut connections that are open for long. The next watch shows whether there is an error.
            if time.monotonic() - began < MIN_WATCH_SECONDS:
                raise

    def _post_changes(self, watch: Watch) -> None:
        columns: Columns | None = None
        for kind, table in watch:
            columns = columns or Columns(table)
            for row in table["rows"] if kind != "BOOKMARK" else ():
                uid, snapshot = columns.read(row)
                self._post(self._informer.on_event, uid, None if kind == "DELETED" else snapshot)
            self._version = table["metadata"]["resourceVersion"]


class Columns:
    """The indexes of the columns Phase, Pod and Reason in a Table."""

    def __init__(self, table: JsonObject) -> None:
        indexes = {column["name"]: index for index, column in enumerate(table["columnDefinitions"] or ())}
        if "Phase" not in indexes:
            raise api_errors.ApiError(
                "the podtasks CRD in this cluster is not PodTask's: it has no column Phase", doing="watch PodTasks"
            )
        self._indexes = [indexes.get(name) for name in ("Phase", "Pod", "Reason")]

    def read(self, row: JsonObject) -> tuple[str, Snapshot]:
        """Return a row's uid and snapshot. Phases and reasons repeat in thousands of rows, so they are interned."""
        phase, pod, reason = (None if index is None else row["cells"][index] for index in self._indexes)
        metadata = row["object"]["metadata"]
        snapshot = Snapshot(
            sys.intern(phase or ""), pod or None, metadata["resourceVersion"], sys.intern(reason) if reason else None
        )
        return metadata["uid"], snapshot


def snapshot_of(task: PodTask) -> Snapshot:
    """Return the snapshot of a whole object."""
    status = podtasks.status(task)
    pod = podtasks.last_attempt(task).get("podName")
    return Snapshot(status.get("phase") or "", pod, task["metadata"]["resourceVersion"], status.get("reason"))
