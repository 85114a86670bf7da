"""From a status to a value or a typed exception whose first line is the cause."""

import json
import logging
from typing import Any

import pytest
from podtask_airflow import exceptions
from podtask_airflow.exceptions import PodTaskResultError
from podtask_airflow.utils import result
from podtask_airflow.version_compat import AirflowException, AirflowFailException, AirflowSkipException

LOG = logging.getLogger("test")


def ended(phase: str, reason: str, xcom: Any = None, **status: Any) -> dict[str, Any]:
    """A PodTask that has ended so."""
    last = {
        "number": 2,
        "podName": "pod-2",
        "nodeName": "node-7",
        "logTail": "Traceback\nboom",
        "exitCode": 3,
        "reason": "NonZeroExit",
    }
    status = {
        "phase": phase,
        "reason": reason,
        "attempts": [{"number": 1}, {**last, **status.pop("last", {})}],
        **status,
    }
    if xcom is not None:
        status["xcom"] = xcom
    env = [{"name": "DB_PASSWORD", "value": "hunter22"}]
    return {"metadata": {"name": "t", "namespace": "ns"}, "spec": {"xcom": {}, "env": env}, "status": status}


@pytest.mark.parametrize("value", ["null", '{"a": null, "b": [1, 2.5]}', '"text"', "0", '"{\\"twice\\": 1}"'])
def test_the_result_is_parsed_once(value: str) -> None:
    task = ended("Succeeded", "Completed", {"state": "Collected", "value": value})
    assert result.result_or_raise(task, LOG) == json.loads(value)


def test_no_result_was_asked_for() -> None:
    task = ended("Succeeded", "Completed")
    del task["spec"]["xcom"]
    assert result.result_or_raise(task, LOG) is None


def test_a_missing_result_is_none_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    task = ended("Succeeded", "Completed", {"state": "Empty", "reason": "XComMissing"})
    task["spec"]["xcom"] = {"path": "/out/result.json"}
    with caplog.at_level(logging.WARNING, "test"):
        assert result.result_or_raise(task, LOG) is None
    assert "/out/result.json" in caplog.text


def test_a_lost_result_never_passes_as_success() -> None:
    with pytest.raises(exceptions.PodTaskFailed):
        result.result_or_raise(ended("Succeeded", "Completed", {"state": "Failed", "reason": "XComLost"}), LOG)


KINDS: dict[str, tuple[dict[str, Any], type, bool]] = {
    "the task's own failure": (ended("Failed", "NonZeroExit"), exceptions.PodTaskFailed, True),
    "out of memory": (ended("Failed", "OOMKilled"), exceptions.PodTaskFailed, True),
    "evicted": (ended("Failed", "Evicted"), exceptions.PodTaskDisrupted, True),
    "disrupted too often": (ended("Failed", "DisruptionLimitExceeded"), exceptions.PodTaskDisrupted, True),
    "failed too often": (ended("Failed", "BackoffLimitExceeded"), exceptions.PodTaskFailed, True),
    "a deadline": (ended("Failed", "RunDeadlineExceeded"), exceptions.PodTaskDeadlineExceeded, True),
    "the image pull's deadline": (
        ended("Failed", "ImagePullDeadlineExceeded"),
        exceptions.PodTaskDeadlineExceeded,
        True,
    ),
    "cancelled": (ended("Cancelled", "Cancelled"), exceptions.PodTaskCancelled, True),
    "no try reattached": (ended("Cancelled", "CancelTimeReached"), exceptions.PodTaskCancelled, True),
    "no result": (ended("Failed", "XComMissing"), exceptions.PodTaskResultError, True),
    "a spec that breaks a rule": (ended("Failed", "InvalidSpec"), exceptions.PodTaskConfigurationError, False),
    "forbidden by the cluster": (ended("Failed", "AdmissionDenied"), exceptions.PodTaskConfigurationError, False),
    "larger than the platform takes": (
        ended("Failed", "SpecTooLarge"),
        exceptions.PodTaskConfigurationError,
        False,
    ),
    "forbidden by the platform": (ended("Failed", "PolicyDenied"), exceptions.PodTaskConfigurationError, False),
    "a Pod that the API refuses": (ended("Failed", "InvalidPodTemplate"), exceptions.PodTaskConfigurationError, False),
}


@pytest.mark.parametrize(("task", "kind", "retryable"), KINDS.values(), ids=KINDS)
def test_every_end_has_its_type(task: dict[str, Any], kind: type, retryable: bool) -> None:
    with pytest.raises(AirflowException) as caught:
        result.result_or_raise(task, LOG)
    assert type(caught.value) is kind
    assert isinstance(caught.value, AirflowFailException) is not retryable


def test_skip() -> None:
    with pytest.raises(AirflowSkipException):
        result.result_or_raise(ended("Skipped", "Skipped"), LOG)


def test_the_headline_is_the_cause_and_the_tail_follows() -> None:
    task = ended("Failed", "OOMKilled", exitCode=137, message="limit 512Mi")
    with pytest.raises(exceptions.PodTaskFailed) as caught:
        result.result_or_raise(task, LOG)
    head, *tail = str(caught.value).splitlines()
    assert head == "PodTask ns/t Failed, OOMKilled (container base, exit code 137, node node-7, attempt 2): limit 512Mi"
    assert tail == ["--- last lines of container base ---", "Traceback", "boom"]
    assert "hunter22" not in str(caught.value)
    found = caught.value
    assert (found.reason, found.exit_code, found.node, found.attempt, found.pod_name) == (
        "OOMKilled",
        137,
        "node-7",
        2,
        "pod-2",
    )


def test_a_limit_tells_what_the_last_attempt_died_of() -> None:
    task = ended(
        "Failed", "BackoffLimitExceeded", message="3 attempts", last={"reason": "OOMKilled", "message": "512Mi"}
    )
    assert "OOMKilled: 512Mi (3 attempts)" in str(result.failure(task))


def test_a_failed_task_may_leave_a_result() -> None:
    assert result.kept_result(ended("Failed", "NonZeroExit", {"state": "Collected", "value": "[1]"})) == [1]
    assert result.kept_result(ended("Failed", "NonZeroExit", {"state": "Dropped"})) is None


NOT_CARRIED = {
    r'{"file": "\udcff.csv"}': "lone surrogate",
    r'{"\ud800": 1}': "lone surrogate",
    r'[["a\u0000b"]]': "NUL",
    '{"id": 12345678901234567890123}': "more than 64 bits",
    '{"id": -9223372036854775809}': "more than 64 bits",
    "[1e999]": "beyond the range",
    "[" * 101 + "]" * 101: "nested deeper than 100",
}


@pytest.mark.parametrize(("text", "why"), NOT_CARRIED.items())
def test_what_airflow_cannot_carry(text: str, why: str) -> None:
    assert why in str(result.not_serializable(json.loads(text)))


CARRIED = (
    r'{"city": "\u0141\u00f3d\u017a \ud83c\udf89"}',
    "[18446744073709551615, -9223372036854775808]",
    "[1.5, true, null]",
)


@pytest.mark.parametrize("text", CARRIED)
def test_what_airflow_carries(text: str) -> None:
    assert result.not_serializable(json.loads(text)) is None


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000])
def test_a_result_that_python_cannot_read_is_named(text: str) -> None:
    with pytest.raises(PodTaskResultError, match=r"XComInvalid .*: the result "):
        result.result_of(ended("Succeeded", "Completed", {"state": "Collected", "value": text}), LOG)


def test_exceptions_survive_pickling() -> None:
    import pickle

    error = pickle.loads(  # noqa: S301
        pickle.dumps(result.failure(ended("Failed", "Evicted")))
    )
    assert type(error) is exceptions.PodTaskDisrupted
    assert error.reason == "Evicted"
