"""What remains of a finished task: Pods by retention and name, the object by its TTL, nothing after deletion."""

from typing import Any

import pytest

from tests.harness.programs import ATTEMPT, POLITE, STUBBORN, shell
from tests.harness.story import SUCCESS, Ended, check
from tests.harness.tasks import Namespace, Object

Fields = dict[str, Any]

FINALIZER = "podtask.dev/outcome"
FAILURE = Ended("Failed", "NonZeroExit", 1)


def wait_running(namespace: Namespace, name: str) -> str:
    task = namespace.wait(name, lambda t: t["status"].get("phase") == "Running")
    pod: str = task["status"]["attempts"][-1]["podName"]
    return pod


def find(namespace: Namespace, pod: str) -> Object:
    return next(p for p in namespace.pods() if p["metadata"]["name"] == pod)


# ---- Pods after the end ----


@pytest.mark.parametrize(
    ("retention", "stays"),
    [
        pytest.param("Delete", [], id="Delete keeps none"),
        pytest.param("DeleteSucceeded", ["bad"], id="DeleteSucceeded keeps the failed one"),
        pytest.param("Keep", ["bad", "good"], id="Keep keeps both"),
    ],
)
def test_finished_pods_are_kept_by_pod_retention(namespace: Namespace, retention: str, stays: list[str]) -> None:
    """The last task's Pod is deleted in any case; it ended last, so by then the others would be deleted too."""
    scripts = {"bad": "exit 1", "good": "exit 0", "last": "exit 0"}
    for name, script in scripts.items():
        kept = retention if name != "last" else "Delete"
        namespace.run(name, **shell(script), podRetention=kept)
    pods = {name: namespace.get(name)["status"]["attempts"][0]["podName"] for name in scripts}
    for name in scripts.keys() - set(stays):
        namespace.wait_pod_gone(pods[name])
    left = namespace.pods()
    assert sorted(p["metadata"]["name"] for p in left) == sorted(pods[name] for name in stays)
    assert all("finalizers" not in p["metadata"] for p in left)


def test_the_pod_of_an_acknowledged_task_is_deleted(namespace: Namespace) -> None:
    status = namespace.run("read", **shell("true"), podTTLSecondsAfterFinished=3600)
    body = {"metadata": {"annotations": {"podtask.dev/acknowledged": "true"}}}
    namespace.custom.patch_namespaced_custom_object("podtask.dev", "v1alpha1", namespace.name, "podtasks", "read", body)
    namespace.wait_pod_gone(status["attempts"][0]["podName"])


@pytest.mark.parametrize(
    ("fields", "script"),
    [
        pytest.param({"ttlSecondsAfterFinished": 1}, "true", id="of any end"),
        pytest.param({"ttlSecondsAfterFinished": 3600, "ttlSecondsAfterSucceeded": 0}, "true", id="of success"),
        pytest.param({"ttlSecondsAfterFinished": 3600, "ttlSecondsAfterFailed": 1}, "exit 1", id="of failure"),
    ],
)
def test_a_finished_task_is_deleted_with_its_pod_after_its_ttl(
    namespace: Namespace, fields: Fields, script: str
) -> None:
    namespace.create("brief", **shell(script), **fields, podRetention="Keep")
    pod = namespace.wait_pod(lambda _, __: True)["metadata"]["name"]
    namespace.wait_gone("brief")
    namespace.wait_pod_gone(pod)


# ---- names ----


def test_a_pod_can_have_an_exact_name_and_each_attempt_gets_it(namespace: Namespace) -> None:
    fields = shell("test $ATTEMPT = 2 || exit 1", env=ATTEMPT, template={"metadata": {"name": "exactly"}})
    status = namespace.run("named", **fields, backoffLimit=1, backoff={"initialSeconds": 1})
    check(status, "Succeeded", "Completed", FAILURE, SUCCESS)
    assert [a["podName"] for a in status["attempts"]] == ["exactly", "exactly"]
    assert status["attempts"][0]["podUID"] != status["attempts"][1]["podUID"]


def stranger(name: str, **metadata: Any) -> Object:
    spec = {"containers": [{"name": "base", **shell(POLITE)}], "restartPolicy": "Never"}
    return {"metadata": {"name": name, **metadata}, "spec": {**spec, "terminationGracePeriodSeconds": 1}}


def test_a_foreign_pod_of_that_name_is_left_alone_and_reported(namespace: Namespace) -> None:
    made = namespace.core.create_namespaced_pod(namespace.name, stranger("exactly"))
    status = namespace.run("named", **shell("true"), template={"metadata": {"name": "exactly"}}, backoffLimit=2)
    check(status, "Failed", "NameConflict")
    assert "Pod exactly" in status["message"]
    found = find(namespace, "exactly")
    assert (found["metadata"]["uid"], found["metadata"].get("labels")) == (made.metadata.uid, None)


def test_a_foreign_pod_with_our_labels_is_left_alone(namespace: Namespace) -> None:
    """Every user may write labels; a controller reference needs rights on the task."""
    namespace.create("owner", **shell("sleep 1"), ttlSecondsAfterFinished=3)
    uid = namespace.get("owner")["metadata"]["uid"]
    labels = {"podtask.dev/task-uid": uid, "podtask.dev/attempt": "1", "podtask.dev/task-name": "owner"}
    namespace.core.create_namespaced_pod(namespace.name, stranger("impostor", labels=labels))
    check(namespace.wait_finished("owner"), "Succeeded", "Completed", SUCCESS)
    namespace.wait_gone("owner")
    pod = namespace.wait_pod(lambda _, p: p["metadata"]["name"] == "impostor" and p["status"]["phase"] == "Running")
    assert pod["metadata"]["labels"] == labels
    assert "deletionTimestamp" not in pod["metadata"]
    assert "annotations" not in pod["metadata"]


# ---- deletion ----


@pytest.mark.parametrize("script", [pytest.param(POLITE, id="that obeys"), pytest.param(STUBBORN, id="that does not")])
def test_deleting_a_running_task_deletes_its_pod(namespace: Namespace, script: str) -> None:
    namespace.create("unwanted", **shell(script), terminationGracePeriodSeconds=2, xcom={})
    pod = wait_running(namespace, "unwanted")
    namespace.delete("unwanted")
    namespace.wait_gone("unwanted")
    namespace.wait_pod_gone(pod)


def test_deleting_in_the_foreground_waits_for_the_pod(namespace: Namespace) -> None:
    namespace.create("unwanted", **shell(POLITE), terminationGracePeriodSeconds=2)
    pod = wait_running(namespace, "unwanted")
    namespace.delete("unwanted", propagation="Foreground")
    namespace.wait_gone("unwanted")
    assert [p for p in namespace.pods() if p["metadata"]["name"] == pod] == []


def test_an_orphaned_pod_keeps_running_and_is_released(namespace: Namespace) -> None:
    namespace.create("parent", **shell(POLITE), terminationGracePeriodSeconds=2)
    pod = wait_running(namespace, "parent")
    namespace.delete("parent", propagation="Orphan")
    namespace.wait_gone("parent")
    found = namespace.wait_pod(lambda _, p: "finalizers" not in p["metadata"])
    assert found["metadata"]["name"] == pod
    assert found["metadata"].get("ownerReferences", []) == []
    assert found["status"]["phase"] == "Running"
    assert "deletionTimestamp" not in found["metadata"]


def test_a_namespace_with_a_running_task_can_be_deleted(namespace: Namespace) -> None:
    namespace.create("inside", **shell(POLITE), terminationGracePeriodSeconds=2, xcom={})
    wait_running(namespace, "inside")
    namespace.core.delete_namespace(namespace.name)
    namespace.wait_deleted()
