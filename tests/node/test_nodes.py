"""An unreachable node and a deleted one, in a separate cluster whose only kubelet is stopped."""

from collections.abc import Iterator
from typing import Any

import pytest

from cluster import Cluster, Form, up
from tests.harness import crd
from tests.harness.controller import Controller
from tests.harness.programs import ATTEMPT, POLITE, shell
from tests.harness.story import SUCCESS, Ended, check
from tests.harness.tasks import Namespace, Object

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("nodes")]

NODE = "node1"
FIRST_WAITS: dict[str, Any] = {
    **shell(f'test "$ATTEMPT" != 1 && exit 0; {POLITE}', env=ATTEMPT),
    "terminationGracePeriodSeconds": 2,
    "backoff": {"initialSeconds": 1, "factor": 1},
}


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    cluster = up("nodes4-lost", Form.NODE)
    crd.install(cluster)
    with Controller(cluster.kubeconfig, "--pod-hold-seconds=10", without="hold"):
        yield cluster
    cluster.down()


@pytest.fixture
def place(own_cluster: Cluster) -> Iterator[Namespace]:
    """A namespace, and a kubelet that runs when the test is over."""
    made = Namespace(own_cluster.kubeconfig)
    made.wait_service_account()
    yield made
    own_cluster.start("kubelet")
    own_cluster.wait_ready()
    made.close()


def is_running(task: Object) -> bool:
    return bool(task["status"].get("phase") == "Running")


def has_reason(reason: str) -> Any:
    return lambda task: task["status"].get("reason") == reason


def run_and_cut_off(cluster: Cluster, place: Namespace, name: str, **more: Any) -> str:
    """Wait until the task runs, then stop the kubelet; give the Pod's name."""
    place.create(name, **FIRST_WAITS, **more)
    pod: str = place.wait(name, is_running)["status"]["attempts"][0]["podName"]
    cluster.stop("kubelet")
    return pod


def test_a_deleted_node_is_a_disruption_and_the_task_continues(own_cluster: Cluster, place: Namespace) -> None:
    run_and_cut_off(own_cluster, place, "bereft", disruptionLimit=1)
    own_cluster.kubectl("delete", "node", NODE)
    # The collector of Pods waits for a minute before it takes a node for gone.
    reported = place.wait("bereft", lambda t: t["status"].get("attemptCount") == 1)["status"]
    assert (reported["attempts"][0]["outcome"], reported["attempts"][0]["reason"]) == ("Disrupted", "NodeLost")
    own_cluster.start("kubelet")
    own_cluster.wait_ready()
    status = place.wait_finished("bereft")
    check(
        status, "Succeeded", "Completed", Ended("Disrupted", "NodeLost", status["attempts"][0].get("exitCode")), SUCCESS
    )


def test_an_unreachable_node_is_waited_for(own_cluster: Cluster, place: Namespace) -> None:
    pod = run_and_cut_off(own_cluster, place, "unheard")
    place.core.delete_namespaced_pod(pod, place.name)
    reported = place.wait("unheard", has_reason("NodeUnreachable"))["status"]
    assert f"Pod {pod} should have ended by" in reported["message"]
    assert NODE in reported["message"]
    assert [p["metadata"]["name"] for p in place.pods()] == [pod], "never a second one beside it"
    own_cluster.start("kubelet")
    own_cluster.wait_ready()
    status = place.wait_finished("unheard")
    check(
        status,
        "Succeeded",
        "Completed",
        Ended("Disrupted", "PodDeleted", status["attempts"][0].get("exitCode")),
        SUCCESS,
    )


def test_a_pod_on_an_unreachable_node_is_force_deleted_after_its_time(own_cluster: Cluster, place: Namespace) -> None:
    pod = run_and_cut_off(own_cluster, place, "impatient", forceDeletePodAfterSeconds=5)
    place.core.delete_namespaced_pod(pod, place.name)
    reported = place.wait("impatient", lambda t: t["status"].get("attemptCount") == 1)["status"]
    entry = reported["attempts"][0]
    assert (entry["outcome"], entry["reason"]) == ("Disrupted", "NodeLost")
    assert "forceDeletePodAfterSeconds (5 s)" in entry["message"]
    second = place.wait_pod(lambda _, p: p["metadata"]["labels"]["podtask.dev/attempt"] == "2")
    assert second["metadata"]["name"] != pod
    own_cluster.start("kubelet")
    own_cluster.wait_ready()
    check(place.wait_finished("impatient"), "Succeeded", "Completed", Ended("Disrupted", "NodeLost"), SUCCESS)


def test_a_namespace_with_running_waiting_and_finished_tasks_can_be_deleted(
    own_cluster: Cluster, place: Namespace
) -> None:
    place.create("runs", **FIRST_WAITS, xcom={})
    place.create("waits", **shell("true"), nodeSelector={"disk": "golden"})
    place.run("over", **shell("true"), podRetention="Keep")
    place.wait("runs", is_running)
    place.core.delete_namespace(place.name)
    place.wait_deleted()
    assert (
        own_cluster.kubectl("get", "pods", "-A", "-o", "jsonpath={.items[*].metadata.namespace}").count(place.name) == 0
    )
