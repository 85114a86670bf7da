"""The operator on a real cluster with a real kubelet and our controller: results, logs, kills, reattaching, refusals.

PODTASK_TEST_KUBECONFIG leads to a cluster where a controller runs. A context made by hand stands for Airflow's task
runner, and a queue of our own for its signals; the rest is what runs in production, of every Airflow version.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import context
from podtask_airflow import PodTaskOperator, constants, exceptions, version_compat
from podtask_airflow.hooks.podtask import PodTaskClient
from podtask_airflow.utils import podtask as podtasks
from podtask_airflow.version_compat import AirflowFailException, AirflowSkipException, TaskDeferred
from wire import client_of

IMAGE = "localhost/podtask/python:dev"


@pytest.fixture(autouse=True)
def _in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_compat, "is_dag_test", lambda _: False)
    monkeypatch.setattr(version_compat, "triggerer_is_missing", lambda: False)


@pytest.fixture
def client(kubeconfig: Path) -> Iterator[PodTaskClient]:
    """A client of the cluster."""
    made = client_of(kubeconfig)
    yield made
    made.close()


@pytest.fixture
def given() -> dict[str, Any]:
    """A context whose dag exists only in this test."""
    return context(dag_id=f"dag-{uuid.uuid4().hex[:10]}", id=f"ti-{uuid.uuid4()}")


@pytest.fixture
def sh(kubeconfig: Path, namespace: str) -> Callable[..., Any]:
    """Make an operator that runs a shell script."""

    def make(script: str, **more: Any) -> Any:
        return PodTaskOperator(
            **{
                "task_id": "task",
                "image": IMAGE,
                "image_pull_policy": "IfNotPresent",
                "cmds": ["sh", "-c"],
                "arguments": [script],
                "config_file": str(kubeconfig),
                "kubernetes_conn_id": None,
                "namespace": namespace,
                "termination_grace_period": 1,
                **more,
            }
        )

    return make


def mine(client: PodTaskClient, namespace: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    """The PodTasks of the test's dag."""
    dag = given["ti"].dag_id
    found = client.list(namespace, constants.LABEL_TASK_KEY)
    return [task for task in found if task["metadata"]["annotations"].get(constants.ANNOTATION_DAG) == dag]


def until(check: Callable[[], Any], seconds: float = 180) -> Any:
    """Ask until the answer is true."""
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.1)
    return found


RESULT = """echo '{"a": null, "b": "x"}' > /airflow/xcom/return.json"""


def test_result_logs_and_xcoms(sh: Any, given: Any, caplog: pytest.LogCaptureFixture) -> None:
    operator = sh(f"echo first; {RESULT}; sleep 1; echo ERROR last", do_xcom_push=True)
    lines: list[str] = []
    operator.log_formatter = lambda container, line: lines.append(line) or line
    assert operator.execute(given) == {"a": None, "b": "x"}
    assert lines == ["first", "ERROR last"]
    xcoms = given["ti"].xcoms
    assert xcoms["pod_name"].startswith(xcoms["podtask_name"])
    assert set(xcoms) == {"pod_name", "podtask_name", "pod_namespace"}


def test_the_task_is_acknowledged_and_labelled(sh: Any, given: Any, client: PodTaskClient, namespace: str) -> None:
    sh("true", labels={"team": "x"}).execute(given)
    (task,) = mine(client, namespace, given)
    assert task["metadata"]["annotations"][constants.ANNOTATION_ACKNOWLEDGED] == given["ti"].id
    labels = task["spec"]["template"]["metadata"]["labels"]
    assert labels["dag_id"] == given["ti"].dag_id
    assert labels["team"] == "x"
    assert task["status"]["phase"] == "Succeeded"


def test_a_failure_tells_its_cause_first(sh: Any, given: Any) -> None:
    with pytest.raises(exceptions.PodTaskFailed) as caught:
        sh("echo about to fail; exit 3", env_vars={"DB_PASSWORD": "hunter22"}).execute(given)
    assert caught.value.exit_code == 3
    assert caught.value.reason in {"NonZeroExit", "BackoffLimitExceeded"}
    assert "exit code 3" in str(caught.value).splitlines()[0]
    assert "about to fail" in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_skip_on_exit_code(sh: Any, given: Any) -> None:
    with pytest.raises(AirflowSkipException):
        sh("exit 99", skip_on_exit_code=99).execute(given)


def test_a_missing_result(sh: Any, given: Any) -> None:
    assert sh("true", do_xcom_push=True).execute(given) is None


def test_a_required_result_that_is_missing(sh: Any, given: Any) -> None:
    with pytest.raises(exceptions.PodTaskResultError, match="XComMissing"):
        sh("true", do_xcom_push=True, xcom_required=True).execute(given)


def test_a_spec_that_the_api_refuses_is_not_retried(sh: Any, given: Any) -> None:
    with pytest.raises(AirflowFailException, match="noSuchField"):
        sh("true", spec={"noSuchField": 1}).execute(given)


def test_a_pod_that_the_api_refuses_is_not_retried(sh: Any, given: Any) -> None:
    operator = sh("true", full_pod_spec={"spec": {"containers": [{"name": "base", "noSuchField": 1}]}})
    with pytest.raises(AirflowFailException, match="noSuchField"):
        operator.execute(given)


def test_a_deadline(sh: Any, given: Any) -> None:
    with pytest.raises(exceptions.PodTaskDeadlineExceeded, match="RunDeadlineExceeded"):
        sh("sleep 60", active_deadline_seconds=1).execute(given)


async def first_event(row: tuple[str, dict[str, Any]]) -> Any:
    """Make a trigger out of its row, as a triggerer does, and run it to its event."""
    path, fields = row
    module, _, name = path.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(fields)))
    async with asyncio.timeout(180):
        return (await anext(trigger.run())).payload


def test_deferred(sh: Any, given: Any, client: PodTaskClient, namespace: str) -> None:
    operator = sh(f"echo hi; {RESULT}", do_xcom_push=True, deferrable=True)
    lines: list[str] = []
    operator.log_formatter = lambda container, line: lines.append(line) or line
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(given)
    event = asyncio.run(first_event(deferred.value.trigger.serialize()))
    (task,) = mine(client, namespace, given)
    assert event["pod_name"] == task["status"]["attempts"][-1]["podName"]
    assert (event["phase"], event["uid"]) == ("Succeeded", task["metadata"]["uid"])
    assert getattr(operator, deferred.value.method_name)(given, event) == {"a": None, "b": "x"}
    assert lines == ["hi"]


def started(client: PodTaskClient, namespace: str, given: Any) -> Any:
    """Wait until the task runs."""
    return until(lambda: next((t for t in mine(client, namespace, given) if t["status"]["phase"] == "Running"), None))


def killed(operator: Any, given: Any, client: PodTaskClient, namespace: str) -> None:
    """Execute, and kill once it runs."""

    def kill() -> None:
        started(client, namespace, given)
        operator.on_kill()

    threading.Thread(target=kill).start()
    operator.execute(given)


def test_a_user_s_kill_stops_the_pod(
    sh: Any, given: Any, client: PodTaskClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_compat, "task_state", lambda _: "failed")
    with pytest.raises(exceptions.PodTaskTerminated):
        killed(sh("sleep 300"), given, client, namespace)
    ended = until(lambda: next((t for t in mine(client, namespace, given) if t["status"].get("completionTime")), None))
    assert ended["status"]["phase"] == "Cancelled"


def test_a_shutdown_defers_and_one_pod_ends_the_task(
    sh: Any, given: Any, client: PodTaskClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_compat, "task_state", lambda _: "running")
    operator = sh(f"sleep 4; {RESULT}", do_xcom_push=True)
    with pytest.raises(TaskDeferred) as deferred:
        killed(operator, given, client, namespace)
    _, row = deferred.value.trigger.serialize()
    until(lambda: client.get(namespace, row["name"])["status"]["phase"] == "Succeeded")
    event = {"phase": "Succeeded", "pod_name": None, **{key: row[key] for key in ("name", "namespace", "uid")}}
    assert operator.execute_complete(given, event) == {"a": None, "b": "x"}
    assert client.get(namespace, row["name"])["status"]["attemptCount"] == 1


def test_the_next_try_takes_over_and_the_orphan_can_do_nothing(
    sh: Any, given: Any, client: PodTaskClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_compat, "task_state", lambda _: "running")
    monkeypatch.setattr(version_compat, "triggerer_is_missing", lambda: True)
    given["ti"].max_tries = 1
    script = f"sleep 5; {RESULT}"
    with pytest.raises(exceptions.PodTaskTerminated):
        killed(sh(script, do_xcom_push=True, retries=1), given, client, namespace)
    (left,) = mine(client, namespace, given)
    assert left["spec"]["cancelTime"]
    orphan_id = given["ti"].id

    second = {
        **given,
        "ti": context(dag_id=given["ti"].dag_id, id=f"ti-{uuid.uuid4()}", try_number=2, max_tries=1)["ti"],
    }
    assert sh(script, do_xcom_push=True, retries=1).execute(second) == {"a": None, "b": "x"}
    (task,) = mine(client, namespace, given)
    assert task["metadata"]["annotations"][constants.ANNOTATION_OWNER] == second["ti"].id != orphan_id
    assert "cancelTime" not in task["spec"]
    assert task["status"]["attemptCount"] == 1


def test_a_finished_task_s_result_is_taken_and_never_made_again(
    sh: Any, given: Any, client: PodTaskClient, namespace: str
) -> None:
    given["ti"].max_tries = 1
    with pytest.raises(TaskDeferred):
        sh(RESULT, do_xcom_push=True, deferrable=True, retries=1).execute(given)
    until(lambda: mine(client, namespace, given)[0]["status"]["phase"] == "Succeeded")
    second = {**given, "ti": context(dag_id=given["ti"].dag_id, id="ti-second", try_number=2, max_tries=1)["ti"]}
    assert sh("exit 1", do_xcom_push=True, retries=1).execute(second) == {"a": None, "b": "x"}
    assert len(mine(client, namespace, given)) == 1


def test_a_clear_stops_the_old_one_before_the_new_one_starts(
    sh: Any, given: Any, client: PodTaskClient, namespace: str
) -> None:
    with pytest.raises(TaskDeferred):
        sh("sleep 300", deferrable=True).execute(given)
    started(client, namespace, given)
    cleared = {**given, "ti": context(dag_id=given["ti"].dag_id, id="ti-cleared", try_number=2, max_tries=1)["ti"]}
    sh("true").execute(cleared)
    old, new = sorted(mine(client, namespace, given), key=lambda task: task["metadata"]["creationTimestamp"])
    assert old["status"]["phase"] == "Cancelled"
    assert new["status"]["phase"] == "Succeeded"
    assert old["status"]["completionTime"] <= new["metadata"]["creationTimestamp"]


def test_a_function_in_a_pod(kubeconfig: Path, namespace: str, given: Any) -> None:
    from fakes import dag_of
    from podtask_airflow.decorators.podtask import podtask_task

    @podtask_task(
        image=IMAGE,
        image_pull_policy="IfNotPresent",
        config_file=str(kubeconfig),
        kubernetes_conn_id=None,
        namespace=namespace,
        security_context={"runAsUser": 1000},
    )
    def table(rows: list, factor: tuple) -> dict:
        import os

        print("computing")
        return {"sum": sum(rows) * factor[0], "user": os.getuid()}

    with dag_of():
        operator = table([1, 2, 3], (2,)).operator
    assert operator.execute(given) == {"sum": 12, "user": 1000}


def test_callbacks_get_the_living_pod(sh: Any, given: Any) -> None:
    from podtask_airflow import PodTaskCallback

    seen: list[Any] = []

    class Notes(PodTaskCallback):
        @staticmethod
        def on_pod_starting(*, pod: Any, client: Any, **_: Any) -> None:
            seen.append((pod.status.phase, type(client).__name__))

        @staticmethod
        def on_pod_completion(*, pod: Any, **_: Any) -> None:
            seen.append(pod.spec.containers[0].image)

    sh("sleep 2", callbacks=Notes).execute(given)
    assert seen == [("Running", "CoreV1Api"), IMAGE]


def test_the_pod_that_a_mutation_hook_changed_runs(sh: Any, given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def hook(pod: Any) -> None:
        for container in pod.spec.containers:
            container.args = ["echo '\"hooked\"' > /airflow/xcom/return.json"]

    monkeypatch.setattr(version_compat, "pod_mutation_hook", lambda: hook)
    assert sh("exit 1", do_xcom_push=True).execute(given) == "hooked"


def test_a_task_that_somebody_cancels_ends_so(sh: Any, given: Any, client: PodTaskClient, namespace: str) -> None:
    operator = sh("true", spec={"suspend": True})

    def cancel() -> None:
        task = until(
            lambda: next((t for t in mine(client, namespace, given) if t["status"]["phase"] == "Suspended"), None)
        )
        client.patch(namespace, task["metadata"]["name"], [podtasks.CANCEL])

    threading.Thread(target=cancel).start()
    with pytest.raises(exceptions.PodTaskCancelled):
        operator.execute(given)


def test_a_task_that_no_controller_takes_up_is_reported(
    sh: Any, given: Any, client: PodTaskClient, namespace: str
) -> None:
    """Its namespace's tasks belong to another controller as far as ours knows; the waiter does not know that."""
    operator = sh("true", controller_timeout=1, startup_timeout_seconds=1, deadlines={"scheduleSeconds": None})
    build = operator.build_podtask

    def for_another(*args: Any) -> Any:
        body = build(*args)
        body["spec"]["managedBy"] = "podtask.dev/other"
        return body

    operator.build_podtask = for_another
    waited = pytest.MonkeyPatch()
    waited.setattr("podtask_airflow.utils.await_completion._PODTASK_CONTROLLER", "podtask.dev/other")
    try:
        with pytest.raises(exceptions.PodTaskControllerNotFound, match="controller is not running"):
            operator.execute(given)
    finally:
        waited.undo()
    (task,) = mine(client, namespace, given)
    assert task["spec"]["cancel"] is True
