"""Times from other machines, and arithmetic that cannot overflow."""

from datetime import UTC, datetime, timedelta

from podtask.core import pod, times
from tests.builders import KUBELETS, at, make_pod

_spread = times.spread_seconds  # before conftest.py takes it away


def test_sums_stop_at_the_ends_of_time() -> None:
    assert times.add_saturating(at(0), 5) == at(5)
    assert times.add_saturating(at(0), 2**62).year == 9999
    assert times.sub_saturating(at(5), 5) == at(0)
    assert times.sub_saturating(at(0), 2**62) == datetime(1970, 1, 1, tzinfo=UTC)


def test_a_spread_is_a_share_of_a_second_and_always_the_same() -> None:
    drawn = [_spread(f"pod-{number}") for number in range(100)]
    assert drawn == [_spread(f"pod-{number}") for number in range(100)]
    assert all(0 <= share < 1 for share in drawn)
    assert 30 < sum(share < 0.5 for share in drawn) < 70


def test_1970_is_no_time() -> None:
    assert times.nonzero(None) is None
    assert times.nonzero(datetime(1970, 1, 1, tzinfo=UTC)) is None
    assert times.nonzero(at(0)) == at(0)


def test_a_kubelet_that_took_the_pod_before_it_was_scheduled_is_slow() -> None:
    assert times.min_clock_skew(make_pod().build()) == timedelta(0)
    assert times.min_clock_skew(make_pod().scheduled(10, taken=12).build()) == timedelta(0)
    assert times.min_clock_skew(make_pod().unschedulable().build()) == timedelta(0)
    slow = make_pod().scheduled(10, taken=-50).build()
    assert times.min_clock_skew(slow) == timedelta(seconds=60)
    assert times.to_server_time(at(0), slow) == at(60)


def test_a_time_is_held_between_creation_and_now() -> None:
    made = make_pod().build()
    assert times.clamp(at(-5), made, at(9)) == at(0)
    assert times.clamp(at(50), made, at(9)) == at(9)
    assert times.clamp(None, made, at(9)) == at(0)
    assert times.clamp(at(5), make_pod().metadata(creation_timestamp=None).build(), at(9)) == at(9)


def _told(*seconds: float | None, part: str = "status", owned: pod.OwnedFields | None = KUBELETS) -> pod.Pod:
    notes = tuple(pod.ManagedFieldsEntry(part, None if when is None else at(when), owned) for when in seconds)
    return make_pod().metadata(managed_fields=notes).build()


def test_the_server_notes_when_the_kubelet_spoke() -> None:
    assert _told().kubelet_status_time is None
    assert _told(None).kubelet_status_time is None
    assert _told(5, 9, None).kubelet_status_time == at(9)
    assert _told(5, part="").kubelet_status_time is None
    assert _told(5, owned=None).kubelet_status_time is None
    assert _told(5, owned=pod.OwnedFields()).kubelet_status_time is None
    assert _told(5, owned=pod.OwnedFields(pod.OwnedStatus())).kubelet_status_time is None, "a readiness gate's"


def test_a_kubelet_cannot_tell_the_future() -> None:
    assert times.to_server_time_within(at(90), _told(5), at(30)) == at(5)
    assert times.to_server_time_within(at(3), _told(5), at(30)) == at(3)
    assert times.to_server_time_within(at(90), _told(), at(30)) == at(30)
    assert times.to_server_time_within(None, _told(5), at(30)) == at(0)
