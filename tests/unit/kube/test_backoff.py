"""Delays after failures."""

from hypothesis import given
from hypothesis import strategies as st

from podtask.kube.backoff import Backoff


def test_the_delay_doubles_up_to_the_cap() -> None:
    backoff = Backoff(base_seconds=1.0, cap_seconds=10.0)
    assert [backoff.next_delay(n, lambda: 1.0) for n in range(6)] == [0.0, 1.0, 2.0, 4.0, 8.0, 10.0]


def test_half_of_it_is_drawn() -> None:
    assert Backoff(1.0, 10.0).next_delay(2, lambda: 0.0) == 1.0


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_it_stays_within_its_bounds_for_ever(failures: int, drawn: float) -> None:
    assert 0.5 <= Backoff(1.0, 60.0).next_delay(failures, lambda: drawn) <= 60.0
