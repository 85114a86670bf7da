"""The number of requests under way."""

import asyncio

import pytest

from podtask.kube.in_flight import InFlight
from tests.unit.kube.doubles import JumpingClock


async def test_slots_are_given_in_the_order_of_asking() -> None:
    slots = InFlight(1)
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
    slots = InFlight(1)
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
    slots = InFlight(1)
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
    slots = InFlight(1)
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
    slots = InFlight(8, time_source=clock)
    for _ in range(5):
        slots.throttled()
    assert slots.size == 4
    clock.now += 2
    slots.throttled()
    assert slots.size == 2
    for _ in range(2):
        slots.succeeded()
    assert slots.size in (2, 3)
    for _ in range(100):
        slots.succeeded()
    assert slots.size == 8


def test_one_slot_always_remains() -> None:
    clock = JumpingClock()
    slots = InFlight(4, time_source=clock)
    for _ in range(10):
        clock.now += 2
        slots.throttled()
    assert slots.size == 1


async def test_a_smaller_size_lets_those_under_way_finish() -> None:
    slots = InFlight(4, time_source=JumpingClock())
    for _ in range(4):
        await slots.acquire()
    slots.throttled()
    waiting = asyncio.create_task(slots.acquire())
    for used in (3, 2):
        slots.release()
        await asyncio.sleep(0)
        assert slots.used == used
        assert not waiting.done()
    slots.release()
    await waiting
    assert slots.used == 2
