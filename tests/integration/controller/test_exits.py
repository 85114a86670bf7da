"""Manual changes of a Pod, and a kubelet that ignores a stop: the task continues, or ends with a reason."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kubernetes import client, watch

from tests.harness.controller import Controller
from tests.harness.tasks import Namespace, Object
from tests.integration.controller.kubelet import Kubelet, always

pytestmark = pytest.mark.apiserver

UID, ATTEMPT = "podtask.dev/task-uid", "podtask.dev/attempt"
RESTORED = "Pod has lost our labels, restoring them"
STOP_REASON, STOP_TIME = "podtask.dev/stop-reason", "podtask.dev/stop-time"
OFF: dict[str, Object] = {
    "the task's uid": {"labels": {UID: None}},
    "another task's uid": {"labels": {UID: "another"}},
    "the number": {"labels": {ATTEMPT: None}},
    "another number": {"labels": {ATTEMPT: "7"}},
    "all labels": {"labels": None},
}


@pytest.fixture
def controller(namespace: Namespace, kubeconfig: Path) -> Iterator[Controller]:
    with Controller(kubeconfig, f"--namespace={namespace.name}") as running:
        yield running


class Held:
    """A kubelet whose containers run until `end`."""

    def __init__(self, kubeconfig: Path, namespace: Namespace) -> None:
        self._code: int | None = None
        self._ended = threading.Event()
        self.kubelet = Kubelet(kubeconfig, namespace.name, self._wait)

    def _wait(self, _: Object) -> int:
        assert self._ended.wait(60)
        assert self._code is not None
        return self._code

    def end(self, code: int) -> None:
        self._code = code
        self._ended.set()


@pytest.fixture
def held(namespace: Namespace, kubeconfig: Path) -> Iterator[Held]:
    made = Held(kubeconfig, namespace)
    with made.kubelet:
        yield made
        made.end(0)


def edit(namespace: Namespace, pod: Object, metadata: Object) -> Object:
    """Change a Pod's metadata as `kubectl label`, `annotate` and `edit` do; return the Pod as it is then."""
    name = pod["metadata"]["name"]
    api = client.ApiClient(namespace.api_client.configuration)
    api.set_default_header("Content-Type", "application/merge-patch+json")
    core = client.CoreV1Api(api)
    changed: Object = json.loads(
        core.patch_namespaced_pod(name, namespace.name, {"metadata": metadata}, _preload_content=False).data
    )
    return changed


def own_pod(namespace: Namespace, fact: Callable[[Object], bool] = lambda _: True) -> Object:
    return namespace.wait_pod(lambda kind, p: kind != "DELETED" and "etl" in p["metadata"]["name"] and fact(p))


def is_labelled(pod: Object) -> bool:
    labels, (owner,) = pod["metadata"].get("labels", {}), pod["metadata"]["ownerReferences"]
    return (labels.get(UID), labels.get(ATTEMPT)) == (owner["uid"], "1")


def warnings(controller: Controller, words: str) -> list[Object]:
    said = [json.loads(line) for line in controller.lines if line.startswith("{")]
    return [line for line in said if words in line["msg"]]


@pytest.mark.parametrize("off", OFF.values(), ids=OFF)
def test_labels_removed_before_the_first_status_are_restored(
    namespace: Namespace, controller: Controller, kubeconfig: Path, off: Object
) -> None:
    namespace.create("etl", image="i")
    pod = own_pod(namespace)
    assert "attempts" not in namespace.get("etl").get("status", {})
    edit(namespace, pod, off)
    own_pod(namespace, is_labelled)
    with Kubelet(kubeconfig, namespace.name, always(0)) as kubelet:
        status = namespace.wait_finished("etl")
    assert (status["phase"], status["attemptCount"]) == ("Succeeded", 1)
    assert set(kubelet.created) >= {pod["metadata"]["uid"]}
    assert status["attempts"][0]["podUID"] == pod["metadata"]["uid"]
    assert len(warnings(controller, RESTORED)) == 1


@pytest.mark.parametrize("off", OFF.values(), ids=OFF)
def test_labels_removed_after_the_first_status_are_restored(
    namespace: Namespace, controller: Controller, held: Held, off: Object
) -> None:
    namespace.create("etl", image="i")
    namespace.wait("etl", lambda t: t.get("status", {}).get("phase") == "Running")
    edit(namespace, own_pod(namespace), off)
    own_pod(namespace, is_labelled)
    held.end(0)
    status = namespace.wait_finished("etl")
    assert (status["phase"], status["attemptCount"]) == ("Succeeded", 1)


def test_labels_removed_while_no_controller_runs_are_restored(namespace: Namespace, kubeconfig: Path) -> None:
    """The next controller creates the Pod, gets AlreadyExists, and adopts it."""
    namespace.create("etl", image="i")
    with Controller(kubeconfig, f"--namespace={namespace.name}"):
        pod = own_pod(namespace)
    edit(namespace, pod, OFF["all labels"])
    with (
        Kubelet(kubeconfig, namespace.name, always(0)),
        Controller(kubeconfig, f"--namespace={namespace.name}"),
    ):
        status = namespace.wait_finished("etl")
    assert (status["phase"], status["attempts"][0]["podUID"]) == ("Succeeded", pod["metadata"]["uid"])


def test_a_cancelled_task_whose_pod_has_no_labels_is_cancelled(
    namespace: Namespace, controller: Controller, held: Held
) -> None:
    """With the Pod's end, as any other task: its labels are restored by then."""
    namespace.create("etl", image="i")
    namespace.wait("etl", lambda t: t.get("status", {}).get("phase") == "Running")
    edit(namespace, own_pod(namespace), OFF["all labels"])
    namespace.patch("etl", cancel=True)
    own_pod(namespace, lambda p: p["metadata"]["annotations"].get(STOP_REASON) == "Cancelled")
    held.end(143)
    status = namespace.wait_finished("etl")
    assert (status["phase"], status["attempts"][0]["exitCode"]) == ("Cancelled", 143)


@contextlib.contextmanager
def stripping(namespace: Namespace, kubeconfig: Path) -> Iterator[None]:
    """Remove all labels from every Pod, as soon as it has some."""
    stopped = threading.Event()
    other = Namespace(kubeconfig, name=namespace.name)

    def strip() -> None:
        while not stopped.is_set():
            stream = watch.Watch()
            for event in stream.stream(other.core.list_namespaced_pod, other.name, timeout_seconds=2):
                pod = event["raw_object"]
                if event["type"] != "DELETED" and pod["metadata"].get("labels") and not stopped.is_set():
                    with contextlib.suppress(client.ApiException):
                        edit(other, pod, OFF["all labels"])

    thread = threading.Thread(target=strip)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(20)
        other.api_client.close()


def cancel_while_stripped(namespace: Namespace, controller: Controller, kubeconfig: Path) -> None:
    with stripping(namespace, kubeconfig):
        controller.wait_logged(RESTORED)
        namespace.patch("etl", cancel=True)
        status = namespace.wait_finished("etl")
    assert (status["phase"], status["attemptCount"]) == ("Cancelled", 1)
    assert status["attempts"][0]["outcome"] == "Stopped"
    for pod in namespace.pods():
        assert "deletionTimestamp" in pod["metadata"], "its containers would run on"
        assert "finalizers" not in pod["metadata"]
    assert len(warnings(controller, RESTORED)) <= 6


def test_cancel_ends_a_started_task_whose_pod_does_not_keep_its_labels(
    namespace: Namespace, controller: Controller, held: Held, kubeconfig: Path
) -> None:
    namespace.create("etl", image="i")
    namespace.wait("etl", lambda t: t.get("status", {}).get("phase") == "Running")
    cancel_while_stripped(namespace, controller, kubeconfig)


def test_cancel_ends_a_task_without_a_status_whose_pod_does_not_keep_its_labels(
    namespace: Namespace, controller: Controller, kubeconfig: Path
) -> None:
    namespace.create("etl", image="i")
    own_pod(namespace)
    cancel_while_stripped(namespace, controller, kubeconfig)


def test_a_pod_without_its_owner_reference_ends_the_task_and_keeps_running(
    namespace: Namespace, controller: Controller, held: Held
) -> None:
    namespace.create("etl", image="i")
    namespace.wait("etl", lambda t: t.get("status", {}).get("phase") == "Running")
    edit(namespace, own_pod(namespace), {"ownerReferences": None, "labels": None})
    status = namespace.wait_finished("etl")
    assert (status["phase"], status["reason"]) == ("Failed", "NameConflict")
    pod = own_pod(namespace, lambda p: "finalizers" not in p["metadata"])
    assert "deletionTimestamp" not in pod["metadata"]


def noted(ago: timedelta) -> str:
    return f"{datetime.now(UTC) - ago:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize("has_time", [True, False], ids=["noted", "not noted by an older controller"])
def test_a_stop_that_the_kubelet_ignores_is_followed_by_a_delete(
    namespace: Namespace, controller: Controller, held: Held, has_time: bool
) -> None:
    """The minute is measured by the Pod's annotation; the kubelet obeys the DELETE, and the reason is the stop's."""
    namespace.create("etl", image="i")
    namespace.wait("etl", lambda t: t.get("status", {}).get("phase") == "Running")
    namespace.patch("etl", cancel=True)
    pod = own_pod(namespace, lambda p: STOP_TIME in p["metadata"].get("annotations", {}))
    assert pod["spec"]["activeDeadlineSeconds"] == 1
    if not has_time:
        edit(namespace, pod, {"annotations": {STOP_TIME: None}})
        pod = own_pod(namespace, lambda p: STOP_TIME in p["metadata"]["annotations"])
    # As if it had been asked so long ago: its grace of 30 s and a minute more.
    edit(namespace, pod, {"annotations": {STOP_TIME: noted(timedelta(seconds=91))}})
    task = namespace.wait("etl", lambda t: t["status"]["reason"] == "NodeUnreachable")
    assert "was requested to stop at" in task["status"]["message"]
    pod = own_pod(namespace, lambda p: "deletionTimestamp" in p["metadata"])
    assert pod["metadata"]["annotations"][STOP_REASON] == "Cancelled"
    held.end(143)
    status = namespace.wait_finished("etl")
    assert (status["phase"], status["reason"], status["exitCode"]) == ("Cancelled", "Cancelled", 143)
