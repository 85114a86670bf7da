"""The number of requests under way."""

import asyncio

import pytest

from podtask.kube.concurrency_limiter import ConcurrencyLimiter
from tests.unit.kube.doubles import JumpingClock


async def test_slots_are_given_in_the_order_of_asking() -> None:
    slots = ConcurrencyLimiter(1)
    await slots.acquire()
    order: list[int] = []

    async def work(number: int) -> None:
        await slots.acquire()
        order.append(number)
        slots.release()

    tasks = [asyncio.create_task(work(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert order == []
    slots.release()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]
    assert slots.used == 0


async def test_a_cancelled_wait_takes_nothing() -> None:
    slots = ConcurrencyLimiter(1)
    await slots.acquire()
    waiting = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    slots.release()
    assert slots.used == 0
    await slots.acquire()


async def test_a_slot_given_in_the_turn_of_the_cancellation_goes_on() -> None:
    slots = ConcurrencyLimiter(1)
    await slots.acquire()
    first, second = asyncio.create_task(slots.acquire()), asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert slots.used == 1


async def test_a_release_in_the_turn_of_the_cancellation_passes_over_it() -> None:
    slots = ConcurrencyLimiter(1)
    await slots.acquire()
    first, second = asyncio.create_task(slots.acquire()), asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    first.cancel()
    slots.release()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert slots.used == 1


def test_a_wave_of_429s_halves_it_once_and_successes_bring_it_back() -> None:
    clock = JumpingClock()
    slots = ConcurrencyLimiter(8, time_source=clock)
    for _ in range(5):
        slots.on_too_many_requests()
    assert slots.size == 4
    clock.now += 2
    slots.on_too_many_requests()
    assert slots.size == 2
    for _ in range(2):
        slots.observe("create pods", 0.01)
    assert slots.size == 3
    for _ in range(100):
        slots.observe("create pods", 0.01)
    assert slots.size == 8


def test_one_slot_always_remains() -> None:
    clock = JumpingClock()
    slots = ConcurrencyLimiter(4, time_source=clock)
    for _ in range(10):
        clock.now += 2
        slots.on_too_many_requests()
    assert slots.size == 1


async def test_a_smaller_size_lets_those_under_way_finish() -> None:
    slots = ConcurrencyLimiter(4, time_source=JumpingClock())
    for _ in range(4):
        await slots.acquire()
    slots.on_too_many_requests()
    waiting = asyncio.create_task(slots.acquire())
    for used in (3, 2):
        slots.release()
        await asyncio.sleep(0)
        assert slots.used == used
        assert not waiting.done()
    slots.release()
    await waiting
    assert slots.used == 2


def _rounds(
    slots: ConcurrencyLimiter, number: int, seconds: float, kind: str = "patch podtasks", *, used: int | None = None
) -> None:
    for _ in range(number):
        under_way = used or slots.size
        for _ in range(under_way):
            assert slots.take()
        for _ in range(slots.size - 1):
            slots.observe(kind, seconds)
        for _ in range(under_way - 1):
            slots.release()
        slots.observe(kind, seconds)
        slots.release()


def test_slow_answers_shorten_the_queue_and_quick_ones_let_it_grow() -> None:
    slots = ConcurrencyLimiter(64, least=8, time_source=JumpingClock())
    slots.observe("patch podtasks", 0.005)
    _rounds(slots, 2, 0.3)
    assert slots.size == 16, "by half a round at most: one hiccup is no queue"
    _rounds(slots, 5, 0.3)
    assert slots.size == 8, "the least"
    _rounds(slots, 3, 0.035)
    assert slots.size == 8, "long enough, and not too long"
    _rounds(slots, 60, 0.01)
    assert slots.size == 64


def test_who_keeps_few_under_way_gives_none_up_for_a_queue_of_others() -> None:
    slots = ConcurrencyLimiter(64, least=8, time_source=JumpingClock())
    _rounds(slots, 1, 0.005)
    _rounds(slots, 5, 0.3, used=10)
    assert slots.size == 64
    _rounds(slots, 1, 0.3)
    assert slots.size == 32, "all were under way in this round"
    _rounds(slots, 1, 0.3, used=10)
    assert slots.size == 32, "and not in this one"
    _rounds(slots, 2, 0.01, used=10)
    assert slots.size == 34, "quick answers give back in any case"


def test_what_takes_long_by_itself_is_no_queue() -> None:
    """A webhook that thinks for half a second about each Pod is not helped by fewer Pods at once."""
    slots = ConcurrencyLimiter(64, least=8, time_source=JumpingClock())
    slots.observe("patch podtasks", 0.005)
    for _ in range(10):
        _rounds(slots, 1, 0.5, "create pods")
        _rounds(slots, 1, 0.006)
    assert slots.size == 64


def test_a_server_that_has_become_slower_is_not_for_ever_busy() -> None:
    clock = JumpingClock()
    slots = ConcurrencyLimiter(64, least=8, time_source=clock)
    slots.observe("patch podtasks", 0.005)
    _rounds(slots, 5, 0.2)
    assert slots.size == 8
    for _ in range(2):
        clock.now += 31
        _rounds(slots, 1, 0.2)
    assert slots.size == 8, "the quick answer of the window before still counts"
    clock.now += 31
    _rounds(slots, 2, 0.2)
    assert slots.size > 8


def test_429s_may_leave_fewer_than_slow_answers_do() -> None:
    clock = JumpingClock()
    slots = ConcurrencyLimiter(16, least=8, time_source=clock)
    for _ in range(3):
        clock.now += 2
        slots.on_too_many_requests()
    slots.observe("patch podtasks", 0.005)
    assert slots.size == 2
    _rounds(slots, 1, 0.5)
    assert slots.size == 2, "a slow answer does not bring back what a 429 took"
