"""One PodTask as a stream of its changes, for whoever waits in a worker: through restarts, cuts and expired versions.

What is put is a `dict` (the object as it is now), `Gone`, or `Trouble` while the API server cannot be heard. The
queue is a SimpleQueue because that one may also be put into from a signal handler.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import errors
from .client import JSON, Client, Watch

log = logging.getLogger(__name__)

LONGEST_DELAY = 30.0
SHORT_LIFE = 2.0
"""A watch that was cut sooner than this counts as a failure."""


@dataclass(frozen=True)
class Gone:
    """The object was deleted, or another one has its name now."""

    last: JSON | None
    """As it was last seen."""


@dataclass(frozen=True)
class Trouble:
    """The API server cannot be heard since a time of time.monotonic(). The next object that is put ends it."""

    error: errors.ApiError
    since: float


Put = Callable[[Any], None]


class Follow:
    """A running watch of one PodTask. `stop` ends it at once, from any thread."""

    def __init__(
        self, client: Client, namespace: str, name: str, uid: str, put: Put, *, seen: JSON | None = None
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._uid = uid
        self._put = put
        self._seen = seen
        self._stop = threading.Event()
        self._watch: Watch | None = None
        self._trouble: float | None = None
        self._is_fresh = False
        self._thread = threading.Thread(target=self.run, name=f"podtask-watch-{name}", daemon=True)

    def start(self) -> Follow:
        """Watch in a thread of its own."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End it. Nothing is put afterwards but what was on its way."""
        self._stop.set()
        watch = self._watch
        if watch is not None:
            watch.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread's end; False when it lives on."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def run(self) -> None:
        """Read, watch, and begin again until the object is gone or nobody wants to know."""
        # Whoever has just created the object knows its first version, and needs no GET.
        self._is_fresh = self._seen is not None
        failures = 0
        while not self._is_over:
            began = time.monotonic()
            try:
                if not self._round():
                    return
                failures = 0
            except Exception as caught:  # noqa: BLE001 (whatever it is: the worker waits for what this thread puts)
                error = caught if isinstance(caught, errors.ApiError) else self._unexpected(caught)
                self._is_fresh = False
                if not isinstance(error, errors.Expired):
                    self._complain(error)
                failures = 0 if time.monotonic() - began > LONGEST_DELAY else failures + 1
                self._stop.wait(min(2.0**failures, LONGEST_DELAY) * random.uniform(0.25, 0.5))  # noqa: S311

    def _unexpected(self, caught: Exception) -> errors.ApiError:
        if not self._is_over:
            log.error("The watch of PodTask %s/%s failed", self._namespace, self._name, exc_info=caught)
        return errors.Unexpected(repr(caught), doing=f"watch podtask {self._namespace}/{self._name}")

    @property
    def _is_over(self) -> bool:
        return self._stop.is_set() or self._client.is_closed

    def _round(self) -> bool:
        """Read it where that is needed, and watch; False when it is gone."""
        if not self._is_fresh and not self._read():
            return False
        self._is_fresh = True
        return self._changes()

    def _complain(self, error: errors.ApiError) -> None:
        if not self._is_over:
            self._trouble = time.monotonic() if self._trouble is None else self._trouble
            self._put(Trouble(error, self._trouble))

    def _read(self) -> bool:
        """GET it and put it, if it is new or ends a trouble; False when it is gone."""
        try:
            found = self._client.get(self._namespace, self._name)
        except errors.CrdMissing:
            raise
        except errors.NotFound:
            found = {"metadata": {"uid": None}}
        if found["metadata"]["uid"] != self._uid:
            self._put(Gone(self._seen))
            return False
        known = self._seen and self._seen["metadata"]["resourceVersion"]
        if self._trouble is not None or known != found["metadata"]["resourceVersion"]:
            self._trouble = None
            self._put(found)
        self._seen = found
        return True

    def _changes(self) -> bool:
        """Put every change until the watch ends by itself; False when the object is gone."""
        assert self._seen is not None  # noqa: S101
        version = self._seen["metadata"]["resourceVersion"]
        while not self._is_over:
            began = time.monotonic()
            self._watch = self._client.watch(self._namespace, name=self._name, resource_version=version)
            if self._is_over:
                self._watch.close()
            try:
                for kind, found in self._watch:
                    version = found["metadata"]["resourceVersion"]
                    if kind != "BOOKMARK" and not self._pass_on(kind, found):
                        return False
            except errors.Unreachable:
                # Load balancers cut what is open for long. The next one tells whether there is trouble.
                if time.monotonic() - began < SHORT_LIFE:
                    raise
        return True

    def _pass_on(self, kind: str, found: JSON) -> bool:
        is_ours = found["metadata"]["uid"] == self._uid
        if kind == "DELETED" or not is_ours:
            self._put(Gone(found if is_ours else self._seen))
            return False
        self._seen = found
        self._put(found)
        return True


def follow(client: Client, namespace: str, name: str, uid: str, put: Put, *, seen: JSON | None = None) -> Follow:
    """Begin to put every change of one PodTask. `seen`: the object as the caller knows it; else it is read first."""
    return Follow(client, namespace, name, uid, put, seen=seen).start()
