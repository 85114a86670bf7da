"""The deadlines of a task."""

import pytest

from podtask.api import names
from podtask.core import deadlines
from tests.builders import MadePod, MadeTask, at, condition, make_attempt, make_live_attempt, make_pod, make_task

ALL = make_task(
    deadlines={"scheduleSeconds": 10, "imagePullSeconds": 20, "startSeconds": 30, "runSeconds": 40, "totalSeconds": 100}
)
FALSE = condition(names.CONDITION_SUSPENDED, "False", 50)

TOTALS: dict[str, tuple[MadeTask, float, float | None]] = {
    "none is set": (make_task(), 5, None),
    "no creation time": (ALL.metadata(creation_timestamp=None), 5, None),
    "from the creation": (ALL, 5, 100),
    "time suspended before is left out": (ALL.status(suspended_seconds=50), 5, 150),
    "time suspended now is left out": (ALL.suspended(10), 60, 150),
    "a suspension that is over adds nothing more": (ALL.status(conditions=(FALSE,)), 60, 100),
    "a suspension in the future adds nothing": (ALL.suspended(70), 60, 100),
}


@pytest.mark.parametrize(("made", "now", "want"), TOTALS.values(), ids=TOTALS)
def test_total(made: MadeTask, now: float, want: float | None) -> None:
    got = deadlines.total(made.build(), at(now))
    assert (got.at if got else None) == (at(want) if want is not None else None)


def test_no_sum_overflows() -> None:
    got = deadlines.total(ALL.status(suspended_seconds=9 * 10**15).build(), at(0))
    assert got is not None
    assert got.at.year == 9999


PLACED = make_pod().scheduled(5)
POD_CLOCKS: dict[str, tuple[MadePod, float, tuple[float, str] | None]] = {
    "no node yet": (make_pod(), 3, (10, "ScheduleDeadlineExceeded")),
    "gated: no clock runs": (make_pod().gated("kueue"), 3, None),
    "on a node": (PLACED, 6, (35, "StartDeadlineExceeded")),
    "on a node, without the condition": (make_pod().spec(node_name="n"), 6, (30, "StartDeadlineExceeded")),
    "on a node, pulling badly": (PLACED.waiting("ErrImagePull"), 6, (25, "ImagePullDeadlineExceeded")),
    "runs": (PLACED.running(8), 9, (48, "RunDeadlineExceeded")),
    "runs, by a kubelet an hour ahead": (PLACED.running(3608), 9, (49, "RunDeadlineExceeded")),
    "runs, by a kubelet an hour behind": (
        make_pod().scheduled(5, taken=-3595).running(-3590),
        30,
        (50, "RunDeadlineExceeded"),
    ),
    "runs since 1970": (PLACED.running(-(10**10)), 9, (40, "RunDeadlineExceeded")),
}


@pytest.mark.parametrize(("made", "now", "want"), POD_CLOCKS.values(), ids=POD_CLOCKS)
def test_of_pod(made: MadePod, now: float, want: tuple[float, str] | None) -> None:
    got = deadlines.of_pod(ALL.build(), made.build(), None, at(now))
    assert got == ((at(want[0]), want[1]) if want else None)


def test_the_schedule_clock_starts_when_the_gates_are_lifted() -> None:
    got = deadlines.of_pod(ALL.build(), make_pod().build(), make_live_attempt(admission_time=at(500)), at(501))
    assert got == (at(510), "ScheduleDeadlineExceeded")


def test_without_limits_there_is_no_clock() -> None:
    for made in (make_pod(), PLACED, PLACED.running()):
        assert deadlines.of_pod(make_task().build(), made.build(), None, at(5)) is None


REFUSED: dict[str, tuple[MadeTask, float]] = {
    "the first attempt counts from the creation": (ALL, 10),
    "a further one from when it was due": (
        ALL.attempts(make_attempt(completion_time=at(20))).status(next_attempt_time=at(30)),
        40,
    ),
    "without a wait, from the end of the last": (ALL.attempts(make_attempt(completion_time=at(20))), 30),
    "after a suspension, from its end": (ALL.status(conditions=(FALSE,)), 60),
}


@pytest.mark.parametrize(("made", "want"), REFUSED.values(), ids=REFUSED)
def test_without_pod(made: MadeTask, want: float) -> None:
    assert deadlines.without_pod(made.build()) == (at(want), "ScheduleDeadlineExceeded")
    assert deadlines.without_pod(make_task().build()) is None
