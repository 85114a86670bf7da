"""Delays after failures."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from podtask.kube.backoff import Backoff, Jitter, WatchBackoff


def test_the_delay_doubles_up_to_the_cap() -> None:
    backoff = Backoff(base_seconds=1.0, cap_seconds=10.0)
    assert [backoff.next_delay(n, lambda: 1.0) for n in range(6)] == [0.0, 1.0, 2.0, 4.0, 8.0, 10.0]


def test_half_of_it_is_drawn() -> None:
    assert Backoff(1.0, 10.0).next_delay(2, lambda: 0.0) == 1.0


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_it_stays_within_its_bounds_for_ever(failures: int, drawn: float) -> None:
    assert 0.5 <= Backoff(1.0, 60.0).next_delay(failures, lambda: drawn) <= 60.0


def _first_try_after(seconds: float, jitter: Jitter) -> float:
    """Give the time of the first try after an outage that began at 0 and lasted so long."""
    pace, at = WatchBackoff(jitter), 0.0
    while at < seconds:
        at += pace.on_transport_error()
    return at


@given(st.floats(0, 3600), st.floats(0, 1, exclude_max=True))
def test_however_long_the_server_was_away_a_stream_is_back_within_three_seconds(away: float, drawn: float) -> None:
    assert _first_try_after(away, lambda: drawn) - away <= 3.0


def test_those_who_were_cut_off_together_come_back_one_by_one() -> None:
    tries = Counter(int(_first_try_after(60.0, random.Random(seed).random) * 10) for seed in range(1000))
    assert max(tries.values()) < 1000 / 10, "most in the same tenth of a second"
    assert len(tries) > 20


@given(st.integers(0, 500), st.floats(0.1, 20.0))
def test_a_server_that_refuses_while_it_comes_up_is_not_punished_for_the_time_without_it(
    unanswered: int, refuses: float
) -> None:
    """It answers after a long time away, and its first answers are errors: the pauses begin small again."""
    pace, at = WatchBackoff(lambda: 1.0), 0.0
    for _ in range(unanswered):
        pace.on_transport_error()
    while at < refuses:
        at += pace.on_error()
    assert at <= 2 * refuses + 0.2


def test_refusals_grow_to_half_a_minute_and_give_the_position_up() -> None:
    pace = WatchBackoff(lambda: 1.0)
    assert [pace.on_error() for _ in range(10)][-1] == 30.0
    assert pace.must_relist


def test_silence_gives_no_position_up() -> None:
    pace = WatchBackoff(lambda: 1.0)
    for _ in range(100):
        pace.on_transport_error()
    assert not pace.must_relist


def test_a_word_ends_both_counts() -> None:
    pace = WatchBackoff(lambda: 1.0)
    for _ in range(10):
        pace.on_error()
        pace.on_transport_error()
    pace.reset()
    assert not pace.must_relist
    assert (pace.on_transport_error(), pace.on_error()) == (0.2, 0.2)
