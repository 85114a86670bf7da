"""One run in a worker, against a cluster in memory: results, deferral, kills and shutdowns."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes import FakeCluster, context, ends, operator_for
from podtask_airflow import constants, exceptions, version_compat
from podtask_airflow.hooks import api_errors
from podtask_airflow.operators import run
from podtask_airflow.utils import deferral
from podtask_airflow.utils import podtask as podtasks
from podtask_airflow.version_compat import AirflowException, AirflowFailException, AirflowTaskTimeout, TaskDeferred

XCOM = {"state": "Collected", "value": json.dumps({"a": None, "b": 2})}


@pytest.fixture(autouse=True)
def _in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_compat, "is_dag_test", lambda _: False)
    monkeypatch.setattr(version_compat, "triggerer_is_missing", lambda: False)


def state(monkeypatch: pytest.MonkeyPatch, value: str | Exception | None) -> None:
    """What Airflow says about the task instance."""

    def ask(_: Any) -> str | None:
        if isinstance(value, Exception):
            raise value
        return value

    monkeypatch.setattr(version_compat, "task_state", ask)


def runs(cluster: FakeCluster, task: Any) -> None:
    cluster.write(task, phase="Running", reason="Running", observedGeneration=1)


def test_sync_needs_three_requests_and_gives_the_result() -> None:
    cluster, given = FakeCluster(ends(xcom=XCOM)), context()
    assert operator_for(cluster, do_xcom_push=True).execute(given) == {"a": None, "b": 2}
    # The watch finds the end; its thread may not even have begun when the first answer is the end already.
    assert [r for r in cluster.requests if r != "WATCH"] == ["POST", "PATCH"]
    assert given["ti"].xcoms == {
        "podtask_name": cluster.only["metadata"]["name"],
        "pod_namespace": "default",
        "pod_name": "pod-1",
    }
    assert cluster.only["metadata"]["annotations"][constants.ANNOTATION_ACKNOWLEDGED]
    assert cluster.is_closed


def test_nothing_is_returned_unless_it_was_asked_for() -> None:
    assert operator_for(FakeCluster(ends(xcom=XCOM))).execute(context()) is None


def test_a_failure_is_typed_and_acknowledged() -> None:
    cluster = FakeCluster(ends("Failed", "OOMKilled", exitCode=137))
    with pytest.raises(exceptions.PodTaskFailed, match="OOMKilled"):
        operator_for(cluster).execute(context())
    assert cluster.only["metadata"]["annotations"][constants.ANNOTATION_ACKNOWLEDGED]


def test_a_failed_task_s_kept_result_is_pushed() -> None:
    cluster, given = FakeCluster(ends("Failed", "NonZeroExit", xcom=XCOM)), context()
    with pytest.raises(exceptions.PodTaskFailed):
        operator_for(cluster, do_xcom_push=True).execute(given)
    assert given["ti"].xcoms["return_value"] == {"a": None, "b": 2}


@pytest.mark.parametrize(
    ("phase", "kind"), [("Failed", exceptions.PodTaskFailed), ("Skipped", exceptions.PodTaskSkipped)]
)
def test_it_is_pushed_as_a_success_would_be(phase: str, kind: type[Exception]) -> None:
    cluster, given = FakeCluster(ends(phase, "NonZeroExit", xcom=XCOM)), context()
    with pytest.raises(kind):
        operator_for(cluster, do_xcom_push=True, multiple_outputs=True).execute(given)
    assert {"return_value": {"a": None, "b": 2}, "a": None, "b": 2}.items() <= given["ti"].xcoms.items()


@pytest.mark.parametrize("value", ["9" * 5000, '"never"', "[1e999]"])
def test_a_result_that_cannot_be_pushed_hides_no_failure(value: str) -> None:
    cluster, given = FakeCluster(ends("Failed", "OOMKilled", xcom={"state": "Collected", "value": value})), context()

    def refuse(key: str, value: Any) -> None:
        if key == "return_value":
            raise OverflowError(value)

    given["ti"].xcom_push = refuse
    with pytest.raises(exceptions.PodTaskFailed, match="OOMKilled"):
        operator_for(cluster, do_xcom_push=True).execute(given)


def test_a_result_that_messages_cannot_carry_fails_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 3.x it would fail in Airflow's own code; 2.x and a backend of one's own take it."""
    xcom = {"state": "Collected", "value": '{"file": "\\udcff.csv"}'}
    operator = operator_for(FakeCluster(ends(xcom=xcom)), do_xcom_push=True)
    monkeypatch.setattr(version_compat, "IS_3", True)
    with pytest.raises(exceptions.PodTaskResultError, match=r"XComInvalid .*lone surrogate"):
        operator.execute(context())
    monkeypatch.setenv("AIRFLOW__CORE__XCOM_BACKEND", "ours.S3Backend")
    assert operator_for(FakeCluster(ends(xcom=xcom)), do_xcom_push=True).execute(context()) == {"file": "\udcff.csv"}


def test_deferred_needs_three_requests() -> None:
    cluster = FakeCluster(runs)
    operator = operator_for(cluster, do_xcom_push=True, deferrable=True, get_logs=True)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context())
    assert cluster.requests == ["POST"]
    _, row = deferred.value.trigger.serialize()
    metadata = cluster.only["metadata"]
    assert (row["name"], row["uid"], row["namespace"]) == (metadata["name"], metadata["uid"], "default")
    assert row["owner"] == metadata["annotations"][constants.ANNOTATION_OWNER]
    assert row["deployment"] == metadata["labels"][constants.LABEL_DEPLOYMENT]

    ends(xcom=XCOM)(cluster, cluster.only)
    event = {"phase": "Succeeded", "pod_name": "pod-1", **{key: row[key] for key in ("name", "namespace", "uid")}}
    given = context()
    assert getattr(operator, deferred.value.method_name)(given, event) == {"a": None, "b": 2}
    assert cluster.requests == ["POST", "LOG", "PATCH"]
    assert given["ti"].xcoms["pod_name"] == "pod-1"


def test_a_deferred_task_that_no_trigger_finds_ends_in_a_day() -> None:
    cluster = FakeCluster(runs)
    with pytest.raises(TaskDeferred) as deferred:
        operator_for(cluster, deferrable=True).execute(context())
    at = datetime.fromisoformat(cluster.only["spec"]["cancelTime"])
    assert timedelta(hours=23) < at - datetime.now(UTC) < timedelta(hours=25)
    assert deferred.value.trigger.serialize()[1]["remove_cancel_time_seconds"] == run.REMOVE_CANCEL_AFTER_SECONDS


@pytest.mark.parametrize("is_test", [False, True])
def test_a_deferral_says_from_when_on_it_may_go_on(monkeypatch: pytest.MonkeyPatch, is_test: bool) -> None:
    monkeypatch.setattr(version_compat, "is_dag_test", lambda _: is_test)
    monkeypatch.setattr(deferral, "not_before", lambda _: 42.0)
    with pytest.raises(TaskDeferred) as deferred:
        operator_for(FakeCluster(runs), deferrable=True).execute(context())
    assert deferred.value.trigger.not_before == (None if is_test else 42.0)


def test_that_bound_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__PODTASK__UNATTENDED_SECONDS", "60")
    cluster = FakeCluster(runs)
    with pytest.raises(TaskDeferred) as deferred:
        operator_for(cluster, deferrable=True).execute(context())
    assert deferred.value.trigger.serialize()[1]["remove_cancel_time_seconds"] == 30
    monkeypatch.setenv("AIRFLOW__PODTASK__UNATTENDED_SECONDS", "0")
    without = FakeCluster(runs)
    with pytest.raises(TaskDeferred) as deferred:
        operator_for(without, deferrable=True).execute(context())
    assert "cancelTime" not in without.only["spec"]
    assert "remove_cancel_time_seconds" not in deferred.value.trigger.serialize()[1]


def test_a_bound_that_the_user_set_stays() -> None:
    cluster = FakeCluster(runs)
    with pytest.raises(TaskDeferred) as deferred:
        operator_for(cluster, deferrable=True, spec={"cancelTime": "2030-01-01T00:00:00Z"}).execute(context())
    assert cluster.only["spec"]["cancelTime"] == "2030-01-01T00:00:00Z"
    assert "remove_cancel_time_seconds" not in deferred.value.trigger.serialize()[1]


def test_a_task_that_its_own_worker_waits_for_has_no_bound() -> None:
    cluster = FakeCluster(ends())
    operator_for(cluster).execute(context())
    assert "cancelTime" not in cluster.only["spec"]


def test_a_task_that_ended_at_once_is_not_deferred_and_keeps_its_result() -> None:
    cluster = FakeCluster()
    left = operator_for(cluster, do_xcom_push=True, deferrable=True)
    with pytest.raises(TaskDeferred):
        left.execute(context())
    ends(xcom=XCOM)(cluster, cluster.only)
    again = context(try_number=2, id="ti-2")
    assert operator_for(cluster, do_xcom_push=True, deferrable=True).execute(again) == {"a": None, "b": 2}
    assert len(cluster.objects) == 1


@pytest.mark.parametrize(
    ("phase", "want"), [("Deleted", exceptions.PodTaskLost), ("NotReconciled", exceptions.PodTaskControllerNotFound)]
)
def test_other_events(phase: str, want: type) -> None:
    cluster = FakeCluster(runs)
    with pytest.raises(TaskDeferred):
        operator_for(cluster, deferrable=True).execute(context())
    event = {"phase": phase, "pod_name": None, "not_reconciled_seconds": 300, **pointer(cluster)}
    with pytest.raises(want):
        operator_for(cluster, deferrable=True).execute_complete(context(), event)
    assert cluster.only["spec"].get("cancel") is (True if phase == "NotReconciled" else None)


def test_a_triggerer_in_trouble_leaves_the_wait_to_the_worker() -> None:
    cluster = FakeCluster(runs)
    with pytest.raises(TaskDeferred):
        operator_for(cluster, deferrable=True, do_xcom_push=True).execute(context())
    event = {"phase": "WatchError", "pod_name": None, "message": "no route", **pointer(cluster)}
    threading.Timer(0.1, lambda: ends(xcom=XCOM)(cluster, cluster.only)).start()
    result = operator_for(cluster, deferrable=True, do_xcom_push=True).execute_complete(context(), event)
    assert result == {"a": None, "b": 2}
    assert "cancelTime" not in cluster.only["spec"], "a try waits now"


def pointer(cluster: FakeCluster) -> dict[str, Any]:
    metadata = cluster.only["metadata"]
    return {key: metadata[key] for key in ("name", "namespace", "uid")}


# Kill, shutdown, timeout


def once_it_runs(cluster: FakeCluster, act: Callable[[], object]) -> None:
    """Have something done a moment after the object is there, and not before, however slow the machine."""
    create = cluster.on_create
    assert create is not None

    def and_then(*args: Any) -> None:
        create(*args)
        threading.Timer(0.1, act).start()

    cluster.on_create = and_then


def killed_while_running(cluster: FakeCluster, operator: Any, given: Any) -> None:
    """Execute, and call on_kill as a signal handler would, once the task runs."""
    once_it_runs(cluster, operator.on_kill)
    operator.execute(given)


def test_a_user_s_kill_cancels_and_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    state(monkeypatch, "failed")
    cluster = FakeCluster(runs)
    with pytest.raises(exceptions.PodTaskTerminated):
        killed_while_running(cluster, operator_for(cluster), context())
    assert cluster.only["spec"]["cancel"] is True


def test_keep_pod_on_kill_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    state(monkeypatch, "failed")
    cluster = FakeCluster(runs)
    with pytest.raises(exceptions.PodTaskTerminated):
        killed_while_running(cluster, operator_for(cluster, on_kill_action="keep_pod"), context())
    assert "cancel" not in cluster.only["spec"]


def test_a_worker_s_shutdown_defers(monkeypatch: pytest.MonkeyPatch) -> None:
    state(monkeypatch, "running")
    cluster = FakeCluster(runs)
    with pytest.raises(TaskDeferred):
        killed_while_running(cluster, operator_for(cluster), context())
    assert "cancel" not in cluster.only["spec"]
    assert "cancelTime" not in cluster.only["spec"]


def test_without_a_triggerer_the_next_try_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    state(monkeypatch, "running")
    monkeypatch.setattr(version_compat, "triggerer_is_missing", lambda: True)
    cluster = FakeCluster(runs)
    operator = operator_for(cluster, retries=1, retry_delay=timedelta(minutes=10))
    with pytest.raises(exceptions.PodTaskTerminated, match="next try"):
        killed_while_running(cluster, operator, context(max_tries=1))
    at = datetime.fromisoformat(cluster.only["spec"]["cancelTime"])
    left = (at - datetime.now(UTC)).total_seconds()
    assert 3600 + 600 - 60 < left <= 3600 + 600


def test_without_a_triggerer_and_without_a_next_try_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    state(monkeypatch, "running")
    monkeypatch.setattr(version_compat, "triggerer_is_missing", lambda: True)
    cluster = FakeCluster(runs)
    with pytest.raises(exceptions.PodTaskTerminated):
        killed_while_running(cluster, operator_for(cluster), context(max_tries=0))
    assert cluster.only["spec"]["cancel"] is True


def test_airflow_that_does_not_answer_counts_as_a_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    state(monkeypatch, RuntimeError("the API server is gone as well"))
    cluster = FakeCluster(runs)
    with pytest.raises(exceptions.PodTaskTerminated):
        killed_while_running(cluster, operator_for(cluster, retries=1), context(max_tries=1))
    assert "cancel" not in cluster.only["spec"]
    assert "cancelTime" in cluster.only["spec"]


class Terminated(BaseException):
    """What Airflow 2 raises out of the signal handler, after on_kill."""


@pytest.mark.parametrize(("said", "want"), [("running", TaskDeferred), ("failed", exceptions.PodTaskTerminated)])
def test_airflow_2_raises_where_execute_stands(monkeypatch: pytest.MonkeyPatch, said: str, want: type) -> None:
    state(monkeypatch, said)
    cluster = FakeCluster(runs)
    operator = operator_for(cluster)

    def raised_by_the_handler(*_: Any, **__: Any) -> Any:
        operator.on_kill()
        raise Terminated

    operator_kill = raised_by_the_handler
    monkeypatch.setattr("podtask_airflow.utils.await_completion.CompletionWaiter.await_completion", operator_kill)
    with pytest.raises(want):
        operator.execute(context())
    assert cluster.only["spec"].get("cancel") is (True if said == "failed" else None)


def test_airflow_2_s_shutdown_after_the_end_uses_no_try(monkeypatch: pytest.MonkeyPatch) -> None:
    state(monkeypatch, "running")
    cluster = FakeCluster(ends(xcom=XCOM))
    operator = operator_for(cluster)

    def raised_by_the_handler(*_: Any, **__: Any) -> Any:
        operator.on_kill()
        raise Terminated

    cluster.patch = raised_by_the_handler  # type: ignore[method-assign]
    with pytest.raises(TaskDeferred):
        operator.execute(context())


def test_execution_timeout_cancels_whatever_the_state_says(monkeypatch: pytest.MonkeyPatch) -> None:
    state(monkeypatch, "running")
    cluster = FakeCluster(runs)
    operator = operator_for(cluster)

    def timeout(*_: Any, **__: Any) -> Any:
        raise AirflowTaskTimeout("too long")

    monkeypatch.setattr("podtask_airflow.utils.await_completion.CompletionWaiter.await_completion", timeout)
    with pytest.raises(AirflowTaskTimeout):
        operator.execute(context())
    operator.on_kill()
    assert cluster.only["spec"]["cancel"] is True


def test_a_kill_after_the_end_by_a_shutdown_still_gives_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    state(monkeypatch, "running")
    cluster = FakeCluster(ends(xcom=XCOM))
    operator = operator_for(cluster, do_xcom_push=True)
    real = cluster.create

    def create(*args: Any) -> Any:
        operator.on_kill()
        return real(*args)

    cluster.create = create  # type: ignore[method-assign]
    cluster.on_create = ends(xcom=XCOM)
    assert operator.execute(context()) == {"a": None, "b": 2}


def test_a_kill_after_the_end_by_a_user_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    state(monkeypatch, "failed")
    cluster = FakeCluster(ends(xcom=XCOM))
    operator = operator_for(cluster, do_xcom_push=True)
    real = cluster.patch

    def patch(*args: Any) -> Any:
        operator.on_kill()
        return real(*args)

    cluster.patch = patch  # type: ignore[method-assign]
    with pytest.raises(exceptions.PodTaskTerminated):
        operator.execute(context())


def test_an_orphaned_process_neither_cancels_nor_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    state(monkeypatch, "failed")
    cluster = FakeCluster(runs)
    operator = operator_for(cluster)

    def reattached_by_the_next_try() -> None:
        cluster.only["metadata"]["annotations"][constants.ANNOTATION_OWNER] = "ti-2"
        operator.on_kill()

    once_it_runs(cluster, reattached_by_the_next_try)
    with pytest.raises(exceptions.PodTaskTerminated):
        operator.execute(context())
    assert "cancel" not in cluster.only["spec"]

    orphan = FakeCluster(ends(xcom=XCOM))
    real = orphan.patch

    def patch(*args: Any) -> Any:
        orphan.only["metadata"]["annotations"][constants.ANNOTATION_OWNER] = "ti-2"
        return real(*args)

    orphan.patch = patch  # type: ignore[method-assign]
    with pytest.raises(exceptions.PodTaskLost, match="a later try"):
        operator_for(orphan).execute(context())


class Ended(BaseException):
    """Instead of the end of the process."""


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_forgotten_process_of_airflow_2_ends_without_a_word(monkeypatch: pytest.MonkeyPatch, is_killed: bool) -> None:
    """All tries share a row there: an error of this one would end the next one's."""

    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(version_compat, "IS_3", False)
    monkeypatch.setattr(version_compat.os, "_exit", end)
    monkeypatch.setattr(version_compat.logging, "shutdown", lambda: None)
    state(monkeypatch, "of another try")
    cluster = FakeCluster(runs if is_killed else ends(xcom=XCOM))
    operator, real = operator_for(cluster), cluster.watch if is_killed else cluster.patch

    def taken_over(*args: Any, **more: Any) -> Any:
        cluster.only["metadata"]["annotations"][constants.ANNOTATION_OWNER] = "ti-2"
        if is_killed:
            operator.on_kill()
        return real(*args, **more)

    setattr(cluster, "watch" if is_killed else "patch", taken_over)
    with pytest.raises(Ended):
        operator.execute(context())
    assert "cancel" not in cluster.only["spec"]


# Reattaching in a whole run


def test_the_next_try_takes_over_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    state(monkeypatch, RuntimeError("kill -9 leaves no trace"))
    cluster = FakeCluster(runs)
    with pytest.raises(exceptions.PodTaskTerminated):
        killed_while_running(cluster, operator_for(cluster, retries=1, do_xcom_push=True), context(max_tries=1))
    threading.Timer(0.1, lambda: ends(xcom=XCOM)(cluster, cluster.only)).start()
    second = context(try_number=2, max_tries=1, id="ti-2")
    assert operator_for(cluster, retries=1, do_xcom_push=True).execute(second) == {"a": None, "b": 2}
    assert podtasks.owner(cluster.only) == "ti-2"
    assert "cancelTime" not in cluster.only["spec"]


def test_dag_test_never_looks_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_compat, "is_dag_test", lambda _: True)
    cluster = FakeCluster(ends())
    operator_for(cluster).execute(context())
    operator_for(cluster).execute(context(try_number=2, id="ti-2"))
    operator_for(cluster).execute(context())
    assert "LIST" not in cluster.requests
    assert len(cluster.objects) == 3


def test_a_run_created_again_under_the_same_run_id_starts_afresh() -> None:
    cluster = FakeCluster(ends(xcom=XCOM))
    operator_for(cluster).execute(context(id="ti-1"))
    again = context(id="ti-9", run_start=datetime(2026, 5, 5, tzinfo=UTC))
    operator_for(cluster).execute(again)
    assert len(cluster.objects) == 2


# Refusals


REFUSALS: dict[str, tuple[api_errors.ApiError, bool]] = {
    "422": (api_errors.Invalid("spec.image: Required", status=422), False),
    "403": (api_errors.Forbidden("u cannot create", status=403), True),
    "401": (api_errors.Unauthorized("no", status=401), True),
    "no CRD": (api_errors.CrdMissing("no", status=404), True),
    "unreachable": (api_errors.Unreachable("no route"), True),
}


@pytest.mark.parametrize(("error", "retryable"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_one_sentence(error: api_errors.ApiError, retryable: bool) -> None:
    cluster = FakeCluster()
    cluster.fail = lambda request: error if request == "POST" else None
    with pytest.raises(AirflowException) as caught:
        operator_for(cluster).execute(context())
    assert str(caught.value) == str(error)
    assert isinstance(caught.value, AirflowFailException) is not retryable
    assert cluster.is_closed


def test_a_missing_controller_is_told_and_the_task_cancelled() -> None:
    cluster = FakeCluster()
    with pytest.raises(exceptions.PodTaskControllerNotFound):
        operator_for(cluster, controller_timeout=0).execute(context())
    assert cluster.only["spec"]["cancel"] is True


@pytest.mark.parametrize(("max_tries", "field"), [(1, "cancelTime"), (0, "cancel")])
def test_a_watch_that_is_refused_leaves_no_orphan(max_tries: int, field: str) -> None:
    cluster = FakeCluster()
    cluster.fail = lambda request: api_errors.Forbidden("no", status=403) if request in {"WATCH", "GET"} else None
    with pytest.raises(exceptions.PodTaskUnreachable):
        operator_for(cluster, api_outage_tolerance=0, retries=max_tries).execute(context(max_tries=max_tries))
    assert cluster.only["spec"][field]


def test_events_are_shown_on_failure(caplog: pytest.LogCaptureFixture) -> None:
    cluster = FakeCluster(ends("Failed", "NonZeroExit"))
    with pytest.raises(exceptions.PodTaskFailed):
        operator_for(cluster, log_events_on_failure=True).execute(context())
    assert "EVENTS" in cluster.requests
