"""Whose time counts."""

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from podtask.kube.server_time import ServerTime

TRUE = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


class World:
    """True time, our wall clock beside it, and a time that follows replies."""

    def __init__(self, ahead: float = 0) -> None:
        self.seconds = 0.0
        self.ahead = ahead
        self.time = ServerTime(wall=self.wall, elapsed=lambda: self.seconds)

    def wall(self) -> datetime:
        return self.true() + timedelta(seconds=self.ahead)

    def true(self) -> datetime:
        return TRUE + timedelta(seconds=self.seconds)

    def hear(self, late: float = 0) -> None:
        """A reply, as late as that."""
        said = format_datetime(self.true() - timedelta(seconds=late), usegmt=True)
        self.time.note(said, late)

    def error(self) -> float:
        return (self.time.now() - self.true()).total_seconds()


@pytest.mark.parametrize("ahead", [0.0, 0.4, -0.4, 4.0, -4.0])
def test_a_clock_that_is_nearly_right_is_used(ahead: float) -> None:
    world = World(ahead)
    world.hear()
    assert world.error() == pytest.approx(ahead)


@pytest.mark.parametrize("ahead", [7.0, 61.0, 3600.0, -3600.0, 10**8])
def test_a_clock_that_is_wrong_is_not(ahead: float) -> None:
    world = World(ahead)
    assert world.error() == pytest.approx(ahead), "nothing was heard yet"
    world.hear()
    world.seconds += 30.5
    assert abs(world.error()) <= 1


def test_a_clock_that_is_set_moves_nothing() -> None:
    world = World()
    world.hear()
    world.seconds += 1
    world.ahead = 3600
    assert world.error() == 0
    world.hear()
    assert abs(world.error()) <= 1
    world.ahead = 0
    world.seconds += 1
    world.hear()
    assert world.error() == 0


def test_a_reply_that_took_long_is_no_wrong_clock() -> None:
    world = World()
    world.seconds = 100
    world.hear(late=30)
    assert world.error() == 0


@pytest.mark.parametrize("said", ["", "soon", "Wed, 99 Foo 2026 00:00:00 GMT"])
def test_no_date_is_no_news(said: str) -> None:
    world = World()
    world.time.note(said, 0)
    assert world.error() == 0


def test_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    world = World(3600)
    for _ in range(3):
        world.seconds += 2
        world.hear()
    assert [record.message for record in caplog.records] == ["our clock is not the API server's; its is used"]
