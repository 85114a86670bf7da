"""The work queue of client-go (rate limiting and delays included), with priorities.

The reconciler depends on three properties. One worker at a time processes a key, so two workers never write the status
of the same object. A key that is added while it is processed is processed again, so no change is missed. All delays
are on one heap with one timer, so a hundred thousand delayed keys need no asyncio task and no timer each.

Not thread-safe: use it on one event loop.
"""

import asyncio
import enum
import heapq
import random
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, Protocol, TypeVar

from ..kube import backoff

K = TypeVar("K", bound=Hashable)

_DEFAULT_BACKOFF = backoff.Backoff(base_seconds=0.05, cap_seconds=60.0)

_STARVATION_SECONDS = 15.0
"""A key that has waited this long behind keys of a higher priority is taken out of order, as `_FAIR_SHARE` allows."""


class Priority(enum.IntEnum):
    """Priority of a key; the lowest number is taken first."""

    FINISHED = 0
    """An attempt has ended, and a client waits for the result."""
    NEW = 1
    """The task or its Pod has changed."""
    RESYNC = 2
    """No change is known: a resync, a delay or a retry."""


_FAIR_SHARE = {Priority.RESYNC: 3, Priority.NEW: 7}
"""Anti-starvation: every 3rd `get` takes a RESYNC key and every 7th a NEW key, if the oldest one has waited longer than
`_STARVATION_SECONDS`. Under load an attempt needs two reconciles with a higher priority (new, ended) and one RESYNC for
the cleanup, so with every 3rd `get` the cleanup keeps up with a load that never stops."""


class Timers(Protocol):
    """The part of an event loop that the queue needs."""

    def time(self) -> float:
        """Monotonic seconds."""
        ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> asyncio.TimerHandle:
        """Call `callback` at `when`, a value of `time`."""
        ...


class ShutDown(Exception):
    """The queue is shut down: the worker ends."""


class _Delay(NamedTuple):
    when: float
    serial: int
    priority: Priority


class WorkQueue(Generic[K]):
    """Keys that need a reconcile.

    A worker calls `get`, processes the key, calls `forget` or `add_rate_limited`, and always calls `done` at the end.
    """

    def __init__(
        self,
        timers: Timers,
        *,
        max_processing: Callable[[], int] = lambda: sys.maxsize,
        retry_backoff: backoff.Backoff = _DEFAULT_BACKOFF,
        jitter: backoff.Jitter = random.random,
    ) -> None:
        """Make an empty queue; `timers` is the event loop, or a fake one in tests.

        `max_processing` returns how many keys may be processed at once now; the other keys wait in the queue, which
        orders them by priority.
        """
        self._timers = timers
        self._max_processing = max_processing
        self._backoff = retry_backoff
        self._jitter = jitter
        # The keys of each priority in FIFO order, with the time when each was added. Ordered dicts, because a key that
        # gets a higher priority is removed from the middle.
        self._ready: tuple[OrderedDict[K, float], ...] = tuple(OrderedDict() for _ in Priority)
        self._priorities: dict[K, Priority] = {}
        self._processing: set[K] = set()
        self._dirty: dict[K, Priority] = {}  # added while a worker processes them
        self._delayed: dict[K, _Delay] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._failures: dict[K, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._gets = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_shut_down = False
        self._last_get_at = timers.time()

    def __len__(self) -> int:
        """Number of keys that wait for a worker, without those that are delayed or being processed."""
        return len(self._priorities)

    @property
    def processing(self) -> int:
        """Number of keys that workers process."""
        return len(self._processing)

    @property
    def delayed(self) -> int:
        """Number of keys that will be added later."""
        return len(self._delayed)

    def oldest_seconds(self) -> float:
        """Return how long the oldest key has waited in its present priority; 0.0 if no key waits."""
        added_at = [_oldest_added_at(keys) for keys in self._ready if keys]
        return self._timers.time() - min(added_at) if added_at else 0.0

    def stalled_seconds(self) -> float:
        """Return the time since a worker last took a key while keys wait; 0.0 if no key waits."""
        return min(self.oldest_seconds(), self._timers.time() - self._last_get_at)

    def add(self, key: K, priority: Priority = Priority.NEW) -> None:
        """Queue `key`. If it is queued already, its priority becomes the higher one of the two."""
        if self._is_shut_down:
            return
        if key in self._processing:
            self._dirty[key] = min(priority, self._dirty.get(key, priority))
            return
        queued = self._priorities.get(key)
        if queued is not None and queued <= priority:
            return
        if queued is not None:
            del self._ready[queued][key]
        self._priorities[key] = priority
        self._ready[priority][key] = self._timers.time()
        if queued is None:
            self._wake_getter()

    def add_after(self, key: K, seconds: float, priority: Priority = Priority.RESYNC) -> None:
        """Call `add` in `seconds` from now."""
        self.add_at(key, self._timers.time() + seconds, priority)

    def add_at(self, key: K, when: float, priority: Priority = Priority.RESYNC) -> None:
        """Call `add` at `when`, a value of the loop's clock.

        A key has one delay: the earliest that was requested, with the highest priority that was requested. The worker
        that processes the key then requests the next one. `add` does not cancel the delay; `discard_pending` does.
        """
        if self._is_shut_down:
            return
        if when <= self._timers.time():
            self.add(key, priority)
            return
        earlier = self._delayed.get(key)
        if earlier is not None:
            priority = min(priority, earlier.priority)
            if earlier.when <= when:
                self._delayed[key] = earlier._replace(priority=priority)
                return
        self._serial += 1  # breaks ties on the heap: keys need not be comparable
        self._delayed[key] = _Delay(when, self._serial, priority)
        heapq.heappush(self._heap, (when, self._serial, key))
        self._sweep_heap()
        self._set_timer()

    def add_rate_limited(self, key: K, priority: Priority = Priority.RESYNC) -> float:
        """Call `add` after a delay that grows with each call since `forget`; return the delay in seconds."""
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        delay = self._backoff.next_delay(failures, self._jitter)
        self.add_after(key, delay, priority)
        return delay

    def num_requeues(self, key: K) -> int:
        """Return how often `add_rate_limited` was called for `key` since `forget`."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """Reset the backoff of `key`: the next `add_rate_limited` uses the shortest delay."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for the next key and return it. Raises `ShutDown`. Cancelling the call loses no key."""
        while True:
            if self._is_shut_down:
                raise ShutDown
            keys = self._next_keys() if len(self._processing) < self._max_processing() else None
            if keys is not None:
                key, _ = keys.popitem(last=False)
                del self._priorities[key]
                self._processing.add(key)
                self._idle.clear()
                self._last_get_at = self._timers.time()
                return key
            await self._wait()

    def _next_keys(self) -> OrderedDict[K, float] | None:
        """Return the keys of the highest priority, or of a lower one that starves and has its share now; None if empty.

        Otherwise a deadline, a retry or a TTL that is due during a long burst would wait for the end of the burst, and
        a load that never stops would leave its finished Pods behind.
        """
        ready = [keys for keys in self._ready if keys]
        if not ready:
            return None
        self._gets += 1
        starved_since = self._timers.time() - _STARVATION_SECONDS
        for priority, every in _FAIR_SHARE.items():
            keys = self._ready[priority]
            if self._gets % every == 0 and keys and _oldest_added_at(keys) <= starved_since:
                return keys
        return ready[0]

    def done(self, key: K) -> None:
        """Mark `key` as processed. If it was added in the meantime, it is queued again."""
        self._processing.remove(key)
        priority = self._dirty.pop(key, None)
        if priority is not None:
            self.add(key, priority)
        if not self._processing:
            self._idle.set()
        for _ in range(min(len(self), self._max_processing() - len(self._processing))):
            self._wake_getter()

    def discard_pending(self, key: K) -> None:
        """Drop the pending add and the delay of a key that is being processed, before its worker reads the cache.

        The reply to each of the controller's own writes is put into the cache, which adds the key. Without this call
        each write would cause one more reconcile that finds nothing to do. The same holds for a delay that was
        requested earlier: the worker requests the next one.
        """
        self._dirty.pop(key, None)
        self._delayed.pop(key, None)

    def start(self) -> None:
        """Accept keys after `shut_down`. Keys that were added while it was shut down are lost: add every key again."""
        self._is_shut_down = False

    def shut_down(self) -> None:
        """Accept and return no more keys. Workers may finish the keys that they process: see `drained`."""
        self._is_shut_down = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for getter in self._getters:
            if not getter.done():
                getter.set_result(None)

    async def drained(self) -> None:
        """Wait until no key is being processed."""
        await self._idle.wait()

    async def _wait(self) -> None:
        getter = asyncio.get_running_loop().create_future()
        self._getters.append(getter)
        try:
            await getter
        except asyncio.CancelledError:
            if getter.done() and not getter.cancelled():
                self._wake_getter()  # woken and cancelled in the same iteration of the loop: wake another getter
            elif getter in self._getters:  # `_wake_getter` may have removed it, because it was cancelled
                self._getters.remove(getter)
            raise

    def _wake_getter(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _set_timer(self) -> None:
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        if not self._heap:
            return
        when = self._heap[0][0]
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._timers.call_at(when, self._add_due)

    def _add_due(self) -> None:
        self._timer = None
        now = self._timers.time()
        while self._heap and self._heap[0][0] <= now:
            item = heapq.heappop(self._heap)
            if self._is_current(item):
                key = item[2]
                self.add(key, self._delayed.pop(key).priority)
        self._set_timer()

    def _sweep_heap(self) -> None:
        # A delay that an earlier one has replaced stays on the heap until it is due; a key that is retried often and
        # has a deadline far away would leave one entry each time. The heap is rebuilt when more than half of its
        # entries are stale, which is amortised O(1).
        if len(self._heap) > 2 * len(self._delayed) + 64:
            self._heap = [item for item in self._heap if self._is_current(item)]
            heapq.heapify(self._heap)

    def _is_current(self, item: tuple[float, int, K]) -> bool:
        delay = self._delayed.get(item[2])
        return delay is not None and delay.serial == item[1]


def _oldest_added_at(keys: OrderedDict[K, float]) -> float:
    """Return when the first of the keys was added."""
    return next(iter(keys.values()))
