"""Kubernetes Events on our objects: what `kubectl describe` shows to somebody whose task does not start.

events.k8s.io/v1 and not core/v1: both are one store on the server, and `kubectl describe` shows either, but the new
group is checked strictly (so that a test can trust what passed), and gives each Event an action and one exact time.

Events are worth little beside the tasks themselves. So they are sent one at a time from the background, each is
tried once, repeats are dropped, and where the API server is slower than we are, they are dropped and counted.
"""

import asyncio
import enum
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from ..kube import client, clock, errors

EVENTS = client.Resource("/apis/events.k8s.io/v1", "events")

_REPEAT_SECONDS = 600.0
_MOST_REMEMBERED = 10_000
_NOTE_BYTES = 1024
_WORD_BYTES = 128
_NAME_CHARACTERS = 236
"""253 for a name, less a dot and 16 digits."""

_log = logging.getLogger(__name__)


class EventKind(enum.StrEnum):
    """Kubernetes knows these two."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """The object that an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to an object."""

    regarding: ObjectReference
    kind: EventKind
    reason: str
    """Why, in one CamelCase word."""
    action: str
    """What we did or tried, in one CamelCase word."""
    note: str
    """A sentence for people."""


class EventRecorder:
    """Takes Events without ever waiting or failing; `run` sends them."""

    def __init__(
        self,
        api: client.Client,
        *,
        controller: str,
        instance: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        time_source: clock.Clock = clock.SYSTEM,
        capacity: int = 1000,
    ) -> None:
        """`controller` is a qualified name (`podtask.dev/controller`), `instance` our Pod's name."""
        self._api = api
        self._controller = controller
        self._instance = instance
        self._now = now
        self._clock = time_source
        self._queue: asyncio.Queue[tuple[Event, datetime]] = asyncio.Queue(capacity)
        self._recent: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self.dropped = 0
        """Events that were lost: the queue was full, or the API server did not take them. Repeats do not count."""

    def record(self, event: Event) -> None:
        """Take one Event; dropped where the same was taken within ten minutes, or too many wait already."""
        if self._queue.full():
            self.dropped += 1  # and not remembered, so that the next of the same may get through
        elif not self._is_repeat(event):
            self._queue.put_nowait((event, self._now()))

    async def run(self) -> None:
        """Send what was recorded, until cancelled."""
        while True:
            event, at = await self._queue.get()
            try:
                await self._send(event, at)
            finally:
                self._queue.task_done()

    async def drained(self) -> None:
        """Return when everything recorded was sent or dropped."""
        await self._queue.join()

    async def _send(self, event: Event, at: datetime) -> None:
        try:
            body = orjson.dumps(manifest(event, at, controller=self._controller, instance=self._instance))
            await self._api.create(EVENTS, event.regarding.namespace, body)
        except (errors.ApiError, TypeError, ValueError) as error:
            # Not sent again: a namespace that is being deleted refuses them all, and the next Event is more current.
            self.dropped += 1
            _log.debug("event dropped", extra={"reason": event.reason, "error": str(error)})

    def _is_repeat(self, event: Event) -> bool:
        now = self._clock.monotonic()
        while self._recent:
            oldest, at = next(iter(self._recent.items()))
            if now - at < _REPEAT_SECONDS and len(self._recent) < _MOST_REMEMBERED:
                break
            del self._recent[oldest]
        key = (event.regarding.uid, event.reason, event.note)
        if key in self._recent:
            return True
        self._recent[key] = now
        return False


def manifest(event: Event, at: datetime, *, controller: str, instance: str) -> dict[str, object]:
    """Write the Event down as the server wants it, cut to the server's limits."""
    about = event.regarding
    # From the content and the time: the same Event sent twice by some accident is one object.
    content = f"{about.uid}\0{event.reason}\0{event.note}\0{at.isoformat()}"
    digest = hashlib.sha256(content.encode(errors="replace")).hexdigest()
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{about.name[:_NAME_CHARACTERS].rstrip('.-')}.{digest[:16]}",
            "namespace": about.namespace,
        },
        "eventTime": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": controller,
        "reportingInstance": _cut(instance, _WORD_BYTES),
        "type": event.kind.value,
        "reason": _cut(event.reason, _WORD_BYTES),
        "action": _cut(event.action, _WORD_BYTES),
        "note": _cut(event.note, _NOTE_BYTES),
        "regarding": {
            "apiVersion": about.api_version,
            "kind": about.kind,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
        },
    }


def _cut(text: str, limit_bytes: int) -> str:
    """Cut to so many bytes of UTF-8 (the server counts bytes), never within a character."""
    raw = text.encode(errors="replace")
    if len(raw) <= limit_bytes:
        return raw.decode()
    ellipsis = "…"
    return raw[: limit_bytes - len(ellipsis.encode())].decode(errors="ignore") + ellipsis
