"""Tasks that are stopped by deadlines, users or the cluster, and what is counted."""

from typing import Any

import pytest

from tests.harness.programs import ATTEMPT, POLITE, STUBBORN, container, shell
from tests.harness.story import SUCCESS, Ended, check, time
from tests.harness.tasks import Namespace, Object

Fields = dict[str, Any]

QUICK_BACKOFF = {"initialSeconds": 1, "factor": 1}
FIRST_WAITS = f'test "$ATTEMPT" != 1 && exit 0; {POLITE}'
"""The first attempt waits to be stopped, every later one succeeds."""
WAITING: Fields = {"terminationGracePeriodSeconds": 2, "backoff": QUICK_BACKOFF}


def is_running(task: Object) -> bool:
    return bool(task["status"].get("phase") == "Running")


def running_pod(namespace: Namespace, name: str, attempt: int = 1) -> str:
    """Wait until an attempt runs, and give the name of its Pod."""

    def runs(task: Object) -> bool:
        status = task["status"]
        return is_running(task) and status["attempts"][-1]["number"] == attempt

    pod: str = namespace.wait(name, runs)["status"]["attempts"][-1]["podName"]
    return pod


def evict(namespace: Namespace, pod: str) -> None:
    namespace.core.create_namespaced_pod_eviction(
        pod, namespace.name, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    )


def delete(namespace: Namespace, pod: str) -> None:
    namespace.core.delete_namespaced_pod(pod, namespace.name)


# ---- by others ----


@pytest.mark.parametrize(
    ("interrupt", "reason"),
    [pytest.param(delete, "PodDeleted", id="deleted"), pytest.param(evict, "Evicted", id="evicted")],
)
def test_a_disrupted_pod_is_retried_within_the_disruption_limit(
    namespace: Namespace, interrupt: Any, reason: str
) -> None:
    namespace.create("taken", **shell(FIRST_WAITS, env=ATTEMPT), **WAITING, disruptionLimit=1, xcom={})
    first = running_pod(namespace, "taken")
    interrupt(namespace, first)
    status = namespace.wait_finished("taken")
    check(status, "Succeeded", "Completed", Ended("Disrupted", reason, 143), SUCCESS)
    assert status["attempts"][0]["podName"] == first
    namespace.wait_pod_gone(first)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [pytest.param(0, "PodDeleted", id="none"), pytest.param(1, "DisruptionLimitExceeded", id="one")],
)
def test_an_exhausted_disruption_limit_ends_the_task(namespace: Namespace, limit: int, reason: str) -> None:
    namespace.create("taken", **shell(POLITE), **WAITING, disruptionLimit=limit, backoffLimit=5)
    for attempt in range(1, limit + 2):
        delete(namespace, running_pod(namespace, "taken", attempt))
    status = namespace.wait_finished("taken")
    check(status, "Failed", reason, *[Ended("Disrupted", "PodDeleted", 143)] * (limit + 1))
    assert "the Pod was deleted, and not by the controller" in status["message"]


def test_a_pod_deleted_before_its_start_is_not_counted(namespace: Namespace) -> None:
    template = {"spec": {"schedulingGates": [{"name": "podtask.test/hold"}]}}
    namespace.create("gated", **shell("true"), template=template, disruptionLimit=0, backoff=QUICK_BACKOFF)
    pod = namespace.wait_pod(lambda _, p: bool(p["spec"].get("schedulingGates")))["metadata"]["name"]
    delete(namespace, pod)
    second = namespace.wait_pod(lambda _, p: p["metadata"]["labels"]["podtask.dev/attempt"] == "2")
    namespace.core.patch_namespaced_pod(second["metadata"]["name"], namespace.name, {"spec": {"schedulingGates": None}})
    free = Ended("Disrupted", "PodDeleted", is_started=False, is_placed=False, counts=False)
    check(namespace.wait_finished("gated"), "Succeeded", "Completed", free, SUCCESS)


@pytest.mark.timeout(900)
def test_a_pod_that_fills_its_volume_is_evicted_by_the_kubelet(namespace: Namespace) -> None:
    script = f"dd if=/dev/zero of=/data/file bs=1M count=8; {POLITE}"
    volume: Fields = {
        "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Mi"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    status = namespace.run("filling", **shell(script), **WAITING, **volume)
    # Where the container was quicker gone than looked at, the kubelet does not know its exit code.
    check(status, "Failed", "Evicted", Ended("Failed", "Evicted", status.get("exitCode")))
    assert 'EmptyDir volume "data" exceeds the limit "1Mi"' in status["message"]


# ---- by deadlines ----


def test_the_run_deadline_stops_the_task_and_keeps_pod_and_log(namespace: Namespace) -> None:
    fields = shell(POLITE, **WAITING, podRetention="Keep", deadlines={"runSeconds": 5})
    status = namespace.run("long", **fields)
    check(status, "Failed", "RunDeadlineExceeded", Ended("Failed", "RunDeadlineExceeded", 143))
    entry = status["attempts"][0]
    assert entry["logTail"] == "started\n"
    assert (time(entry["completionTime"]) - time(entry["startTime"])).total_seconds() >= 5
    pod = namespace.wait_pod(lambda _, p: p["status"]["phase"] == "Failed")
    assert "deletionTimestamp" not in pod["metadata"]
    assert namespace.log(entry["podName"]) == "started\n"


def test_each_attempt_past_the_run_deadline_is_a_failure(namespace: Namespace) -> None:
    fields = shell(FIRST_WAITS, env=ATTEMPT, **WAITING, backoffLimit=1, deadlines={"runSeconds": 5})
    status = namespace.run("long", **fields)
    check(status, "Succeeded", "Completed", Ended("Failed", "RunDeadlineExceeded", 143), SUCCESS)


def test_the_total_deadline_ends_a_task_between_attempts(namespace: Namespace) -> None:
    fields = shell("exit 1", backoffLimit=100, backoff={"initialSeconds": 300})
    status = namespace.run("futile", **fields, deadlines={"totalSeconds": 20})
    check(status, "Failed", "TotalDeadlineExceeded", Ended("Failed", "NonZeroExit", 1))


def test_the_total_deadline_ends_a_running_task(namespace: Namespace) -> None:
    status = namespace.run("long", **shell(POLITE), **WAITING, backoffLimit=5, deadlines={"totalSeconds": 20})
    check(status, "Failed", "TotalDeadlineExceeded", Ended("Stopped", "TotalDeadlineExceeded", 143))


# ---- by the user: suspend ----


def suspended(status: Object) -> Object:
    """Return the condition Suspended."""
    found: Object = next(c for c in status["conditions"] if c["type"] == "Suspended")
    return found


@pytest.mark.parametrize("script", [pytest.param(POLITE, id="that obeys"), pytest.param(STUBBORN, id="that does not")])
def test_a_running_task_is_suspended_and_goes_on_with_a_new_pod(namespace: Namespace, script: str) -> None:
    fields = shell(f'test "$ATTEMPT" != 1 && exit 0; {script}', env=ATTEMPT, **WAITING, backoffLimit=0)
    namespace.create("paused", **fields, xcom={})
    first = running_pod(namespace, "paused")
    namespace.patch("paused", suspend=True)
    reported = namespace.wait("paused", lambda t: t["status"]["phase"] == "Suspended")["status"]
    assert (suspended(reported)["status"], reported["reason"]) == ("True", "Suspended")
    namespace.wait_pod_gone(first)
    assert namespace.pods() == []
    namespace.patch("paused", suspend=False)
    status = namespace.wait_finished("paused")
    stopped = Ended("Stopped", "Suspended", 143 if script == POLITE else 137)
    check(status, "Succeeded", "Completed", stopped, SUCCESS)
    assert suspended(status)["status"] == "False"


def test_a_task_that_begins_suspended_has_no_pod_until_it_is_resumed(namespace: Namespace) -> None:
    namespace.create("paused", **shell("true"), suspend=True, deadlines={"totalSeconds": 300})
    reported = namespace.wait("paused", lambda t: t["status"]["phase"] == "Suspended")["status"]
    assert "attempts" not in reported
    assert namespace.pods() == []
    namespace.patch("paused", suspend=False)
    check(namespace.wait_finished("paused"), "Succeeded", "Completed", SUCCESS)


def test_a_suspended_task_can_be_cancelled(namespace: Namespace) -> None:
    namespace.create("paused", **shell("true"), suspend=True)
    namespace.wait("paused", lambda t: t["status"]["phase"] == "Suspended")
    namespace.patch("paused", cancel=True)
    check(namespace.wait_finished("paused"), "Cancelled", "Cancelled")
    assert namespace.pods() == []


# ---- by the user: cancel ----


def test_a_task_that_is_cancelled_from_the_start_has_no_pod(namespace: Namespace) -> None:
    check(namespace.run("never", **shell("true"), cancel=True), "Cancelled", "Cancelled")
    assert namespace.pods() == []


@pytest.mark.parametrize(
    ("fields", "is_placed"),
    [
        pytest.param(shell("true", nodeSelector={"disk": "golden"}), False, id="without a place"),
        pytest.param(shell("true", initContainers=[container("endless", POLITE)]), True, id="still being prepared"),
    ],
)
def test_a_task_can_be_cancelled_before_it_starts(namespace: Namespace, fields: Fields, is_placed: bool) -> None:
    namespace.create("early", **fields, **WAITING, xcom={})
    pod = namespace.wait_pod(lambda _, p: _has_begun(p, is_placed))["metadata"]["name"]
    namespace.patch("early", cancel=True)
    status = namespace.wait_finished("early")
    check(status, "Cancelled", "Cancelled", Ended("Stopped", "Cancelled", is_started=False, is_placed=is_placed))
    namespace.wait_pod_gone(pod)


def _has_begun(pod: Object, is_placed: bool) -> bool:
    if not is_placed:
        return bool(pod["status"].get("conditions"))
    return any("running" in s["state"] for s in pod["status"].get("initContainerStatuses", []))


def test_a_task_can_be_cancelled_between_two_attempts(namespace: Namespace) -> None:
    namespace.create("futile", **shell("exit 1"), backoffLimit=5, backoff={"initialSeconds": 300})
    reported = namespace.wait("futile", lambda t: t["status"].get("reason") == "Backoff")["status"]
    assert time(reported["nextAttemptTime"]) > time(reported["attempts"][0]["completionTime"])
    namespace.patch("futile", cancel=True)
    check(namespace.wait_finished("futile"), "Cancelled", "Cancelled", Ended("Failed", "NonZeroExit", 1))


def test_a_task_is_cancelled_at_cancel_after(namespace: Namespace) -> None:
    namespace.create("waited", **shell(POLITE), **WAITING)
    pod = running_pod(namespace, "waited")
    namespace.patch("waited", cancelTime="2020-01-01T00:00:00Z")
    status = namespace.wait_finished("waited")
    check(status, "Cancelled", "CancelTimeReached", Ended("Stopped", "CancelTimeReached", 143))
    assert namespace.log(pod) == "started\n"
