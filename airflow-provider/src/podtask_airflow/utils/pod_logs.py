"""Follow the logs of a task's containers, resuming cut streams without losing or repeating a line.

Kubernetes resumes a log at a whole second, and a stream does not say why it ended: the container has exited, the
kubelet was restarted, or a proxy cut a long request. So the position is kept as the timestamp of the last line and the
number of lines with that timestamp; lines up to it are skipped, and the end of a stream counts as the end of the log
once the attempt is known to be over. Nothing here raises: a log cannot change the outcome of a task.
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

from ..hooks import api_errors
from ..hooks.podtask import PodTaskClient
from ..hooks.streams import Stream

log = logging.getLogger(__name__)

FIRST_DELAY = 1.0
MAX_DELAY = 15.0
FETCH_TRIES = 5
WINDOW_NS = 1_000_000_000
"""Lines of stdout and stderr may be out of order by their timestamps, but by less than this."""

_TIMESTAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_CUT_TIMESTAMP = re.compile(rb"[0-9TZ:.+-]+")
"""A timestamp that was cut off."""
_NOT_STARTED = re.compile("waiting to start|not available|pull image")

Emit = Callable[[str, str], None]


@dataclass
class LogPosition:
    """How far a container's log was shown: the last line's timestamp, and the number of lines with it."""

    timestamp: str = ""
    count: int = 0


class ResumeFilter:
    """Skips the lines that were shown already, after a stream was opened again."""

    def __init__(self, position: LogPosition) -> None:
        self._position = position
        self._left = position.count
        self._end = _instant(position.timestamp) + WINDOW_NS if position.timestamp else 0
        self._held: list[tuple[str, bytes]] = []

    @property
    def is_skipping(self) -> bool:
        """Whether all lines so far were shown already."""
        return self._left > 0

    def lines(self, timestamp: str, text: bytes) -> list[tuple[str, bytes]]:
        """Return the new lines: this one, and those that were held back before it."""
        if not self._left:
            return [(timestamp, text)]
        if timestamp == self._position.timestamp:
            self._left -= 1
            self._held.clear()
            return []
        instant = _instant(timestamp)
        if instant > self._end - WINDOW_NS:
            self._held.append((timestamp, text))
        return self.rest() if instant > self._end else []

    def rest(self) -> list[tuple[str, bytes]]:
        """Return the lines that were held back: the last line shown was rotated out of the log, so they are new."""
        self._left = 0
        held, self._held = self._held, []
        return held


def _since(timestamp: str) -> str | None:
    """Return the sinceTime to resume at: WINDOW_NS before the position, because lines may be out of order around it."""
    if not timestamp:
        return None
    at = datetime.fromtimestamp((_instant(timestamp) - WINDOW_NS) // 1_000_000_000, timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _instant(timestamp: str) -> int:
    """Return the nanoseconds since 1970 of an RFC 3339 time with any number of decimals."""
    whole, _, rest = timestamp.partition(".")
    if not rest:
        return int(datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()) * 1_000_000_000
    digits = rest[: next((i for i, letter in enumerate(rest) if not letter.isdigit()), len(rest))]
    zone = rest[len(digits) :].replace("Z", "+00:00")
    return int(datetime.fromisoformat(whole + zone).timestamp()) * 1_000_000_000 + int(digits.ljust(9, "0")[:9])


@dataclass
class _ContainerLog:
    """The log of one container in one Pod."""

    client: PodTaskClient
    namespace: str
    pod: str
    container: str
    emit: Emit
    position: LogPosition
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the attempt has ended: the end of a stream is then the end of the log."""
    wake: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)
    stream: Stream | None = None
    failure: api_errors.ApiError | None = None
    """Why the log cannot be read (on)."""
    _partial: tuple[str, bytes] | None = None
    _unfinished: bytes = b""
    """The last line of the last stream, if it had no newline."""
    _ended_early: bool = False
    """Whether the last stream ended before the position."""
    _other_lines: set[bytes] = field(default_factory=set)

    def follow(self) -> None:
        """Read until the log has ended. The body of a thread."""
        delay = FIRST_DELAY
        while not self.stopped.is_set():
            over, before = self.over.is_set(), self._unfinished
            shown = self._read(follow=not over)
            if self._cannot_be_read(over=over) or (over and shown is False and self._is_whole(before)):
                break
            delay = FIRST_DELAY if shown else min(delay * 2, MAX_DELAY)
            if shown is None or not self.over.is_set():
                self.wake.wait(delay)
                self.wake.clear()
        self._finish()

    def _cannot_be_read(self, *, over: bool) -> bool:
        """Return whether a retry is useless. A container that has not started yet gives a 400."""
        if self.failure is None or not self.failure.is_permanent:
            return False
        return over or not (isinstance(self.failure, api_errors.Invalid) and _NOT_STARTED.search(self.failure.message))

    def fetch(self) -> bool:
        """Show the whole log of a container that has ended; return whether it could be read."""
        for _ in range(FETCH_TRIES):
            before = self._unfinished
            shown = self._read(follow=False)
            if shown is not None and self._is_whole(before):
                break
            if self.failure is not None and self.failure.is_permanent:
                break
            self.stopped.wait(FIRST_DELAY if shown is None else 0)
        self._finish()
        return self.failure is None

    def _finish(self) -> None:
        """Show a last line without a newline, now that the log has ended."""
        if self._partial is not None and not self.stopped.is_set():
            self._show(*self._partial)
        self._partial = None

    def _read(self, *, follow: bool) -> bool | None:
        """Read one stream. Return whether it had new lines; None if it could not be read to its end."""
        before = (self.position.timestamp, self.position.count)
        try:
            self.stream = self.client.pod_log(
                self.namespace,
                self.pod,
                self.container,
                since=_since(self.position.timestamp),
                follow=follow,
                timestamps=True,
            )
            if self.stopped.is_set():
                self.stream.close()
            self.failure = None
            self._take(self.stream)
        except api_errors.ApiError as error:
            self.failure = error
            return None
        return (self.position.timestamp, self.position.count) != before

    def _is_whole(self, before: bytes) -> bool:
        """Return whether the last stream reached the log's end. A last line without newline has to be read twice."""
        return not self._ended_early and (not self._unfinished or self._unfinished == before)

    def _take(self, stream: Stream) -> None:
        resumed = ResumeFilter(self.position)
        self._unfinished = b""
        for raw in stream:
            if stream.is_cut:
                self._unfinished = raw
            stamp, space, text = raw.partition(b" ")
            if not (space and _TIMESTAMP.fullmatch(stamp)):
                if not (stream.is_cut and _CUT_TIMESTAMP.fullmatch(raw)):
                    self._show_other(raw)
                continue
            timestamp = stamp.decode()
            if self._partial is not None and self._partial[0] == timestamp:
                self._partial = None
            new = resumed.lines(timestamp, text)
            if stream.is_cut and new:
                # A cut line, or a last one without newline: the next stream shows which. The position stays before it.
                self._partial = new.pop()
            for line in new:
                self._show(*line)
        if resumed.is_skipping and not self._ended_early:
            # The last line shown was not in this stream: it ended too early, or the line was rotated out.
            self._ended_early = True
            return
        self._ended_early = False
        for line in () if stream.is_cut else resumed.rest():
            self._show(*line)

    def _show_other(self, raw: bytes) -> None:
        """Show, once, a message that the kubelet sends in place of a log, for example that its files are gone."""
        if raw and raw not in self._other_lines:
            self._other_lines.add(raw)
            self.emit(self.container, raw.decode("utf-8", "replace"))

    def _show(self, timestamp: str, text: bytes) -> None:
        if timestamp == self.position.timestamp:
            self.position.count += 1
        else:
            self.position.timestamp, self.position.count = timestamp, 1
        self.emit(self.container, text.decode("utf-8", "replace"))


class LogFollower:
    """Follows the logs of a task's containers, one thread for each, attempt after attempt.

    `emit(container, line)` is called from several threads, each in a copy of the context in which the follower was
    created, so that a trigger's lines go to its own task's log. `since` holds the `positions` of another follower.
    """

    def __init__(
        self,
        client: PodTaskClient,
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
        self._positions = {tuple(key.split("/", 1)): LogPosition(*position) for key, position in (since or {}).items()}
        self._context = contextvars.copy_context()
        self._pod = ""
        self._logs: list[_ContainerLog] = []
        self._threads: list[threading.Thread] = []

    def attempt(self, pod_name: str, number: int | None = None) -> None:
        """Follow this Pod, and read the previous one to its end. The same Pod again: read on without a pause."""
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
        """Read the rest after the task has ended. Return False if that was cut off after `timeout` seconds."""
        self._conclude()
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        whole = not any(thread.is_alive() for thread in self._threads)
        self.close()
        return whole

    def close(self) -> None:
        """Stop reading at once."""
        for entry in self._logs:
            entry.stopped.set()
            entry.wake.set()
            if entry.stream is not None:
                entry.stream.close()

    def fetch(self, pod_name: str, container: str) -> bool:
        """Show the log of a container that has ended, or the rest of it; return whether it could be read."""
        entry = self._log(pod_name, container)
        self._logs.append(entry)
        return bool(self._safely(entry.fetch))

    @property
    def positions(self) -> dict[str, tuple[str, int]]:
        """How far each log was shown, for the `since` of another follower. Holds no log line."""
        return {
            f"{e.pod}/{e.container}": (e.position.timestamp, e.position.count)
            for e in self._logs
            if e.position.timestamp
        }

    @property
    def failures(self) -> dict[tuple[str, str], api_errors.ApiError]:
        """Why logs could not be read, by Pod and container: the Pod was deleted, or pods/log is forbidden."""
        return {(entry.pod, entry.container): entry.failure for entry in self._logs if entry.failure is not None}

    def _log(self, pod_name: str, container: str) -> _ContainerLog:
        place = self._positions.get((pod_name, container)) or LogPosition()
        return _ContainerLog(self._client, self._namespace, pod_name, container, self._emit, replace(place))

    def _conclude(self) -> None:
        for entry in self._logs:
            entry.over.set()
            entry.wake.set()

    @staticmethod
    def _safely(function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except Exception:
            log.exception("A log cannot be shown; this does not change the outcome of the task")
            return None
