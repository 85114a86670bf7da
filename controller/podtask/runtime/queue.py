"""Which keys need work, and which worker has which: the work queue of client-go, with priorities.

Three promises carry the reconciler. A key is with one worker at a time, so two workers never write the same object's
status. A key added while it is being worked on is worked on again, so no change is missed. And all delays sit on one
heap behind one timer, so that a hundred thousand waiting tasks cost no asyncio task and no timer each.

Not thread-safe: everything happens on one event loop.
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
"""A key that has waited this long behind more urgent ones has turns of its own."""


class Priority(enum.IntEnum):
    """Which keys go first."""

    FINISHED = 0
    """Somebody waits for this result."""
    NEW = 1
    """Something changed."""
    RESYNC = 2
    """Nothing is known to have changed."""


_FAIR_SHARE = {Priority.RESYNC: 3, Priority.NEW: 7}
"""One key in so many, of a line that has waited too long. An attempt is looked at twice under load, as new and as over,
and once later, to tidy up after it: with one in three, a load without end leaves nothing behind."""


class Timers(Protocol):
    """The part of an event loop that the queue needs."""

    def time(self) -> float:
        """Monotonic seconds."""
        ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> asyncio.TimerHandle:
        """Call back at `when`, in the same seconds."""
        ...


class Closed(Exception):
    """The queue was closed: the worker may go home."""


class _Delay(NamedTuple):
    when: float
    serial: int
    priority: Priority


class WorkQueue(Generic[K]):
    """Keys in need of work.

    A worker calls `get`, works, calls `retry` or `forget`, and then always `done`.
    """

    def __init__(
        self,
        timers: Timers,
        *,
        most: Callable[[], int] = lambda: sys.maxsize,
        retry_backoff: backoff.Backoff = _DEFAULT_BACKOFF,
        jitter: backoff.Jitter = random.random,
    ) -> None:
        """Make an empty queue; `timers` is the event loop, or a stand-in for it.

        `most` says how many keys may be worked on at the moment. The rest waits here, where the urgent ones go first.
        """
        self._timers = timers
        self._most = most
        self._backoff = retry_backoff
        self._jitter = jitter
        # One line of keys for each priority, with the moment each key joined it. Ordered dicts, so that a key can
        # leave from the middle at once when it becomes more urgent.
        self._ready: tuple[OrderedDict[K, float], ...] = tuple(OrderedDict() for _ in Priority)
        self._priorities: dict[K, Priority] = {}
        self._processing: set[K] = set()
        self._again: dict[K, Priority] = {}
        self._delayed: dict[K, _Delay] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._failures: dict[K, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._handed_out = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._taken_at = timers.time()

    def __len__(self) -> int:
        """How many keys wait for a worker; those delayed or being worked on are not counted."""
        return len(self._priorities)

    @property
    def processing(self) -> int:
        """How many keys are with a worker."""
        return len(self._processing)

    @property
    def delayed(self) -> int:
        """How many keys wait for their time."""
        return len(self._delayed)

    def oldest_age(self) -> float:
        """Seconds that the longest-waiting key has waited in its present priority; 0 where none waits."""
        heads = [_first_joined(line) for line in self._ready if line]
        return self._timers.time() - min(heads) if heads else 0.0

    def stalled(self) -> float:
        """Seconds since a worker last took a key, while one waits; 0.0 where none does."""
        waiting = self.oldest_age()
        return min(waiting, self._timers.time() - self._taken_at)

    def add(self, key: K, priority: Priority = Priority.NEW) -> None:
        """Ask for `key` to be worked on. Asking again changes nothing, but may make it more urgent."""
        if self._closed:
            return
        if key in self._processing:
            self._again[key] = min(priority, self._again.get(key, priority))
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
        """`add` in `seconds` from now."""
        self.add_at(key, self._timers.time() + seconds, priority)

    def add_at(self, key: K, when: float, priority: Priority = Priority.RESYNC) -> None:
        """`add` at `when`, in the loop's own seconds.

        A key waits for one moment only, the earliest asked for, with the most urgent priority asked for: whoever
        works on it then asks for the next moment. An `add` in between takes nothing off; `discard_pending` does.
        """
        if self._closed:
            return
        if when <= self._timers.time():
            self.add(key, priority)
            return
        known = self._delayed.get(key)
        if known is not None:
            priority = min(priority, known.priority)
            if known.when <= when:
                self._delayed[key] = known._replace(priority=priority)
                return
        self._serial += 1  # keys need not be comparable
        self._delayed[key] = _Delay(when, self._serial, priority)
        heapq.heappush(self._heap, (when, self._serial, key))
        self._sweep_heap()
        self._set_timer()

    def retry(self, key: K, priority: Priority = Priority.RESYNC) -> float:
        """`add` after a delay that grows with each failure since `forget`; return the delay in seconds."""
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        delay = self._backoff.next_delay(failures, self._jitter)
        self.add_after(key, delay, priority)
        return delay

    def failures(self, key: K) -> int:
        """How often `retry` was called for `key` since `forget`."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """Note a success: the next `retry` starts from the shortest delay."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for the key whose turn it is, and take it; `Closed` once closed. Cancelling loses no key."""
        while True:
            if self._closed:
                raise Closed
            line = self._next_line() if len(self._processing) < self._most() else None
            if line is not None:
                key, _ = line.popitem(last=False)
                del self._priorities[key]
                self._processing.add(key)
                self._idle.clear()
                self._taken_at = self._timers.time()
                return key
            await self._wait()

    def _next_line(self) -> OrderedDict[K, float] | None:
        """Give the line whose turn it is: the most urgent one, but in its turn one that has waited for too long.

        A deadline, a retry or a time to live that falls into a long burst would else wait for the burst's end, and the
        finished Pods of a load that never ends would pile up for ever.
        """
        lines = [line for line in self._ready if line]
        if not lines:
            return None
        self._handed_out += 1
        too_long = self._timers.time() - _STARVATION_SECONDS
        for priority, turns in _FAIR_SHARE.items():
            line = self._ready[priority]
            if self._handed_out % turns == 0 and line and _first_joined(line) <= too_long:
                return line
        return lines[0]

    def done(self, key: K) -> None:
        """Give `key` back. If it was added meanwhile, it is queued again."""
        self._processing.remove(key)
        priority = self._again.pop(key, None)
        if priority is not None:
            self.add(key, priority)
        if not self._processing:
            self._idle.set()
        for _ in range(min(len(self), self._most() - len(self._processing))):
            self._wake_getter()

    def discard_pending(self, key: K) -> None:
        """Note that whoever works on `key` looks at everything anew in this turn: what was asked for is being done.

        Every write of our own puts its reply into the cache, which asks for its key. Without this each task would be
        judged once more for each of its writes, to find nothing. So it would be at a moment that was asked for while
        the task stood otherwise: whoever looks asks for the next one.
        """
        self._again.pop(key, None)
        self._delayed.pop(key, None)

    def open(self) -> None:
        """Take keys again. What was added while it was closed is forgotten: ask for every key anew."""
        self._closed = False

    def close(self) -> None:
        """Hand out no more keys, and take none. What a worker has, it may finish: see `drained`."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for getter in self._getters:
            if not getter.done():
                getter.set_result(None)

    async def drained(self) -> None:
        """Return when no key is with a worker."""
        await self._idle.wait()

    async def _wait(self) -> None:
        getter = asyncio.get_running_loop().create_future()
        self._getters.append(getter)
        try:
            await getter
        except asyncio.CancelledError:
            if getter.done() and not getter.cancelled():
                self._wake_getter()  # woken and cancelled in the same turn: the key is for another
            elif getter in self._getters:  # `_wake_getter` may have passed over it, cancelled as it was
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
        # Entries made void by an earlier moment stay on the heap until their own; a key that is retried often and
        # has a deadline far away would leave one each time. Swept when most of the heap is void, which costs
        # nothing on average.
        if len(self._heap) > 2 * len(self._delayed) + 64:
            self._heap = [item for item in self._heap if self._is_current(item)]
            heapq.heapify(self._heap)

    def _is_current(self, item: tuple[float, int, K]) -> bool:
        delay = self._delayed.get(item[2])
        return delay is not None and delay.serial == item[1]


def _first_joined(line: OrderedDict[K, float]) -> float:
    """When the first key of a line joined it."""
    return next(iter(line.values()))
