"""KubernetesPodOperator's callbacks: which are called when, with what, and which are refused."""

from types import SimpleNamespace
from typing import Any

import pytest
from fakes import FakeCluster, context, ends, operator_for
from podtask_airflow import PodTaskCallback, version_compat
from podtask_airflow.utils.arguments import ArgumentError
from podtask_airflow.version_compat import TaskDeferred

CALLS: list[tuple[str, dict[str, Any]]] = []


class CoreApi:
    """A CoreV1Api whose Pods are all there."""

    def read_namespaced_pod(self, name: str, namespace: str) -> Any:
        return SimpleNamespace(metadata=SimpleNamespace(name=name, namespace=namespace))


class Ours(PodTaskCallback):
    """Records its calls."""

    @staticmethod
    def on_sync_client_creation(**given: Any) -> None:
        CALLS.append(("client", given))

    @staticmethod
    def on_pod_manifest_created(*, pod_request: Any, **given: Any) -> None:
        CALLS.append(("manifest", given))
        pod_request.metadata.labels["from"] = "callback"

    @staticmethod
    def on_pod_creation(*, pod: Any, context: Any) -> None:
        CALLS.append(("creation", {"pod": pod, "context": context}))

    @staticmethod
    def on_pod_completion(**given: Any) -> None:
        CALLS.append(("completion", given))

    @staticmethod
    def on_pod_teardown(**given: Any) -> None:
        CALLS.append(("teardown", given))

    @staticmethod
    def on_pod_cleanup(**given: Any) -> None:
        CALLS.append(("cleanup", given))

    @staticmethod
    def on_operator_resuming(**given: Any) -> None:
        CALLS.append(("resuming", given))


class Starting(PodTaskCallback):
    """Wants to know of the start."""

    @staticmethod
    def on_pod_starting(**given: Any) -> None:
        CALLS.append(("starting", given))


class Lines(PodTaskCallback):
    """Wants each line."""

    @staticmethod
    def progress_callback(*, line: str, container_name: str, **_: Any) -> None:
        CALLS.append(("line", {"line": line, "container_name": container_name}))


class KubernetesPodOperatorCallback:
    """As the original provider has it: a base with empty methods of the same names."""

    @staticmethod
    def on_pod_starting(**_: Any) -> None:
        raise AssertionError("the base's methods are not called")

    @staticmethod
    def on_pod_completion(**_: Any) -> None:
        raise AssertionError("the base's methods are not called")


class Theirs(KubernetesPodOperatorCallback):
    """Written for the original operator, for an older version of it."""

    @staticmethod
    def on_pod_completion(*, pod: Any, client: Any, mode: str) -> None:
        CALLS.append(("theirs", {"pod": pod, "client": client, "mode": mode}))


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    CALLS.clear()
    monkeypatch.setattr(version_compat, "is_dag_test", lambda _: False)


def operator(cluster: FakeCluster, *classes: type, **more: Any) -> Any:
    task = operator_for(cluster, callbacks=list(classes), **more)
    task.make_core_api = lambda _: CoreApi()
    return task


def test_sync_tells_everything_in_order() -> None:
    cluster = FakeCluster(ends())
    operator(cluster, Ours).execute(context())
    assert [name for name, _ in CALLS] == ["client", "manifest", "creation", "completion", "teardown", "cleanup"]
    assert cluster.only["spec"]["template"]["metadata"]["labels"]["from"] == "callback"
    completion = dict(CALLS)["completion"]
    assert isinstance(completion["client"], CoreApi)
    assert completion["pod"].metadata.name == "pod-1"
    assert completion["mode"] == "sync"
    assert completion["operator"].task_id == "task"


def test_the_start_is_told_once() -> None:
    import threading

    def runs(cluster: FakeCluster, task: Any) -> None:
        attempts = [{"number": 1, "podName": "pod-1"}]
        cluster.write(task, phase="Running", reason="Running", attempts=attempts)
        threading.Timer(0.1, lambda: cluster.write(task, phase="Running", reason="CollectingResult")).start()
        threading.Timer(0.2, lambda: ends()(cluster, task)).start()

    operator(FakeCluster(runs), Starting).execute(context())
    assert [name for name, _ in CALLS] == ["starting"]


def test_deferred_tells_at_resume() -> None:
    cluster = FakeCluster()
    with pytest.raises(TaskDeferred):
        operator(cluster, Ours, deferrable=True).execute(context())
    assert [name for name, _ in CALLS] == ["client", "manifest"]
    CALLS.clear()
    ends()(cluster, cluster.only)
    metadata = {key: cluster.only["metadata"][key] for key in ("name", "namespace", "uid")}
    event = {"phase": "Succeeded", "pod_name": "pod-1", **metadata}
    operator(cluster, Ours, deferrable=True).execute_complete(context(), event)
    assert [name for name, _ in CALLS] == ["client", "resuming", "completion", "teardown", "creation", "cleanup"]
    assert dict(CALLS)["resuming"]["event"] == event


def test_callbacks_of_the_original_provider_work_as_they_are() -> None:
    operator(FakeCluster(ends()), Theirs).execute(context())
    assert [name for name, _ in CALLS] == ["theirs"]
    assert CALLS[0][1]["mode"] == "sync"


def test_without_callbacks_no_client_is_made() -> None:
    task = operator_for(FakeCluster(ends()))
    task.make_core_api = lambda _: pytest.fail("no client is needed")
    task.execute(context())


def test_a_pod_that_is_gone_is_given_by_name() -> None:
    from kubernetes.client import ApiException

    class Gone(CoreApi):
        def read_namespaced_pod(self, name: str, namespace: str) -> Any:
            raise ApiException(status=404, reason=f"{namespace}/{name}")

    task = operator(FakeCluster(ends()), Ours)
    task.make_core_api = lambda _: Gone()
    task.execute(context())
    assert dict(CALLS)["completion"]["pod"].metadata.name == "pod-1"


def test_an_error_of_a_callback_fails_the_task() -> None:
    class Bad(PodTaskCallback):
        @staticmethod
        def on_pod_completion(**_: Any) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        operator(FakeCluster(ends()), Bad).execute(context())


def test_an_error_over_a_line_changes_nothing() -> None:
    from podtask_airflow.callbacks import Callbacks

    class Bad(PodTaskCallback):
        @staticmethod
        def progress_callback(**_: Any) -> None:
            raise ZeroDivisionError

    task = operator_for(FakeCluster())
    told = Callbacks([Bad, Lines], core_api=CoreApi, mode="sync", operator=task, context={})
    told.line("base", "x")
    Callbacks([Lines], core_api=CoreApi, mode="sync", operator=task, context={}).line("base", "y")
    assert CALLS == [("line", {"line": "y", "container_name": "base"})]


UNSUPPORTED: dict[str, tuple[type, dict[str, Any]]] = {
    "a start without a worker": (Starting, {"deferrable": True}),
    "lines that are not read": (Lines, {"deferrable": True}),
    "lines without logs": (Lines, {"get_logs": False}),
    "no worker at the end": (Ours, {"deferrable": True, "end_from_trigger": True}),
}


@pytest.mark.parametrize(("kind", "more"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_could_never_be_called_is_refused(kind: type, more: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=kind.__name__):
        operator_for(FakeCluster(), **{"get_logs": True, "callbacks": kind, **more})
