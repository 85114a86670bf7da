"""What a task waits for besides the start of its Pod (old Pods, names, resources, webhooks), and its report."""

import json
from collections.abc import Callable
from typing import Any

import kubernetes
import pytest

from cluster import Cluster
from tests.harness.programs import ABSENT, POLITE, PYTHON, RESULT, STUBBORN, container, shell
from tests.harness.story import SUCCESS, Ended, check
from tests.harness.tasks import Namespace, Object

Fields = dict[str, Any]
EXACT: Fields = {"template": {"metadata": {"name": "exactly"}}}


def has_reason(reason: str) -> Callable[[Object], bool]:
    return lambda task: task["status"].get("reason") == reason


def is_running(task: Object) -> bool:
    return bool(task["status"].get("phase") == "Running")


# ---- Pods that end slowly ----


def test_a_slow_stop_is_reported_with_its_cause(namespace: Namespace) -> None:
    fields = shell(STUBBORN, terminationGracePeriodSeconds=15, deadlines={"runSeconds": 7})
    namespace.create("slow", **fields)
    reported = namespace.wait("slow", has_reason("Stopping"))["status"]
    assert reported["phase"] == "Running"
    assert "container base ran longer than deadlines.runSeconds (7 s)" in reported["message"]
    assert "(grace period 15 s)" in reported["message"]
    status = namespace.wait_finished("slow")
    check(status, "Failed", "RunDeadlineExceeded", Ended("Failed", "RunDeadlineExceeded", 137))
    assert status["message"] == "container base ran longer than deadlines.runSeconds (7 s)"


def test_a_late_result_is_reported(namespace: Namespace) -> None:
    """A native sidecar that does not stop delays it: the kubelet reports the end of all containers."""
    stubborn = container("stubborn", "trap '' TERM; sleep 600", restartPolicy="Always")
    fields = shell(f"echo 1 > {RESULT}", terminationGracePeriodSeconds=20, initContainers=[stubborn], xcom={})
    namespace.create("late", **fields)
    reported = namespace.wait("late", has_reason("CollectingResult"))["status"]
    assert "its result has not been received yet" in reported["message"]
    check(namespace.wait_finished("late"), "Succeeded", "Completed", SUCCESS)


def test_the_next_attempt_waits_for_a_pod_that_ends_slowly(namespace: Namespace) -> None:
    proxy = {"spec": {"containers": [container("proxy", STUBBORN)]}}
    fields = shell("exit 1", template=proxy, terminationGracePeriodSeconds=15)
    namespace.create("slow", **fields, backoffLimit=1, backoff={"initialSeconds": 1, "factor": 1})
    reported = namespace.wait("slow", has_reason("PodTerminating"))["status"]
    assert reported["attempts"][0]["podName"] in reported["message"]
    failure = Ended("Failed", "NonZeroExit", 1)
    status = namespace.wait_finished("slow")
    check(status, "Failed", "BackoffLimitExceeded", failure, failure)
    assert "2 failures exceed backoffLimit 1" in status["message"]


# ---- names ----


def test_tasks_that_share_a_pod_name_take_turns(namespace: Namespace) -> None:
    first = namespace.run("monday", **shell("true"), **EXACT)
    namespace.create("tuesday", **shell("true"), **EXACT)
    reported = namespace.wait("tuesday", has_reason("NameTaken"))["status"]
    assert reported["phase"] == "Pending"
    assert "Pod exactly of PodTask monday" in reported["message"]
    status = namespace.wait_finished("tuesday")
    check(status, "Succeeded", "Completed", SUCCESS)
    assert status["attempts"][0]["podUID"] != first["attempts"][0]["podUID"]


def test_a_permanently_kept_pod_of_that_name_is_a_conflict(namespace: Namespace) -> None:
    namespace.run("monday", **shell("true"), **EXACT, podRetention="Keep")
    status = namespace.run("tuesday", **shell("true"), **EXACT)
    check(status, "Failed", "NameConflict")
    assert "podRetention is Keep" in status["message"]


# ---- things that pass ----


def test_a_repaired_problem_is_reported(namespace: Namespace) -> None:
    """The Secret comes, and the init container takes a while."""
    env = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "later", "key": "token"}}}]
    inits = [container("waits", "sleep 20", env=env)]
    namespace.create("cured", **shell("true"), initContainers=inits)
    namespace.wait("cured", has_reason("ConfigError"))
    namespace.core.create_namespaced_secret(
        namespace.name, {"metadata": {"name": "later"}, "stringData": {"token": "s"}}
    )
    namespace.wait("cured", has_reason("Created"))
    check(namespace.wait_finished("cured"), "Succeeded", "Completed", SUCCESS)


def test_an_unreachable_webhook_is_waited_for(namespace: Namespace) -> None:
    hooks = kubernetes.client.AdmissionregistrationV1Api(namespace.api_client)
    body = {
        "metadata": {"name": namespace.name},
        "webhooks": [
            {
                "name": "absent.podtask.test",
                "clientConfig": {"url": "https://127.0.0.1:9/"},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 1,
            }
        ],
    }
    hooks.create_validating_webhook_configuration(body)
    try:
        namespace.create("hooked", **shell("true"))
        reported = namespace.wait("hooked", has_reason("CreateRefused"))["status"]
        assert "absent.podtask.test" in reported["message"]
    finally:
        hooks.delete_validating_webhook_configuration(namespace.name)
    check(namespace.wait_finished("hooked"), "Succeeded", "Completed", SUCCESS)


# ---- the node's word ----


@pytest.fixture
def slot(cluster: Cluster, namespace: Namespace) -> str:
    """Return the name of a resource of which the node has one piece: who takes it disturbs no other test."""
    name = f"podtask.test/{namespace.name}"
    cluster.kubectl(
        "patch", "node", "node1", "--subresource=status", "-p", json.dumps({"status": {"capacity": {name: "1"}}})
    )
    return name


def test_a_pod_that_the_kubelet_rejects_is_retried_without_being_counted(namespace: Namespace) -> None:
    """It is bound without the scheduler and requests more than the node has."""
    fields = shell("true", template={"spec": {"nodeName": "node1"}}, resources={"requests": {"cpu": "1000"}})
    namespace.create("refused", **fields, backoff={"initialSeconds": 1, "factor": 1}, disruptionLimit=0)
    reported = namespace.wait("refused", lambda t: t["status"].get("attemptCount", 0) >= 2)["status"]
    entry = reported["attempts"][0]
    assert (entry["outcome"], entry["reason"], reported.get("disruptionCount", 0)) == ("Disrupted", "NodeRefused", 0)
    assert "OutOfcpu" in entry["message"]
    namespace.patch("refused", cancel=True)
    assert namespace.wait_finished("refused")["phase"] == "Cancelled"


def test_preemption_is_a_disruption(namespace: Namespace, slot: str) -> None:
    scheduling = kubernetes.client.SchedulingV1Api(namespace.api_client)
    scheduling.create_priority_class({"metadata": {"name": namespace.name}, "value": 1000})
    try:
        resources = {"requests": {slot: "1"}, "limits": {slot: "1"}}
        namespace.create(
            "modest", **shell(POLITE), resources=resources, terminationGracePeriodSeconds=2, disruptionLimit=0
        )
        namespace.wait("modest", is_running)
        proud = {"name": "base", "image": PYTHON, "command": ["true"], "resources": resources}
        spec = {"restartPolicy": "Never", "priorityClassName": namespace.name, "containers": [proud]}
        namespace.core.create_namespaced_pod(namespace.name, {"metadata": {"name": "proud"}, "spec": spec})
        status = namespace.wait_finished("modest")
        check(status, "Failed", "Preempted", Ended("Disrupted", "Preempted", 143))
        assert "proud" in status["message"] or "preempt" in status["message"].lower()
    finally:
        scheduling.delete_priority_class(namespace.name)


# ---- the spec ----


def test_a_spec_change_that_the_rules_cannot_see_ends_the_task(namespace: Namespace) -> None:
    """One unknown field swapped for another: the API server's rules cannot see it, the hash of the spec can."""
    fields = shell("exit 1", template={"spec": {"shareProcessNamespace": True}}, backoffLimit=1)
    namespace.create("swapped", **fields, backoff={"initialSeconds": 15})
    namespace.wait("swapped", has_reason("Backoff"))
    namespace.patch("swapped", template={"spec": {"shareProcessNamespace": None, "setHostnameAsFQDN": False}})
    status = namespace.wait_finished("swapped")
    check(status, "Failed", "SpecChanged", Ended("Failed", "NonZeroExit", 1))


def test_a_task_with_a_missing_image_can_be_cancelled(namespace: Namespace) -> None:
    namespace.create("unpulled", image=ABSENT)
    namespace.wait("unpulled", has_reason("ImagePullFailed"))
    namespace.patch("unpulled", cancel=True)
    status = namespace.wait_finished("unpulled")
    check(status, "Cancelled", "Cancelled", Ended("Stopped", "Cancelled", is_started=False))
    assert status["message"].startswith("spec.cancel was set; ImagePullFailed: container base: ")
