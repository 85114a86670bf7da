"""What a task costs the API server, counted by the server itself."""

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from cluster import Cluster, Form, up
from tests.harness import HANG, crd
from tests.harness.controller import Controller
from tests.harness.tasks import Namespace
from tests.integration.controller.kubelet import Kubelet, always

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("writes")]

TASKS = 20
_LINE = re.compile(r"apiserver_request_total\{([^}]*)\} (\d+)")


@pytest.fixture
def own_server() -> Iterator[Cluster]:
    """An API server without other clients."""
    cluster = up("writes", Form.LIGHT)
    crd.install(cluster)
    yield cluster
    cluster.down()


def test_an_attempt_costs_at_most_five_writes(own_server: Cluster) -> None:
    namespace = Namespace(own_server.kubeconfig)
    namespace.core.create_namespaced_service_account(namespace.name, {"metadata": {"name": "default"}})
    before = _writes(own_server)
    with (
        Kubelet(own_server.kubeconfig, namespace.name, always(0)),
        Controller(own_server.kubeconfig, "--pod-hold-seconds=0", without="hold"),
    ):
        for index in range(TASKS):
            namespace.create(f"task-{index}", image="i")
        for index in range(TASKS):
            assert namespace.wait_finished(f"task-{index}")["phase"] == "Succeeded"
        selector = ("-l", "podtask.dev/task-uid", "-n", namespace.name)
        own_server.kubectl("wait", "--for=delete", "pod", *selector, HANG)
        spent = _writes(own_server) - before
    namespace.api_client.close()
    each = {key: count / TASKS for key, count in sorted(spent.items())}
    print(f"\nwrites per task: {each}, sum {sum(each.values())}")
    assert set(each) <= {"POST pods", "PATCH pods", "DELETE pods", "PATCH podtasks/status"}
    assert each["POST pods"] == 1
    assert sum(each.values()) <= 5


def _writes(cluster: Cluster) -> Counter[str]:
    """Count the controller's writes: the test's own (tasks, bindings, Pod status) are other resources or verbs."""
    found: Counter[str] = Counter()
    for labels, count in _LINE.findall(cluster.kubectl("get", "--raw", "/metrics")):
        pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        what = "/".join(filter(None, (pairs["resource"], pairs["subresource"])))
        verb = pairs["verb"]
        if (
            what in {"pods", "podtasks/status"}
            and verb in {"POST", "PATCH", "DELETE", "PUT", "APPLY"}
            and pairs["code"] < "300"
        ):
            found[f"{verb} {what}"] += int(count)
    return found
