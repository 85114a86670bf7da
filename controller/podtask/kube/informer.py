"""A live copy of all objects of one kind: one list, then one watch, for as long as the process lives.

The watch may break, fall silent, expire or send fragments. The informer then resumes it from its last
resourceVersion, or lists again and reports a deletion for each object that is gone, so that no change is lost.
Callbacks report *that* an object changed; the store has its current state.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Generic, TypedDict, TypeVar

import msgspec

from . import backoff, client, clock, errors
from .store import Codec, Meta, Store

T = TypeVar("T")
_log = logging.getLogger(__name__)

_LONGEST_RETRY_AFTER_SECONDS = 60.0

_FIRST_PAGE = 50
"""Objects. How large they are is not known before the first page has come."""
_PAGE_BYTES = 4 << 20
"""What a page is to have, about: a second of the network at most, and little memory in the API server."""


class _Scope(TypedDict):
    namespace: str
    selector: str


class _RawMeta(msgspec.Struct):
    uid: str = ""
    resource_version: str = msgspec.field(name="resourceVersion", default="0")


class _RawObject(msgspec.Struct):
    metadata: _RawMeta


_raw_object = msgspec.json.Decoder(_RawObject)


class Informer(Generic[T]):
    """Follows one kind of object. `run` does the work; everything else may be called at any time on the same loop.

    `on_change(old, new)` is called in order, after the store has changed. `old` is always the version that was
    reported last, for a deletion too, so that counts kept by changes stay exact. Both callbacks have to be short and
    synchronous; exceptions that they raise are logged and otherwise ignored.
    """

    def __init__(
        self,
        api: client.Client,
        resource: client.Resource,
        *,
        decode: Callable[[bytes], T],
        codec: Codec[T],
        meta: Callable[[T], Meta],
        index: Callable[[T], str | None],
        on_change: Callable[[T | None, T | None], None],
        on_undecodable: Callable[[bytes, Exception], None],
        namespace: str = "",
        selector: str = "",
        relist_seconds: float = 45 * 60.0,
        page_size: int = 500,
        time_source: clock.Clock = clock.SYSTEM,
        jitter: backoff.Jitter = random.random,
    ) -> None:
        """Prepare to follow `resource`; nothing is sent before `run`.

        `decode` reads what the API server sends, and `codec` says how it is held. A page of a list has `page_size`
        objects at most, and fewer where they are large: what was decoded of them is there at once.
        """
        self._api = api
        self._resource = resource
        self._scope = _Scope(namespace=namespace, selector=selector)
        self._decode = decode
        self._meta = meta
        self._on_change = on_change
        self._on_undecodable = on_undecodable
        self._relist_seconds = relist_seconds
        self._max_page_size = page_size
        self._page_size = min(_FIRST_PAGE, page_size)
        self._clock = time_source
        self._jitter = jitter
        self._backoff = backoff.WatchBackoff(jitter)
        self._store: Store[T] = Store(codec, meta, index)
        self._resource_version = 0  # every change up to this version is in the store
        self._must_list = True
        self._relist_at = 0.0
        self._has_event = False
        self._last_failure = ""
        self._undecodable: dict[str, str] = {}
        self._alive_at = time_source.monotonic()
        self._tried_at = self._alive_at
        self._synced = asyncio.Event()

    @property
    def synced(self) -> bool:
        """Whether the first list is complete."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return once the first list is complete."""
        await self._synced.wait()

    def age(self) -> float:
        """Seconds since the last event, bookmark or page; below about 75 on a healthy watch."""
        return self._clock.monotonic() - self._alive_at

    def idle(self) -> float:
        """Seconds since the last event, page *or attempt*: small while the server is away, large if we hang."""
        return self._clock.monotonic() - max(self._alive_at, self._tried_at)

    def __len__(self) -> int:
        return len(self._store)

    def objects(self) -> Iterator[T]:
        """Every object known now, one at a time."""
        return iter(self._store)

    def get(self, uid: str) -> T | None:
        """The object of this uid."""
        return self._store.get(uid)

    def by_index(self, key: str) -> tuple[T, ...]:
        """The objects of one index key."""
        return self._store.by_key(key)

    def put(self, obj: T) -> bool:
        """Take in the reply to a write of our own before the watch does; returns whether it was new.

        It is ignored unless it is newer than the stored version *and* newer than the watch's last resourceVersion.
        Without the second condition deleted objects could come back: we write version 10, another client deletes the
        object at 11, the watch reports the deletion, and then our reply arrives. Nothing is stored under that uid any
        more, so 10 looks new, and it would never be removed, because the watch has no more events for it. The watch's
        resourceVersion is 11, so it has reported everything up to 10.

        `obj` has to match the selector. Otherwise the watch has no events for it, and it stays until the next list.
        """
        meta = self._meta(obj)
        if meta.version <= max(self._resource_version, self._store.version(meta.uid)):
            return False
        self._report(self._store.put(obj), obj)
        return True

    async def run(self) -> None:
        """Follow the objects until cancelled."""
        while True:
            self._has_event = False
            self._tried_at = self._clock.monotonic()
            fault: errors.ApiError | None = None
            try:
                if self._must_list:
                    await self._list()
                await self._watch()
            except errors.ApiError as error:
                fault = error
                self._note_failure(error)
            except Exception:  # noqa: BLE001 - a defect of ours
                # If this task ended, the process would go on without news; a new list may get past the defect.
                _log.exception("following failed", extra={"resource": self._resource.plural})
                self._must_list = True
            await self._clock.sleep(self._pause(fault))

    def _pause(self, fault: errors.ApiError | None) -> float:
        """Say how long to wait before the next try.

        Counted by what the watch said and not by how it ended: a list that succeeds, followed by a watch that is
        refused, must not make a loop of lists, and a server that ends every watch at once none of watches.
        """
        if self._has_event:
            self._backoff.reset()
        if isinstance(fault, errors.WatchSilent):
            # A server without bookmarks lets each quiet watch end so, and gives no other occasion for the slow list.
            self._must_list = self._must_list or self._clock.monotonic() >= self._relist_at
        if isinstance(fault, errors.TransportError):
            return self._backoff.on_transport_error()
        pause = self._backoff.on_error()
        self._must_list = self._must_list or self._backoff.must_relist
        asked = fault.retry_after if fault is not None else None
        return max(min(asked or 0.0, _LONGEST_RETRY_AFTER_SECONDS), pause)

    async def _list(self) -> None:
        seen: set[str] = set()
        token = ""
        position = -1
        rewound = False
        while True:
            page = await self._api.list_page(
                self._resource,
                read=self._read,
                **self._scope,
                limit=self._page_size,
                continue_token=token,
            )
            self._alive_at = self._clock.monotonic()
            if position < 0:
                position = int(page.resource_version)
                # A consistent list is never older than the stream, but where etcd was restored from a backup. What
                # we hold is then from another history, and its versions say nothing.
                rewound = position < self._resource_version
            self._page_size = self._next_page_size(len(page.items), page.size_bytes)
            page.items.reverse()
            while page.items:  # each is dropped as soon as it is stored
                seen.add(self._take_listed(*page.items.pop(), rewound=rewound))
            token = page.continue_token
            if not token:
                break
        self._drop_unlisted(seen, position, rewound=rewound)
        self._resource_version = position
        self._must_list = False
        self._relist_at = self._clock.monotonic() + self._relist_seconds * (0.9 + 0.2 * self._jitter())
        self._synced.set()

    def _next_page_size(self, count: int, size_bytes: int) -> int:
        """Give as many objects as make a page of the wanted size, if they are as large as those of the last."""
        fitting = count * _PAGE_BYTES // max(size_bytes, 1) if count else self._page_size
        return max(1, min(fitting, 2 * self._page_size, self._max_page_size))

    def _take_listed(self, obj: T | None, meta: Meta, *, rewound: bool) -> str:
        if obj is not None and (rewound or self._store.version(meta.uid) < meta.version):
            self._hold(obj, meta, b"")  # its bytes are not kept until a page is complete
        return meta.uid

    def _drop_unlisted(self, seen: set[str], position: int, *, rewound: bool) -> None:
        for uid in self._store.uids() - seen:
            # A newer one was put while the list was under way: the list cannot know it, and the watch will.
            if rewound or self._store.version(uid) <= position:
                self._report(self._store.remove(uid), None)
        for uid in self._undecodable.keys() - seen:
            del self._undecodable[uid]

    async def _watch(self) -> None:
        stream = self._api.watch(self._resource, **self._scope, resource_version=str(self._resource_version))
        async with aclosing(stream):
            async for event in stream:
                self._alive_at = self._clock.monotonic()
                self._has_event = True
                self._last_failure = ""
                self._take(event)
                # Looked at here and by no timer: bookmarks make sure that we come by once a minute.
                if self._alive_at >= self._relist_at:
                    self._must_list = True
                    return

    def _take(self, event: client.WatchEvent) -> None:
        if event.type is client.EventType.BOOKMARK:
            self._resource_version = max(
                self._resource_version, int(_raw_object.decode(event.object).metadata.resource_version)
            )
        elif event.type is client.EventType.DELETED:
            self._forget(_raw_object.decode(event.object).metadata)
        else:
            obj, meta = self._read(event.object)
            self._resource_version = max(self._resource_version, meta.version)
            if obj is not None and self._store.version(meta.uid) < meta.version:
                self._hold(obj, meta, event.object)

    def _forget(self, gone: _RawMeta) -> None:
        version = int(gone.resource_version)
        self._resource_version = max(self._resource_version, version)
        self._undecodable.pop(gone.uid, None)
        # What is newer than its own deletion has only left the selector, and come back by a `put`.
        if 0 <= self._store.version(gone.uid) <= version:
            self._report(self._store.remove(gone.uid), None)

    def _hold(self, obj: T, meta: Meta, raw: bytes) -> None:
        try:
            old = self._store.put(obj)
        except Exception as error:  # noqa: BLE001 - whatever the caller's codec raises
            self._note_undecodable(raw, meta, error)
        else:
            self._report(old, obj)

    def _read(self, raw: bytes) -> tuple[T | None, Meta]:
        """Decode an object; where that fails, report it once, and return what identifies it.

        The version that was stored before, if any, stays: to forget a Pod because we cannot read it could start a
        second one.
        """
        try:
            obj = self._decode(raw)
        except Exception as error:  # noqa: BLE001 - whatever the caller's decoder raises
            found = _raw_object.decode(raw).metadata
            meta = Meta("", "", found.uid, found.resource_version)
            self._note_undecodable(raw, meta, error)
            return None, meta
        return obj, self._meta(obj)

    def _note_undecodable(self, raw: bytes, meta: Meta, error: Exception) -> None:
        if self._undecodable.get(meta.uid) != meta.resource_version:
            self._undecodable[meta.uid] = meta.resource_version
            self._report_undecodable(raw, meta.uid, error)

    def _report(self, old: T | None, new: T | None) -> None:
        try:
            self._on_change(old, new)
        except Exception:  # noqa: BLE001 - whatever the caller's callback raises
            _log.exception("on_change failed", extra={"resource": self._resource.plural})

    def _report_undecodable(self, raw: bytes, uid: str, error: Exception) -> None:
        _log.warning("undecodable object", extra={"resource": self._resource.plural, "uid": uid, "error": str(error)})
        try:
            self._on_undecodable(raw, error)
        except Exception:  # noqa: BLE001 - whatever the caller's callback raises
            _log.exception("on_undecodable failed", extra={"resource": self._resource.plural})

    def _note_failure(self, error: errors.ApiError) -> None:
        if isinstance(error, errors.Gone):
            self._must_list = True
        failure = f"{type(error).__name__} {error.code}"
        # A server that is down for an hour is one line, not one for every attempt; so is a missing RBAC rule.
        if failure != self._last_failure:
            level = logging.INFO if isinstance(error, errors.Gone | errors.TransportError) else logging.WARNING
            _log.log(level, "stream broke", extra={"resource": self._resource.plural, "error": str(error)})
        self._last_failure = failure
