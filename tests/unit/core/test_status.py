"""Conditions: whole as metav1.Condition, and true for `kubectl wait` and kstatus (helm, Flux) in every phase."""

import re
from typing import Any

import msgspec
import pytest

from podtask.api.reasons import Reason
from podtask.api.v1alpha1.values import AttemptOutcome, Phase
from podtask.core import status
from podtask.core.snapshot import Task, TaskStatus
from podtask.core.termination import Termination
from tests.builders import at, make_attempt, make_task
from tests.crd import judge

GENERATION = 3
TASK = make_task().metadata(generation=GENERATION).build()


def _after(task: Task, written: TaskStatus) -> Task:
    return msgspec.structs.replace(task, status=written)


def _running(task: Task = TASK) -> TaskStatus:
    return status.with_reason(task, Phase.RUNNING, Reason.RUNNING, "")


def _finished(phase: Phase, reason: Reason, message: str = "", before: TaskStatus | None = None) -> TaskStatus:
    return status.finished(TASK, before or _running(), phase, reason, message, at(9))


def _truths(written: TaskStatus) -> dict[str, str]:
    return {c.type: c.status for c in written.conditions}


ENDS = {
    Phase.SUCCEEDED: (Reason.COMPLETED, {"Finished": "True", "Succeeded": "True"}),
    Phase.SKIPPED: (Reason.SKIPPED, {"Finished": "True", "Succeeded": "False"}),
    Phase.FAILED: (Reason.NON_ZERO_EXIT, {"Finished": "True", "Succeeded": "False", "Stalled": "True"}),
    Phase.CANCELLED: (Reason.CANCELLED, {"Finished": "True", "Succeeded": "False", "Stalled": "True"}),
}


@pytest.mark.parametrize("phase", ENDS)
def test_the_conditions_of_an_end(phase: Phase) -> None:
    reason, want = ENDS[phase]
    written = _finished(phase, reason)
    assert _truths(written) == want
    for condition in written.conditions:
        assert (condition.reason, condition.last_transition_time) == (reason, at(9))
        assert (condition.observed_generation, bool(condition.message)) == (GENERATION, True)


def test_a_task_is_reconciling_from_its_creation_to_its_end() -> None:
    (condition,) = _running().conditions
    assert (condition.type, condition.status, condition.last_transition_time) == ("Reconciling", "True", at(0))
    assert condition.observed_generation == GENERATION


def test_a_time_that_is_unknown_is_not_invented() -> None:
    """Every API server sets a creation time, but the API does not promise it."""
    metadata = msgspec.structs.replace(TASK.metadata, creation_timestamp=None)
    assert not _running(msgspec.structs.replace(TASK, metadata=metadata)).conditions


def test_an_unchanged_condition_is_not_written_again() -> None:
    """A merge patch would have the whole list in it."""
    first = _running()
    again = status.with_reason(_after(TASK, first), Phase.RUNNING, Reason.NODE_UNREACHABLE, "the node is gone")
    assert again.conditions == first.conditions
    edited = msgspec.structs.replace(TASK, metadata=msgspec.structs.replace(TASK.metadata, generation=4), status=first)
    (condition,) = _running(edited).conditions
    assert (condition.observed_generation, condition.last_transition_time) == (4, at(0))


def test_a_task_between_attempts_is_reconciling() -> None:
    """Also where the end of the first attempt is the first thing that is written."""
    ended = Termination(outcome=AttemptOutcome.FAILED, reason=Reason.NON_ZERO_EXIT, exit_code=1)
    written = status.recorded(TASK, make_attempt(), ended, None, at(5), (1, 0))
    waiting = status.waiting_for_next(written, Reason.BACKOFF, "", at(20))
    assert _truths(waiting) == {"Reconciling": "True"}


def test_a_suspended_task_is_what_was_asked_for() -> None:
    suspended = status.suspended(_after(TASK, _running()), at(4))
    assert _truths(suspended) == {"Suspended": "True"}
    resumed = status.resumed(_after(TASK, suspended), at(7))
    assert _truths(resumed) == {"Suspended": "False", "Reconciling": "True"}
    assert {c.last_transition_time for c in resumed.conditions} == {at(7)}
    assert resumed.suspended_seconds == 3
    ended = _finished(Phase.SUCCEEDED, Reason.COMPLETED, before=resumed)
    assert _truths(ended) == {"Suspended": "False", "Finished": "True", "Succeeded": "True"}


def test_what_failed_is_in_the_condition_that_tools_show() -> None:
    written = _finished(Phase.FAILED, Reason.NON_ZERO_EXIT, "container base: exit code 3" + "!" * 5000)
    stalled = written.condition("Stalled")
    assert stalled is not None
    assert re.fullmatch(r"container base: exit code 3!+", stalled.message)
    assert len(stalled.message) == 256, "it is held in the cache"
    assert len(written.message) == 4096


@pytest.mark.parametrize("phase", ENDS)
def test_an_edit_of_a_finished_task_is_observed_in_every_condition(phase: Phase) -> None:
    """`kubectl wait --for=condition=Finished` compares the generation of the condition with the object's."""
    before = _finished(phase, ENDS[phase][0], "as it was")
    held = msgspec.structs.replace(
        before,
        message="",
        conditions=tuple(
            c if c.type == "Stalled" else msgspec.structs.replace(c, message="") for c in before.conditions
        ),
    )
    edited = msgspec.structs.replace(TASK, metadata=msgspec.structs.replace(TASK.metadata, generation=4), status=held)
    after = status.observed(edited)
    assert after.observed_generation == 4
    assert {c.observed_generation for c in after.conditions} == {4}
    unchanged = (msgspec.structs.replace(c, observed_generation=GENERATION) for c in after.conditions)
    assert tuple(unchanged) == before.conditions


WRITTEN: dict[str, TaskStatus] = {
    "running": _running(),
    "suspended": status.suspended(TASK, at(4)),
    "resumed": status.resumed(_after(TASK, status.suspended(TASK, at(4))), at(7)),
    **{phase.value: _finished(phase, reason) for phase, (reason, _) in ENDS.items()},
}


@pytest.mark.parametrize("case", WRITTEN)
def test_the_crd_accepts_what_is_written(case: str) -> None:
    wire: Any = msgspec.json.decode(msgspec.json.encode(WRITTEN[case]))
    head = {"apiVersion": "podtask.dev/v1alpha1", "kind": "PodTask", "metadata": {"name": "any"}}
    assert judge.schema_problems({**head, "spec": {"image": "x"}, "status": wire}) == []
    for condition in wire["conditions"]:
        assert condition.keys() == {
            "type", "status", "reason", "message", "lastTransitionTime", "observedGeneration"
        }  # fmt: skip
