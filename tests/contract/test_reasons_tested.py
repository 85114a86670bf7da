"""Each reason is named in a test on a real node, or here with why it cannot be: a new one that is in neither fails."""

import re
from pathlib import Path

import pytest

from podtask.api.reasons import Reason

NODE_TESTS = Path(__file__).parents[1] / "node"

ELSEWHERE = {
    Reason.NODE_SHUTDOWN: "The kubelet hears of a shutdown by systemd-logind alone, which the test machine does not"
    " have. tests/unit/core/test_termination.py has what it writes, and the simulation lives with it.",
    Reason.ATTEMPT_LIMIT_EXCEEDED: "A thousand real Pods for one test. tests/unit/core/test_decide.py counts to it.",
    Reason.INVALID_SPEC: "The API server's schema refuses what the controller cannot read; only an object from under"
    " another CRD can be such. tests/unit/core/test_decide.py judges one.",
    Reason.CONCURRENCY_LIMIT: "The platform's policy needs no kubelet: tests/integration/controller/test_policy.py.",
    Reason.POLICY_DENIED: "The platform's policy needs no kubelet: tests/integration/controller/test_policy.py.",
    Reason.SPEC_TOO_LARGE: "The platform's policy needs no kubelet: tests/integration/controller/test_policy.py.",
}
"""Reasons without a test on a node."""


def _named_in_tests() -> set[str]:
    text = "".join(path.read_text() for path in sorted(NODE_TESTS.glob("test_*.py")))
    return set(re.findall(r'"(\w+)"', text))


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_named_in_a_node_test_or_excused(reason: Reason) -> None:
    named = reason.value in _named_in_tests()
    assert named or reason in ELSEWHERE, f"{reason} is in no test under tests/node, and has no excuse here"


@pytest.mark.parametrize("reason", ELSEWHERE)
def test_an_excuse_names_a_place_that_is_there(reason: Reason) -> None:
    for path in re.findall(r"tests/[\w/]+\.py", ELSEWHERE[reason]):
        assert (NODE_TESTS.parents[1] / path).exists(), path
