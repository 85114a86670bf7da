"""Ordered rules; the first that matches decides."""

from typing import Any

import pytest

from podtask.api.v1alpha1.values import AttemptOutcome
from podtask.core.failurepolicy import match
from podtask.core.termination import Termination
from tests.builders import MadePod, make_pod, make_task

FAILED = Termination(AttemptOutcome.FAILED, "NonZeroExit", exit_code=42)


def codes(operator: str, *values: int, **more: Any) -> dict[str, Any]:
    return {"onExitCodes": {"operator": operator, "values": values, **more}}


CASES: dict[str, tuple[list[dict[str, Any]], MadePod | None, str | None]] = {
    "no rule matches": ([codes("In", 1) | {"action": "Fail"}], make_pod(), None),
    "a code is listed": ([codes("In", 1, 42) | {"action": "Fail"}], make_pod(), "Fail"),
    "a code is not listed": ([codes("NotIn", 1) | {"action": "Skip"}], make_pod(), "Skip"),
    "the first of two wins": (
        [codes("In", 42) | {"action": "Ignore"}, codes("In", 42) | {"action": "Fail"}],
        make_pod(),
        "Ignore",
    ),
    "another container's code": (
        [codes("In", 7, containerName="side") | {"action": "Retry"}],
        make_pod().with_container("side").exit(7, name="side"),
        "Retry",
    ),
    "another container that lives": (
        [codes("NotIn", 7, containerName="side") | {"action": "Retry"}],
        make_pod().with_container("side").running(name="side"),
        None,
    ),
    "another container of a Pod that vanished": (
        [codes("In", 7, containerName="side") | {"action": "Retry"}],
        None,
        None,
    ),
    "a reason": ([{"onReasons": {"values": ["NonZeroExit"]}, "action": "Fail"}], make_pod(), "Fail"),
    "another reason": ([{"onReasons": {"values": ["Evicted"]}, "action": "Fail"}], make_pod(), None),
    "a condition": (
        [{"onPodConditions": [{"type": "DisruptionTarget"}], "action": "Ignore"}],
        make_pod().condition("DisruptionTarget"),
        "Ignore",
    ),
    "a condition of another status": (
        [{"onPodConditions": [{"type": "DisruptionTarget"}], "action": "Ignore"}],
        make_pod().condition("DisruptionTarget", status="False"),
        None,
    ),
    "a condition of a Pod that vanished": (
        [{"onPodConditions": [{"type": "DisruptionTarget"}], "action": "Ignore"}],
        None,
        None,
    ),
    "an action of a newer API is passed over": (
        [codes("In", 42) | {"action": "Escalate"}, codes("In", 42) | {"action": "Fail"}],
        make_pod(),
        "Fail",
    ),
}


@pytest.mark.parametrize(("rules", "made", "want"), CASES.values(), ids=CASES)
def test_match(rules: list[dict[str, Any]], made: MadePod | None, want: str | None) -> None:
    policy = make_task(failure_policy={"rules": rules}).build().spec.failure_policy
    assert match(policy, made.build() if made else None, FAILED, "base") == want


def test_exit_code_zero_never_matches() -> None:
    policy = make_task(failure_policy={"rules": [codes("NotIn", 1) | {"action": "Fail"}]}).build().spec.failure_policy
    killed = Termination(AttemptOutcome.FAILED, "OOMKilled", exit_code=0)
    assert match(policy, None, killed, "base") is None
