"""Obstacles to a task's start: reported with the cluster's own message, and ended by a deadline."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cluster.handle import Cluster
from tests.harness.programs import ABSENT, container, shell
from tests.harness.story import SUCCESS, Ended, check
from tests.harness.tasks import Namespace, Object

Fields = dict[str, Any]

SECRET_ENV = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "later", "key": "token"}}}]
MISSING_MAP: Fields = {
    "volumes": [{"name": "settings", "configMap": {"name": "nowhere"}}],
    "volumeMounts": [{"name": "settings", "mountPath": "/settings"}],
}


def has_reason(reason: str) -> Callable[[Object], bool]:
    return lambda task: task["status"].get("reason") == reason


def add_quota(namespace: Namespace, pods: int) -> None:
    body = {"metadata": {"name": "pods"}, "spec": {"hard": {"pods": str(pods)}}}
    namespace.core.create_namespaced_resource_quota(namespace.name, body)
    wait_quota(namespace, pods)


def wait_quota(namespace: Namespace, pods: int) -> None:
    """Wait until the quota's controller has taken the limit up; before, admission goes by the old one."""
    listing = namespace.core.list_namespaced_resource_quota
    namespace.wait_object(listing, "pods", lambda q: q.get("status", {}).get("hard", {}).get("pods") == str(pods))


# ---- images ----


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        pytest.param({"image": "Not A Name"}, "InvalidImageName", id="a name that is none"),
        pytest.param({"image": ABSENT, "imagePullPolicy": "Never"}, "ErrImageNeverPull", id="one never to be pulled"),
    ],
)
def test_an_invalid_image_ends_the_task_at_once(namespace: Namespace, fields: Fields, word: str) -> None:
    status = namespace.run("unpulled", command=["true"], **fields, backoffLimit=3)
    check(status, "Failed", "ImagePullFailed", Ended("Stopped", "ImagePullFailed", is_started=False))
    assert word in status["message"], "the kubelet's words"
    assert "container base" in status["message"]


@pytest.mark.parametrize(
    ("fields", "who"),
    [
        pytest.param({"image": ABSENT}, "container base", id="of the task"),
        pytest.param(
            {**shell("true"), "initContainers": [{**container("loader", ""), "image": ABSENT}]},
            "container loader",
            id="of an init container",
        ),
    ],
)
def test_an_image_that_cannot_be_pulled_is_reported_and_ended_by_its_deadline(
    namespace: Namespace, fields: Fields, who: str
) -> None:
    namespace.create("unpulled", **fields, deadlines={"imagePullSeconds": 20})
    reported = namespace.wait("unpulled", has_reason("ImagePullFailed"))["status"]
    assert reported["phase"] == "Pending"
    assert who in reported["message"]
    status = namespace.wait_finished("unpulled")
    expected = Ended("Failed", "ImagePullDeadlineExceeded", is_started=False)
    check(status, "Failed", "ImagePullDeadlineExceeded", expected)
    assert who in status["message"]


# ---- what the Pod refers to ----


def test_a_missing_secret_is_reported_and_its_creation_starts_the_task(namespace: Namespace) -> None:
    namespace.create("secretive", **shell("test $TOKEN = s3cret", env=SECRET_ENV), backoffLimit=0)
    reported = namespace.wait("secretive", has_reason("ConfigError"))["status"]
    assert reported["phase"] == "Pending"
    assert 'secret "later" not found' in reported["message"]
    namespace.core.create_namespaced_secret(
        namespace.name, {"metadata": {"name": "later"}, "stringData": {"token": "s3cret"}}
    )
    check(namespace.wait_finished("secretive"), "Succeeded", "Completed", SUCCESS)


def test_a_root_image_with_run_as_non_root_is_reported(namespace: Namespace) -> None:
    fields = shell("true", securityContext={"runAsNonRoot": True}, deadlines={"startSeconds": 20})
    namespace.create("rootless", **fields)
    reported = namespace.wait("rootless", has_reason("ConfigError"))["status"]
    assert "runAsNonRoot" in reported["message"]
    status = namespace.wait_finished("rootless")
    check(status, "Failed", "StartDeadlineExceeded", Ended("Failed", "StartDeadlineExceeded", is_started=False))
    assert "runAsNonRoot" in status["message"]


def test_a_missing_volume_is_reported_and_its_creation_starts_the_task(namespace: Namespace) -> None:
    """The kubelet reports it only in an Event, not in the Pod's status."""
    namespace.create("mapless", **shell("test -e /settings/a"), **MISSING_MAP)
    reported = namespace.wait("mapless", has_reason("ConfigError"))["status"]
    assert reported["phase"] == "Pending"
    assert 'configmap "nowhere" not found' in reported["message"]
    namespace.core.create_namespaced_config_map(namespace.name, {"metadata": {"name": "nowhere"}, "data": {"a": "1"}})
    check(namespace.wait_finished("mapless"), "Succeeded", "Completed", SUCCESS)


def test_a_missing_volume_is_ended_by_the_start_deadline(namespace: Namespace) -> None:
    status = namespace.run("mapless", **shell("true"), **MISSING_MAP, deadlines={"startSeconds": 30})
    check(status, "Failed", "StartDeadlineExceeded", Ended("Failed", "StartDeadlineExceeded", is_started=False))
    assert "deadlines.startSeconds (30 s)" in status["message"]
    assert 'configmap "nowhere" not found' in status["message"]


def test_a_failing_sandbox_is_reported_and_ended_by_the_start_deadline(namespace: Namespace, cluster: Cluster) -> None:
    """As for a network without free addresses: the runtime's message is only in Events."""
    handler = f"{namespace.name}-nowhere"
    body = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": handler}, "handler": "nowhere"}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(body))
    try:
        namespace.create("boxless", **shell("true"), runtimeClassName=handler, deadlines={"startSeconds": 25})
        reported = namespace.wait("boxless", has_reason("ConfigError"))["status"]
        assert "FailedCreatePodSandBox" in reported["message"]
        status = namespace.wait_finished("boxless")
    finally:
        cluster.kubectl("delete", "runtimeclass", handler)
    check(status, "Failed", "StartDeadlineExceeded", Ended("Failed", "StartDeadlineExceeded", is_started=False))
    assert "nowhere" in status["message"], "the runtime's words"


def test_an_endless_init_container_is_ended_by_the_start_deadline(namespace: Namespace) -> None:
    inits = [container("endless", "trap 'exit 0' TERM; sleep 600 & wait")]
    status = namespace.run("prepared", **shell("true"), initContainers=inits, deadlines={"startSeconds": 10}, xcom={})
    check(status, "Failed", "StartDeadlineExceeded", Ended("Failed", "StartDeadlineExceeded", is_started=False))
    assert status["xcom"]["state"] == "Dropped"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"serviceAccountName": "nobody"}, "serviceaccount", id="service account"),
        pytest.param({"priorityClassName": "nothing"}, "PriorityClass", id="priority class"),
    ],
)
def test_an_object_that_admission_needs_is_waited_for(namespace: Namespace, fields: Fields, words: str) -> None:
    namespace.create("missing", **shell("true"), **fields, deadlines={"scheduleSeconds": 15})
    reported = namespace.wait("missing", has_reason("ConfigError"))["status"]
    assert words in reported["message"]
    status = namespace.wait_finished("missing")
    check(status, "Failed", "ScheduleDeadlineExceeded")
    assert words in status["message"]


# ---- scheduling ----


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"nodeSelector": {"disk": "golden"}}, "node affinity/selector", id="a label that no node has"),
        pytest.param({"resources": {"requests": {"cpu": "1000"}}}, "Insufficient cpu", id="more than any node has"),
    ],
)
def test_an_unschedulable_task_is_reported_and_ended_by_its_deadline(
    namespace: Namespace, fields: Fields, words: str
) -> None:
    namespace.create("homeless", **shell("true"), **fields, deadlines={"scheduleSeconds": 15})
    reported = namespace.wait("homeless", has_reason("Unschedulable"))["status"]
    assert reported["phase"] == "Pending"
    assert words in reported["message"]
    status = namespace.wait_finished("homeless")
    expected = Ended("Stopped", "ScheduleDeadlineExceeded", is_started=False, is_placed=False)
    check(status, "Failed", "ScheduleDeadlineExceeded", expected)
    assert words in status["message"], "the scheduler's words"


def test_a_scheduling_gate_is_reported_and_pauses_the_schedule_deadline(namespace: Namespace) -> None:
    template = {"spec": {"schedulingGates": [{"name": "podtask.test/hold"}]}}
    limits = {"scheduleSeconds": 15}
    namespace.create("gated", **shell("true"), template=template, deadlines=limits)
    reported = namespace.wait("gated", has_reason("SchedulingGated"))["status"]
    assert "podtask.test/hold" in reported["message"]
    # One without a gate and created later runs out of the same time.
    beside = namespace.run("beside", **shell("true"), nodeSelector={"disk": "golden"}, deadlines=limits)
    assert beside["reason"] == "ScheduleDeadlineExceeded"
    assert namespace.get("gated")["status"]["reason"] == "SchedulingGated"
    namespace.core.patch_namespaced_pod(
        reported["attempts"][0]["podName"], namespace.name, {"spec": {"schedulingGates": None}}
    )
    check(namespace.wait_finished("gated"), "Succeeded", "Completed", SUCCESS)


# ---- quota ----


def test_an_exhausted_quota_is_waited_for(namespace: Namespace) -> None:
    add_quota(namespace, 0)
    namespace.create("queued", **shell("true"))
    reported = namespace.wait("queued", has_reason("QuotaExceeded"))["status"]
    assert "exceeded quota: pods" in reported["message"]
    assert "attempts" not in reported
    namespace.core.patch_namespaced_resource_quota("pods", namespace.name, {"spec": {"hard": {"pods": "1"}}})
    check(namespace.wait_finished("queued"), "Succeeded", "Completed", SUCCESS)


def test_an_exhausted_quota_is_waited_for_until_the_schedule_deadline(namespace: Namespace) -> None:
    add_quota(namespace, 0)
    status = namespace.run("queued", **shell("true"), deadlines={"scheduleSeconds": 10}, backoffLimit=3)
    check(status, "Failed", "ScheduleDeadlineExceeded")
    assert "QuotaExceeded" in status["message"]
    assert "exceeded quota: pods" in status["message"]


def test_a_task_that_waits_for_a_quota_can_be_cancelled(namespace: Namespace) -> None:
    add_quota(namespace, 0)
    namespace.create("queued", **shell("true"))
    namespace.wait("queued", has_reason("QuotaExceeded"))
    namespace.patch("queued", cancel=True)
    check(namespace.wait_finished("queued"), "Cancelled", "Cancelled")


# ---- refusals for good ----


def test_a_pod_that_violates_pod_security_is_denied(make_namespace: Callable[..., Namespace]) -> None:
    namespace = make_namespace({"pod-security.kubernetes.io/enforce": "restricted"})
    status = namespace.run("rootful", **shell("true"), backoffLimit=3, deadlines={"scheduleSeconds": 60})
    check(status, "Failed", "AdmissionDenied")
    assert "violates PodSecurity" in status["message"]
    assert "runAsNonRoot" in status["message"]


PORTS = [{"containerPort": 80, "name": "web"}, {"containerPort": 81, "name": "web"}]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        pytest.param({"template": {"spec": {"nodeSelectr": {}}}}, "nodeSelectr", id="a misspelt field of the Pod"),
        pytest.param(
            {"template": {"spec": {"containers": [{"name": "base", "comand": ["true"]}]}}},
            "comand",
            id="a misspelt field of a container",
        ),
        pytest.param({"template": {"spec": {"priority": "high"}}}, "priority", id="a field of another type"),
        pytest.param({"ports": PORTS}, "Duplicate value", id="two ports of one name"),
        pytest.param({"volumeMounts": [{"name": "none", "mountPath": "/x"}]}, "none", id="a mount without a volume"),
    ],
)
def test_an_invalid_template_is_reported_and_not_retried(namespace: Namespace, fields: Fields, word: str) -> None:
    status = namespace.run("misspelt", **shell("true"), **fields, backoffLimit=3)
    check(status, "Failed", "InvalidPodTemplate")
    assert word in status["message"]
    assert namespace.pods() == []
