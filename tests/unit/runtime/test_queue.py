"""The work queue: no key is lost or processed twice at once, and priorities hold."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from podtask.kube.backoff import Backoff
from podtask.runtime.queue import Priority, ShutDown, WorkQueue
from tests.harness import HANG_SECONDS


class FakeHandle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeTimers:
    """An event loop's timers with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pending: list[tuple[float, int, Callable[[], object], FakeHandle]] = []
        self.serial = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> Any:
        self.serial += 1
        handle = FakeHandle()
        heapq.heappush(self.pending, (when, self.serial, callback, handle))
        return handle

    @property
    def active(self) -> int:
        return sum(not handle.cancelled for *_, handle in self.pending)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.pending and self.pending[0][0] <= end:
            when, _, callback, handle = heapq.heappop(self.pending)
            self.now = max(self.now, when)
            if not handle.cancelled:
                callback()
        self.now = end


def make_queue() -> tuple[WorkQueue[str], FakeTimers]:
    timers = FakeTimers()
    return WorkQueue(timers, retry_backoff=Backoff(1.0, 8.0), jitter=lambda: 1.0), timers


def take(queue: WorkQueue[str]) -> str | None:
    """Return the key that `get` returns at once; None if it would wait."""
    getting = queue.get()
    try:
        getting.send(None)
    except StopIteration as got:
        return str(got.value)
    finally:
        getting.close()
    return None


def take_all(queue: WorkQueue[str]) -> list[str]:
    got = []
    while len(queue):
        key = take(queue)
        assert key is not None
        queue.done(key)
        got.append(key)
    return got


def test_keys_are_taken_by_priority_and_then_fifo() -> None:
    queue, _ = make_queue()
    for key, priority in [("r", 2), ("n1", 1), ("f1", 0), ("n2", 1), ("f2", 0)]:
        queue.add(key, Priority(priority))
    assert take_all(queue) == ["f1", "f2", "n1", "n2", "r"]


def test_a_starving_key_gets_its_share() -> None:
    queue, timers = make_queue()
    for number in range(20):
        queue.add(f"new {number}")
    queue.add("deadline", Priority.RESYNC)
    queue.add("tidy", Priority.RESYNC)
    timers.advance(14.9)
    assert {take(queue) for _ in range(9)} == {f"new {number}" for number in range(9)}, "it has not waited for long"
    timers.advance(0.1)
    queue.add("result", Priority.FINISHED)
    got = [take(queue) for _ in range(12)]
    assert got.index("result") <= 1, "its result is waited for"
    assert got.index("deadline") < got.index("tidy")
    assert sum(str(key).startswith("new") for key in got) == 9, "one in three at most"


def test_cleanup_keeps_up_with_a_permanent_load() -> None:
    """Each attempt is reconciled as new, as ended, and a minute later; twice as many arrive as can be processed."""
    queue, timers = make_queue()
    over: dict[str, float] = {}
    tidied: set[str] = set()
    for number in range(2000):
        queue.add(f"new {number}")
        if number % 2 == 0:
            continue
        timers.advance(1.0)
        for _ in range(3):
            key = take(queue)
            assert key is not None
            queue.done(key)
            what, _, which = key.partition(" ")
            if what == "new":
                queue.add(f"over {which}", Priority.FINISHED)
            elif what == "over":
                over[which] = timers.now
                queue.add_after(f"tidy {which}", 60)
            else:
                tidied.add(which)
    assert len(over) > 900
    assert tidied >= {which for which, at in over.items() if at < timers.now - 150}


@pytest.mark.parametrize("urgent", [(Priority.NEW,), (Priority.FINISHED,), (Priority.FINISHED, Priority.NEW)])
def test_no_priority_starves_under_a_permanent_load(urgent: tuple[Priority, ...]) -> None:
    """However long NEW keys have waited: in a long burst that is always longer than a due RESYNC key."""
    queue, timers = make_queue()
    served: list[str] = []
    for number in range(300):
        for priority in urgent:
            queue.add(f"{priority.name} {number}", priority)
        if number == 100:
            queue.add("deadline", Priority.RESYNC)
        timers.advance(1.0)
        key = take(queue)
        assert key is not None
        queue.done(key)
        served.append(key)
    assert "deadline" in served[100:120], "15 s, and then at most three gets"
    assert all(any(key.startswith(priority.name) for key in served) for priority in urgent)


def test_a_key_is_queued_once() -> None:
    queue, _ = make_queue()
    for _ in range(3):
        queue.add("a")
    assert len(queue) == 1
    assert take_all(queue) == ["a"]


def test_a_second_add_raises_the_priority_and_never_lowers_it() -> None:
    queue, _ = make_queue()
    queue.add("a", Priority.RESYNC)
    queue.add("b", Priority.NEW)
    queue.add("a", Priority.FINISHED)
    queue.add("a", Priority.RESYNC)
    assert take_all(queue) == ["a", "b"]


async def test_a_key_added_while_processed_is_queued_after_done() -> None:
    queue, _ = make_queue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a", Priority.RESYNC)
    queue.add("a", Priority.FINISHED)
    queue.add("b", Priority.NEW)
    assert (len(queue), queue.processing) == (1, 1)
    queue.done("a")
    assert take_all(queue) == ["a", "b"]


async def test_discard_pending_drops_earlier_adds() -> None:
    queue, _ = make_queue()
    queue.add("a")
    assert take(queue) == "a"
    queue.add("a")
    queue.discard_pending("a")
    queue.add("b")
    queue.done("a")
    assert take_all(queue) == ["b"]
    queue.add("a")
    assert take(queue) == "a"
    queue.discard_pending("a")
    queue.add("a", Priority.FINISHED)
    queue.done("a")
    assert take(queue) == "a"


async def test_discard_pending_keeps_other_keys() -> None:
    queue, _ = make_queue()
    queue.add("a")
    queue.add("b")
    assert [take(queue), take(queue)] == ["a", "b"]
    for key in ("a", "b", "c"):
        queue.add(key)
    queue.discard_pending("a")
    queue.done("a")
    queue.done("b")
    assert take_all(queue) == ["c", "b"]


async def test_a_getter_is_woken() -> None:
    queue, _ = make_queue()
    getting = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add("a")
    queue.add("b")
    assert sorted(await asyncio.gather(*getting)) == ["a", "b"]


async def test_a_cancelled_getter_wakes_another() -> None:
    queue, _ = make_queue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == "a"


async def test_an_add_after_the_cancellation_skips_the_getter() -> None:
    queue, _ = make_queue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    first.cancel()
    queue.add("a")
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == "a"


async def test_a_cancelled_getter_is_removed() -> None:
    queue, _ = make_queue()
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    getting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await getting
    queue.add("a")
    assert await queue.get() == "a"


async def test_max_processing_limits_the_keys_in_work_and_the_rest_is_prioritised() -> None:
    max_processing = 2
    queue: WorkQueue[str] = WorkQueue(FakeTimers(), max_processing=lambda: max_processing)
    for key in "abcd":
        queue.add(key)
    getting = [asyncio.create_task(queue.get()) for _ in range(5)]
    await asyncio.sleep(0)
    assert [task.result() for task in getting if task.done()] == ["a", "b"]
    queue.add("e", Priority.FINISHED)
    queue.done("a")
    await asyncio.sleep(0)
    assert [task.result() for task in getting if task.done()][2:] == ["e"]
    max_processing = 1
    queue.done("b")
    await asyncio.sleep(0)
    assert queue.processing == 1, "those under way finish, none begins"
    max_processing = 3
    queue.done("e")
    async with asyncio.timeout(HANG_SECONDS):
        assert sorted(await asyncio.gather(*getting)) == ["a", "b", "c", "d", "e"], "as many as are allowed now"


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_every_key_is_processed_however_max_processing_changes(limits: list[int], workers: int) -> None:
    async def run() -> None:
        turn = itertools.cycle(limits)
        max_processing = next(turn)
        queue: WorkQueue[int] = WorkQueue(FakeTimers(), max_processing=lambda: max_processing)
        done: set[int] = set()

        async def work() -> None:
            nonlocal max_processing
            while len(done) < 20:
                key = await queue.get()
                assert queue.processing <= max_processing
                await asyncio.sleep(0)
                max_processing = next(turn)
                done.add(key)
                queue.done(key)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for key in range(20):
            queue.add(key)
            await asyncio.sleep(0)
        async with asyncio.timeout(HANG_SECONDS):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert done == set(range(20))
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError)

    asyncio.run(run())


def test_delays() -> None:
    queue, timers = make_queue()
    queue.add_after("late", 5, Priority.NEW)
    queue.add_after("soon", 1, Priority.RESYNC)
    queue.add_at("now", 0.0)
    assert (len(queue), queue.delayed, timers.active) == (1, 2, 1)
    timers.advance(0.9)
    assert take_all(queue) == ["now"]
    timers.advance(0.1)
    assert take_all(queue) == ["soon"]
    timers.advance(4)
    assert take_all(queue) == ["late"]
    assert (queue.delayed, timers.active) == (0, 0)


def test_the_earlier_of_two_delays_is_kept() -> None:
    queue, timers = make_queue()
    queue.add_after("a", 5, Priority.RESYNC)
    queue.add_after("a", 9, Priority.FINISHED)
    queue.add_after("b", 5)
    queue.add_after("b", 2)
    timers.advance(2)
    assert take_all(queue) == ["b"]
    queue.add("c", Priority.NEW)
    timers.advance(3)
    assert take_all(queue) == ["a", "c"], "the more urgent priority of the two holds"
    timers.advance(100)
    assert len(queue) == 0


def test_an_add_does_not_cancel_the_delay() -> None:
    queue, timers = make_queue()
    queue.add_after("a", 5)
    queue.add("a")
    assert take_all(queue) == ["a"]
    timers.advance(5)
    assert take_all(queue) == ["a"]


async def test_discard_pending_cancels_the_delay() -> None:
    """The status Running is written after a delay; if the task has ended by then, no reconcile is needed."""
    queue, timers = make_queue()
    queue.add_after("a", 5)
    queue.add("a")
    assert take(queue) == "a"
    queue.discard_pending("a")
    assert queue.delayed == 0
    queue.add_after("a", 60)
    queue.done("a")
    timers.advance(59)
    assert take_all(queue) == []
    timers.advance(1)
    assert take_all(queue) == ["a"]


async def test_a_delay_that_is_requested_again_is_ordered_behind_later_ones() -> None:
    queue, timers = make_queue()
    for key in ("a", "b"):
        queue.add_after(key, 5)
    queue.add("a")
    assert take(queue) == "a"
    queue.discard_pending("a")
    queue.add_after("a", 5)
    queue.done("a")
    timers.advance(5)
    assert take_all(queue) == ["b", "a"]


def test_there_is_one_timer_and_stale_delays_are_removed() -> None:
    queue, timers = make_queue()
    for number in range(1000):
        queue.add_after("a", 10_000 - number)
        assert timers.active == 1
    assert len(queue._heap) < 100
    timers.advance(9001)
    assert take_all(queue) == ["a"]


async def test_a_delay_that_is_due_while_the_key_is_processed_is_not_lost() -> None:
    queue, timers = make_queue()
    queue.add("a")
    await queue.get()
    queue.add_after("a", 1)
    timers.advance(1)
    assert len(queue) == 0
    queue.done("a")
    assert take_all(queue) == ["a"]


def test_add_rate_limited_backs_off() -> None:
    queue, timers = make_queue()
    assert [queue.add_rate_limited("a") for _ in range(1)] == [1.0]
    timers.advance(1)
    assert take_all(queue) == ["a"]
    assert [queue.add_rate_limited("b") for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert queue.num_requeues("b") == 6
    queue.forget("b")
    queue.forget("never seen")
    assert queue.num_requeues("b") == 0
    assert queue.add_rate_limited("b") == 1.0


def test_oldest_seconds() -> None:
    queue, timers = make_queue()
    assert queue.oldest_seconds() == 0
    queue.add("a", Priority.RESYNC)
    timers.advance(3)
    queue.add("b", Priority.FINISHED)
    timers.advance(1)
    assert queue.oldest_seconds() == 4
    assert take(queue) == "b"
    assert queue.oldest_seconds() == 4
    assert take(queue) == "a"
    assert queue.oldest_seconds() == 0


async def test_shut_down_ends_workers_after_their_keys() -> None:
    queue, timers = make_queue()
    queue.add("a")
    queue.add("b")
    queue.add_after("c", 1)
    assert await queue.get() == "a"
    draining = asyncio.create_task(queue.drained())
    queue.shut_down()
    with pytest.raises(ShutDown):
        await queue.get()
    queue.add("d")
    queue.add_after("e", 1)
    timers.advance(2)
    assert timers.active == 0
    await asyncio.sleep(0)
    assert not draining.done()
    queue.done("a")
    await draining


async def test_shut_down_wakes_waiting_getters() -> None:
    queue, _ = make_queue()
    getting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.shut_down()
    got = await asyncio.gather(*getting, return_exceptions=True)
    assert [type(one) for one in got] == [ShutDown] * 3
    await queue.drained()


def test_done_without_get_raises() -> None:
    queue, _ = make_queue()
    with pytest.raises(KeyError):
        queue.done("a")


async def test_on_a_real_loop() -> None:
    queue: WorkQueue[int] = WorkQueue(asyncio.get_running_loop())
    queue.add_after(1, 0.01)
    async with asyncio.timeout(HANG_SECONDS):
        assert await queue.get() == 1
    queue.shut_down()


KEYS = st.sampled_from("abcd")
PRIORITIES = st.sampled_from(Priority)


class AgainstModel(RuleBasedStateMachine):
    """The queue compared with a simple model of sets and lists."""

    def __init__(self) -> None:
        super().__init__()
        self.queue, self.timers = make_queue()
        self.ready: list[tuple[Priority, str, float]] = []
        self.processing: set[str] = set()
        self.passed_over = 0
        self.again: dict[str, Priority] = {}
        self.delayed: dict[str, tuple[tuple[float, int], Priority]] = {}
        self.serial = 0

    def model_add(self, key: str, priority: Priority, joined: float | None = None) -> None:
        if key in self.processing:
            self.again[key] = min(priority, self.again.get(key, priority))
            return
        queued = [entry for entry in self.ready if entry[1] == key]
        if queued and queued[0][0] <= priority:
            return
        self.ready = [entry for entry in self.ready if entry[1] != key]
        self.ready.append((priority, key, self.timers.now if joined is None else joined))

    @rule(key=KEYS, priority=PRIORITIES)
    def add(self, key: str, priority: Priority) -> None:
        self.queue.add(key, priority)
        self.model_add(key, priority)

    @rule(key=KEYS, priority=PRIORITIES, seconds=st.integers(0, 5))
    def add_after(self, key: str, priority: Priority, seconds: int) -> None:
        self.queue.add_after(key, seconds, priority)
        if seconds == 0:
            self.model_add(key, priority)
            return
        self.serial += 1
        asked = (self.timers.now + seconds, self.serial)
        moment, old_priority = self.delayed.get(key, (asked, priority))
        # Equal times keep their order.
        self.delayed[key] = (asked if asked[0] < moment[0] else moment, min(priority, old_priority))

    @rule(seconds=st.integers(1, 8))
    def advance(self, seconds: int) -> None:
        self.timers.advance(seconds)
        for key, (moment, priority) in sorted(self.delayed.items(), key=lambda item: item[1][0]):
            if moment[0] <= self.timers.now:
                del self.delayed[key]
                self.model_add(key, priority, moment[0])

    @precondition(lambda self: self.ready)
    @rule()
    def get(self) -> None:
        got = take(self.queue)
        assert got is not None
        assert got not in self.processing, "two workers have it"
        priority, _, joined = taken = next(entry for entry in self.ready if entry[1] == got)
        assert taken == next(entry for entry in self.ready if entry[0] == priority), "equal priorities in FIFO order"
        self.passed_over = self.passed_over + 1 if priority > min(self.ready)[0] else 0
        if self.passed_over:
            assert self.timers.now - joined >= 15, "skipped a higher priority without starvation"
            assert self.passed_over <= 2, "the highest priority is next"
        self.ready.remove(taken)
        self.processing.add(got)

    @precondition(lambda self: self.processing)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.processing)))
        self.queue.done(key)
        self.processing.remove(key)
        if key in self.again:
            self.model_add(key, self.again.pop(key))

    @precondition(lambda self: self.processing)
    @rule(data=st.data())
    def discard_pending(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.processing)))
        self.queue.discard_pending(key)
        self.again.pop(key, None)
        self.delayed.pop(key, None)

    @invariant()
    def agree(self) -> None:
        assert len(self.queue) == len(self.ready)
        assert self.queue.processing == len(self.processing)
        assert self.queue.delayed == len(self.delayed)
        assert bool(self.delayed) <= self.timers.active <= 1, (
            "one timer for all; a stale one may remain until it is due"
        )

    def teardown(self) -> None:
        """No key is lost: with enough time every one is taken."""
        owed = {key for _, key, _ in self.ready} | set(self.again) | set(self.delayed)
        got: set[str] = set()
        for key in self.processing:
            self.queue.done(key)
        self.timers.advance(100)
        got.update(take_all(self.queue))
        assert got == owed


AgainstModel.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
test_against_model = AgainstModel.TestCase
