"""What holds a Pod up."""

import pytest

from podtask.core.diagnosis import diagnose, is_pulling_badly
from tests.builders import MadePod, make_pod

PLACED = make_pod().scheduled()
CASES: dict[str, tuple[MadePod, str | None, bool]] = {
    "nothing": (PLACED, None, False),
    "gates": (make_pod().gated("kueue", "other"), "SchedulingGated", False),
    "no node": (make_pod().unschedulable(), "Unschedulable", False),
    "gated in the condition only": (
        make_pod().condition("PodScheduled", "SchedulingGated", status="False"),
        None,
        False,
    ),
    "no claim": (make_pod().unschedulable('persistentvolumeclaim "a" not found'), "ConfigError", False),
    "creating": (PLACED.waiting("ContainerCreating"), None, False),
    "bad pull": (PLACED.waiting("ErrImagePull", "401"), "ImagePullFailed", False),
    "wrong image name": (PLACED.waiting("InvalidImageName"), "ImagePullFailed", True),
    "no Secret": (PLACED.waiting("CreateContainerConfigError", 'secret "s" not found'), "ConfigError", False),
    "the sidecar crashes": (
        PLACED.with_result().waiting("CrashLoopBackOff", name="podtask-result"),
        "XComSidecarFailed",
        False,
    ),
    "another sidecar crashes": (
        PLACED.with_init("mesh", "Always").waiting("CrashLoopBackOff", name="mesh"),
        "InitContainerFailed",
        False,
    ),
    "the fatal one is told first": (
        PLACED.with_container("b").waiting("CreateContainerError").waiting("InvalidImageName", name="b"),
        "ImagePullFailed",
        True,
    ),
}


@pytest.mark.parametrize(("made", "reason", "fatal"), CASES.values(), ids=CASES)
def test_diagnose(made: MadePod, reason: str | None, fatal: bool) -> None:
    got = diagnose(made.build())
    assert (got.reason, got.is_fatal) == (reason, fatal) if got else reason is None


def test_words() -> None:
    got = diagnose(PLACED.waiting("ErrImagePull", "401").build())
    assert got is not None
    assert got.message == "container base: ErrImagePull: 401"
    got = diagnose(PLACED.with_result().waiting("ImagePullBackOff", name="podtask-result").build())
    assert got is not None
    assert (got.message, got.is_echo) == ("the result sidecar: ImagePullBackOff", True)


def test_a_bad_pull_is_seen_behind_another_problem() -> None:
    made = PLACED.with_container("b").waiting("CreateContainerError").waiting("ErrImagePull", name="b")
    assert is_pulling_badly(made.build())
    assert not is_pulling_badly(PLACED.running().build())
