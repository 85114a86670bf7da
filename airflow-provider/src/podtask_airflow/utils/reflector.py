"""Watch one PodTask from a worker, through restarts of the API server, cut connections and expired versions.

A reflector puts the object (a PodTask) on each change, `Deleted`, or `WatchError` while the API server cannot be
watched. The worker's queue is a SimpleQueue, because a signal handler puts into it, too.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..api_types import PodTask
from ..hooks import api_errors
from ..hooks.podtask import PodTaskClient
from ..hooks.streams import Watch
from .podtask import qualified_name

log = logging.getLogger(__name__)

MAX_DELAY = 30.0
MIN_WATCH_SECONDS = 2.0
"""A watch that was cut sooner than this counts as a failure."""


@dataclass(frozen=True)
class Deleted:
    """The object was deleted, or another one has its name."""


@dataclass(frozen=True)
class WatchError:
    """The API server cannot be watched, since a value of time.monotonic(). The next object ends that state."""

    error: api_errors.ApiError
    since: float


Put = Callable[["PodTask | Deleted | WatchError"], None]


class Reflector:
    """A watch of one PodTask, with a thread of its own. `stop` ends it at once, from any thread."""

    def __init__(self, client: PodTaskClient, task: PodTask, put: Put, *, is_current: bool = False) -> None:
        """`is_current`: the caller has just received `task` from the API server, so that it is not read again."""
        self._client = client
        self._task = task
        self._put = put
        self._is_current = is_current
        self._stop = threading.Event()
        self._watch: Watch | None = None
        self._error_since: float | None = None
        name = f"podtask-watch-{task['metadata']['name']}"
        self._thread = threading.Thread(target=self.run, name=name, daemon=True)

    def start(self) -> Reflector:
        """Start the thread."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the watch. An event that was received already may still be put."""
        self._stop.set()
        watch = self._watch
        if watch is not None:
            watch.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread's end; return whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def run(self) -> None:
        """Get, watch, and repeat until the object is deleted or the reflector is stopped."""
        failures = 0
        while not self._is_stopped:
            began = time.monotonic()
            try:
                if not self._sync():
                    return
                failures = 0
            except Exception as caught:  # noqa: BLE001 (the worker waits for what this thread puts, so it must not die)
                error = caught if isinstance(caught, api_errors.ApiError) else self._unexpected(caught)
                self._is_current = False
                if not isinstance(error, api_errors.Expired):
                    self._put_error(error)
                failures = 0 if time.monotonic() - began > MAX_DELAY else failures + 1
                self._stop.wait(min(2.0**failures, MAX_DELAY) * random.uniform(0.25, 0.5))  # noqa: S311

    def _unexpected(self, caught: Exception) -> api_errors.ApiError:
        where = qualified_name(self._task)
        if not self._is_stopped:
            log.error("The watch of PodTask %s failed", where, exc_info=caught)
        return api_errors.Unexpected(repr(caught), doing=f"watch PodTask {where}")

    @property
    def _is_stopped(self) -> bool:
        return self._stop.is_set() or self._client.is_closed

    def _sync(self) -> bool:
        """Get the object where that is needed, and watch it; return False when it is deleted."""
        if not self._is_current and not self._get():
            return False
        self._is_current = True
        return self._watch_changes()

    def _put_error(self, error: api_errors.ApiError) -> None:
        if not self._is_stopped:
            self._error_since = time.monotonic() if self._error_since is None else self._error_since
            self._put(WatchError(error, self._error_since))

    def _get(self) -> bool:
        """Get the object and put it if it is new or ends a WatchError; return False when it is deleted."""
        metadata = self._task["metadata"]
        try:
            found = self._client.get(metadata["namespace"], metadata["name"])
        except api_errors.CrdMissing:
            raise
        except api_errors.NotFound:
            self._put(Deleted())
            return False
        if found["metadata"]["uid"] != metadata["uid"]:
            self._put(Deleted())
            return False
        known = metadata.get("resourceVersion")
        if self._error_since is not None or known != found["metadata"]["resourceVersion"]:
            self._error_since = None
            self._put(found)
        self._task = found
        return True

    def _watch_changes(self) -> bool:
        """Put each change until the watch ends by itself; return False when the object is deleted."""
        metadata = self._task["metadata"]
        version = metadata["resourceVersion"]
        while not self._is_stopped:
            began = time.monotonic()
            self._watch = self._client.watch(metadata["namespace"], name=metadata["name"], resource_version=version)
            if self._is_stopped:
                self._watch.close()
            try:
                for kind, found in self._watch:
                    version = found["metadata"]["resourceVersion"]
                    if kind != "BOOKMARK" and not self._handle(kind, found):
                        return False
            except api_errors.Unreachable:
                # Load balancers cut connections that are open for long. The next watch shows whether there is an error.
                if time.monotonic() - began < MIN_WATCH_SECONDS:
                    raise
        return True

    def _handle(self, kind: str, found: PodTask) -> bool:
        if kind == "DELETED" or found["metadata"]["uid"] != self._task["metadata"]["uid"]:
            self._put(Deleted())
            return False
        self._task = found
        self._put(found)
        return True
