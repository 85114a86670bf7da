"""A task's log as it is written: all containers side by side, over cut streams, without a line lost or shown twice.

Kubernetes resumes a log by the whole second, and nothing says why a stream ended: the container's end, a kubelet's
restart and a proxy's idea of a long request look alike. So the place is kept as the timestamp of the last line and how
many lines had that same one; what comes before it is passed over, and an end is believed once it is known that the
attempt is over. Nothing here ever raises: a log cannot change the outcome of a task.
"""

from __future__ import annotations

import contextvars
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from . import errors
from .client import JSON, Client, Stream

log = logging.getLogger(__name__)

FIRST_DELAY = 1.0
LONGEST_DELAY = 15.0
FETCH_TRIES = 5
WINDOW_NS = 1_000_000_000
"""Lines of stdout and stderr may stand in a slightly different order than their timestamps, never by this much."""

_TIMESTAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_BEGUN = re.compile(rb"[0-9TZ:.+-]+")
"""What is left of a timestamp whose rest was cut off."""
_NOT_YET = re.compile("waiting to start|not available|pull image")

Emit = Callable[[str, str], None]


@dataclass
class Place:
    """How far a container's log was shown: the last line's timestamp, and how many lines shown had that same one."""

    timestamp: str = ""
    count: int = 0


class Resumed:
    """Passes over what was shown already, after a stream was opened again."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._left = place.count
        self._end = _instant(place.timestamp) + WINDOW_NS if place.timestamp else 0
        self._held: list[tuple[str, bytes]] = []

    @property
    def is_passing(self) -> bool:
        """Whether what came until now was shown already."""
        return self._left > 0

    def lines(self, timestamp: str, text: bytes) -> list[tuple[str, bytes]]:
        """What of this line is new, or of those held back before it."""
        if not self._left:
            return [(timestamp, text)]
        if timestamp == self._place.timestamp:
            self._left -= 1
            self._held.clear()
            return []
        instant = _instant(timestamp)
        if instant > self._end - WINDOW_NS:
            self._held.append((timestamp, text))
        return self.rest() if instant > self._end else []

    def rest(self) -> list[tuple[str, bytes]]:
        """What was held back: the last line shown is not in the log any more (rotated away), so these are new."""
        self._left = 0
        held, self._held = self._held, []
        return held


def _since(timestamp: str) -> str | None:
    """The second to read on from: a little earlier than the place, as lines may stand out of order across it."""
    if not timestamp:
        return None
    at = datetime.fromtimestamp((_instant(timestamp) - WINDOW_NS) // 1_000_000_000, timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _instant(timestamp: str) -> int:
    """RFC 3339 with any number of decimals, in nanoseconds."""
    whole, _, rest = timestamp.partition(".")
    if not rest:
        return int(datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()) * 1_000_000_000
    digits = rest[: next((i for i, letter in enumerate(rest) if not letter.isdigit()), len(rest))]
    zone = rest[len(digits) :].replace("Z", "+00:00")
    return int(datetime.fromisoformat(whole + zone).timestamp()) * 1_000_000_000 + int(digits.ljust(9, "0")[:9])


@dataclass
class _Log:
    """One container's log in one Pod."""

    client: Client
    namespace: str
    pod: str
    container: str
    emit: Emit
    place: Place
    over: threading.Event = field(default_factory=threading.Event)
    """The attempt has ended: an end of the stream is the end of the log."""
    wake: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)
    stream: Stream | None = None
    failure: errors.ApiError | None = None
    """Why there is nothing (more) to read."""
    _partial: tuple[str, bytes] | None = None
    _rest: bytes = b""
    """What the last stream ended with, where that was no whole line."""
    _missed: bool = False
    """Whether the last stream did not come as far as the place."""
    _asides: set[bytes] = field(default_factory=set)

    def follow(self) -> None:
        """Thread body: until the log has ended."""
        delay = FIRST_DELAY
        while not self.stopped.is_set():
            over, before = self.over.is_set(), self._rest
            shown = self._read(follow=not over)
            if self._is_lost(over=over) or (over and shown is False and self._is_whole(before)):
                break
            delay = FIRST_DELAY if shown else min(delay * 2, LONGEST_DELAY)
            if shown is None or not self.over.is_set():
                self.wake.wait(delay)
                self.wake.clear()
        self._finish()

    def _is_lost(self, *, over: bool) -> bool:
        """Whether there will never be anything (more) to read. A container that has not started yet answers 400."""
        if self.failure is None or not self.failure.lasting:
            return False
        return over or not (isinstance(self.failure, errors.Invalid) and _NOT_YET.search(self.failure.message))

    def fetch(self) -> bool:
        """Show the whole log of a container that has ended; False where there is none to read."""
        for _ in range(FETCH_TRIES):
            before = self._rest
            shown = self._read(follow=False)
            if shown is not None and self._is_whole(before):
                break
            if self.failure is not None and self.failure.lasting:
                break
            self.stopped.wait(FIRST_DELAY if shown is None else 0)
        self._finish()
        return self.failure is None

    def _finish(self) -> None:
        """The last line may have no end: it is shown once it is certain that none comes."""
        if self._partial is not None and not self.stopped.is_set():
            self._show(*self._partial)
        self._partial = None

    def _read(self, *, follow: bool) -> bool | None:
        """Read one stream. Whether anything new came; None where it could not be read (to its end)."""
        before = (self.place.timestamp, self.place.count)
        try:
            self.stream = self.client.pod_log(
                self.namespace,
                self.pod,
                self.container,
                since=_since(self.place.timestamp),
                follow=follow,
                timestamps=True,
            )
            if self.stopped.is_set():
                self.stream.close()
            self.failure = None
            self._take(self.stream)
        except errors.ApiError as error:
            self.failure = error
            return None
        return (self.place.timestamp, self.place.count) != before

    def _is_whole(self, before: bytes) -> bool:
        """Whether the last stream ended where the log does. A last line without an end has to be met twice."""
        return not self._missed and (not self._rest or self._rest == before)

    def _take(self, stream: Stream) -> None:
        resumed = Resumed(self.place)
        self._rest = b""
        for raw in stream:
            if stream.cut:
                self._rest = raw
            stamp, space, text = raw.partition(b" ")
            if not (space and _TIMESTAMP.fullmatch(stamp)):
                if not (stream.cut and _BEGUN.fullmatch(raw)):
                    self._aside(raw)
                continue
            timestamp = stamp.decode()
            if self._partial is not None and self._partial[0] == timestamp:
                self._partial = None
            new = resumed.lines(timestamp, text)
            if stream.cut and new:
                # Half a line, or a last one without an end: the next reading tells. It does not move the place.
                self._partial = new.pop()
            for line in new:
                self._show(*line)
        if resumed.is_passing and not self._missed:
            # The last line shown did not come: this stream ended too early, or the line was rotated away.
            self._missed = True
            return
        self._missed = False
        for line in () if stream.cut else resumed.rest():
            self._show(*line)

    def _aside(self, raw: bytes) -> None:
        """What the kubelet says in place of a log, such as that the container's files are gone. Shown once."""
        if raw and raw not in self._asides:
            self._asides.add(raw)
            self.emit(self.container, raw.decode("utf-8", "replace"))

    def _show(self, timestamp: str, text: bytes) -> None:
        if timestamp == self.place.timestamp:
            self.place.count += 1
        else:
            self.place.timestamp, self.place.count = timestamp, 1
        self.emit(self.container, text.decode("utf-8", "replace"))


class Follower:
    """The logs of one task, attempt after attempt, container beside container.

    `emit(container, line)` is called from several threads, each in a copy of the context in which this was made, so
    that a trigger's lines find its own log.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        *,
        containers: Sequence[str],
        init_containers: Sequence[str] = (),
        emit: Emit,
        since: Mapping[str, Any] | None = None,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._names = [*init_containers, *containers]
        self._emit = emit
        self._places = {tuple(key.split("/", 1)): Place(*place) for key, place in (since or {}).items()}
        self._context = contextvars.copy_context()
        self._pod = ""
        self._logs: list[_Log] = []
        self._threads: list[threading.Thread] = []

    def attempt(self, pod_name: str, number: int | None = None) -> None:
        """Begin with this Pod, and let the last one come to its end. Again with the same Pod: look again now."""
        if pod_name == self._pod:
            for entry in self._logs:
                entry.wake.set()
            return
        self._conclude()
        if self._pod and number is not None:
            self._safely(self._emit, self._names[0], f"(attempt {number}: Pod {pod_name})")
        self._pod = pod_name
        for name in self._names:
            entry = self._log(pod_name, name)
            thread = threading.Thread(
                target=self._context.copy().run,
                args=(self._safely, entry.follow),
                name=f"podtask-log-{name}",
                daemon=True,
            )
            self._logs.append(entry)
            self._threads.append(thread)
            thread.start()

    def finish(self, timeout: float) -> bool:
        """The task has ended: read what is left. False when that took longer than the timeout, and was ended."""
        self._conclude()
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        whole = not any(thread.is_alive() for thread in self._threads)
        self.close()
        return whole

    def close(self) -> None:
        """End all reading at once."""
        for entry in self._logs:
            entry.stopped.set()
            entry.wake.set()
            if entry.stream is not None:
                entry.stream.close()

    def fetch(self, pod_name: str, container: str) -> bool:
        """Show the whole log of a container that has ended, or the rest of it; False where there is none to read."""
        entry = self._log(pod_name, container)
        self._logs.append(entry)
        return bool(self._safely(entry.fetch))

    @property
    def places(self) -> dict[str, tuple[str, int]]:
        """How far each log was shown, to be taken up by another Follower as `since`. Holds no log line."""
        return {f"{e.pod}/{e.container}": (e.place.timestamp, e.place.count) for e in self._logs if e.place.timestamp}

    @property
    def failures(self) -> dict[str, errors.ApiError]:
        """Why a container's log could not be read, by container: the Pod is gone, or pods/log is not allowed."""
        return {entry.container: entry.failure for entry in self._logs if entry.failure is not None}

    def _log(self, pod_name: str, container: str) -> _Log:
        place = self._places.get((pod_name, container)) or Place()
        return _Log(self._client, self._namespace, pod_name, container, self._emit, replace(place))

    def _conclude(self) -> None:
        for entry in self._logs:
            entry.over.set()
            entry.wake.set()

    @staticmethod
    def _safely(function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except Exception:
            log.exception("A log could not be shown; this does not change the task's outcome")
            return None


def tail(task: JSON) -> list[str]:
    """The end of the last attempt's log as the controller kept it, for when the Pod is gone or may not be read."""
    attempts: list[JSON] = (task.get("status") or {}).get("attempts") or []
    text = (attempts[-1].get("logTail") or "") if attempts else ""
    return text.splitlines()
