"""Records Kubernetes Events on PodTasks, which `kubectl describe` shows to users.

The API is events.k8s.io/v1, not core/v1: the server stores both as the same object and `kubectl describe` shows both,
but the new one is validated strictly (so that a test can rely on an accepted Event) and has an action and a precise
time.

Events matter less than the tasks. So they are sent one at a time in the background, each is tried once, repeats are
dropped, and if the API server is too slow they are dropped and counted.
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
_MAX_RECENT = 10_000
_NOTE_BYTES = 1024
_FIELD_BYTES = 128
_NAME_CHARACTERS = 236
"""253 of an object's name, minus a dot and 16 hexadecimal digits."""

_log = logging.getLogger(__name__)


class EventKind(enum.StrEnum):
    """The types of Events that Kubernetes has."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """The object that an Event concerns."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Event:
    """One Event."""

    regarding: ObjectReference
    kind: EventKind
    reason: str
    """The reason, in CamelCase."""
    action: str
    """What the controller did or tried to do, in CamelCase."""
    note: str
    """The message for users."""


class EventRecorder:
    """Queues Events; `record` never waits or fails. `run` sends them."""

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
        """Number of Events lost: the queue was full, or the API server refused them. Repeats are not counted."""

    def record(self, event: Event) -> None:
        """Queue an Event. It is dropped if the same was queued less than ten minutes ago, or if the queue is full."""
        if self._queue.full():
            self.dropped += 1  # not added to the recent ones, so that the same Event may be recorded later
        elif not self._is_repeat(event):
            self._queue.put_nowait((event, self._now()))

    async def run(self) -> None:
        """Send the queued Events, until cancelled."""
        while True:
            event, at = await self._queue.get()
            try:
                await self._send(event, at)
            finally:
                self._queue.task_done()

    async def drained(self) -> None:
        """Wait until all recorded Events were sent or dropped."""
        await self._queue.join()

    async def _send(self, event: Event, at: datetime) -> None:
        try:
            body = orjson.dumps(manifest(event, at, controller=self._controller, instance=self._instance))
            await self._api.create(EVENTS, event.regarding.namespace, body)
        except (errors.ApiError, TypeError, ValueError) as error:
            # No retry: a namespace that is being deleted refuses all Events, and the next Event is newer.
            self.dropped += 1
            _log.debug("Event dropped", extra={"reason": event.reason, "error": str(error)})

    def _is_repeat(self, event: Event) -> bool:
        now = self._clock.monotonic()
        while self._recent:
            oldest, at = next(iter(self._recent.items()))
            if now - at < _REPEAT_SECONDS and len(self._recent) < _MAX_RECENT:
                break
            del self._recent[oldest]
        key = (event.regarding.uid, event.reason, event.note)
        if key in self._recent:
            return True
        self._recent[key] = now
        return False


def manifest(event: Event, at: datetime, *, controller: str, instance: str) -> dict[str, object]:
    """Return the Event as an object of events.k8s.io/v1, with texts cut to the server's limits."""
    regarding = event.regarding
    # A hash of content and time: an Event that is sent twice by accident has the same name.
    content = f"{regarding.uid}\0{event.reason}\0{event.note}\0{at.isoformat()}"
    digest = hashlib.sha256(content.encode(errors="replace")).hexdigest()
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{regarding.name[:_NAME_CHARACTERS].rstrip('.-')}.{digest[:16]}",
            "namespace": regarding.namespace,
        },
        "eventTime": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": controller,
        "reportingInstance": _cut(instance, _FIELD_BYTES),
        "type": event.kind.value,
        "reason": _cut(event.reason, _FIELD_BYTES),
        "action": _cut(event.action, _FIELD_BYTES),
        "note": _cut(event.note, _NOTE_BYTES),
        "regarding": {
            "apiVersion": regarding.api_version,
            "kind": regarding.kind,
            "namespace": regarding.namespace,
            "name": regarding.name,
            "uid": regarding.uid,
        },
    }


def _cut(text: str, limit_bytes: int) -> str:
    """Return the text, cut to a number of UTF-8 bytes (which the server counts) without cutting a character."""
    raw = text.encode(errors="replace")
    if len(raw) <= limit_bytes:
        return raw.decode()
    ellipsis = "…"
    return raw[: limit_bytes - len(ellipsis.encode())].decode(errors="ignore") + ellipsis
