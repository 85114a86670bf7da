"""Other machines' clocks, and sums that cannot fail."""

from datetime import UTC, datetime, timedelta

from podtask.core import clock
from tests.builders import at, make_pod


def test_sums_stop_at_the_ends_of_time() -> None:
    assert clock.later(at(0), 5) == at(5)
    assert clock.later(at(0), 2**62).year == 9999
    assert clock.earlier(at(5), 5) == at(0)
    assert clock.earlier(at(0), 2**62) == datetime(1970, 1, 1, tzinfo=UTC)


def test_1970_is_no_time() -> None:
    assert clock.known(None) is None
    assert clock.known(datetime(1970, 1, 1, tzinfo=UTC)) is None
    assert clock.known(at(0)) == at(0)


def test_a_kubelet_that_took_the_pod_before_it_was_scheduled_is_slow() -> None:
    assert clock.kubelet_lag(make_pod().build()) == timedelta(0)
    assert clock.kubelet_lag(make_pod().scheduled(10, taken=12).build()) == timedelta(0)
    assert clock.kubelet_lag(make_pod().unschedulable().build()) == timedelta(0)
    slow = make_pod().scheduled(10, taken=-50).build()
    assert clock.kubelet_lag(slow) == timedelta(seconds=60)
    assert clock.by_kubelet(at(0), slow) == at(60)


def test_a_time_is_held_between_creation_and_now() -> None:
    made = make_pod().build()
    assert clock.bounded(at(-5), made, at(9)) == at(0)
    assert clock.bounded(at(50), made, at(9)) == at(9)
    assert clock.bounded(None, made, at(9)) == at(0)
    assert clock.bounded(at(5), make_pod().metadata(creation_timestamp=None).build(), at(9)) == at(9)
