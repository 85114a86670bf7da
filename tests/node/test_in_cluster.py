"""The controller as a Pod: found by its service account, with no more rights than it uses.

A second cluster, so that no other controller is there to do the work. The image is built by a later part of the
project; here the code and its locked packages are mounted from the machine, into the base image.
"""

import json
import sysconfig
from collections.abc import Iterator

import pytest

from cluster import Cluster, Form, up
from tests.harness import controller, crd
from tests.harness.tasks import Namespace

pytestmark = pytest.mark.xdist_group("cluster")

RULES = [
    {"apiGroups": ["podtask.dev"], "resources": ["podtasks"], "verbs": ["get", "list", "watch", "delete"]},
    {"apiGroups": ["podtask.dev"], "resources": ["podtasks/status"], "verbs": ["patch"]},
    {"apiGroups": ["podtask.dev"], "resources": ["podtasks/finalizers"], "verbs": ["update"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "watch", "create", "patch"]},
]


@pytest.fixture
def second_cluster() -> Iterator[Cluster]:
    cluster = up("podtask-tests-second", Form.NODE)
    crd.install(cluster)
    yield cluster
    cluster.down()


def test_the_controller_runs_inside_the_cluster(second_cluster: Cluster) -> None:
    for manifest in (_account(), _role(), _binding(), _pod()):
        second_cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    second_cluster.kubectl("wait", "--for=condition=Ready", "pod/podtask", "-n", "kube-system", "--timeout=60s")
    namespace = Namespace(second_cluster.kubeconfig)
    namespace.wait_service_account()
    python = [
        "python3",
        "-c",
        "import os; open('/airflow/xcom/return.json', 'w').write('\"' + os.urandom(9000).hex() + '\"')",
    ]
    status = namespace.run("inside", image="localhost/podtask/python:dev", command=python, xcom={"required": True})
    namespace.close()
    log = second_cluster.kubectl("logs", "podtask", "-n", "kube-system")
    assert status["phase"] == "Succeeded", log
    assert status["xcom"]["sizeBytes"] == 18_002, "by way of the sidecar's log, so with pods/log"
    assert "forbidden" not in log.lower(), log
    assert "request failed" not in log, log


def _account() -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "podtask", "namespace": "kube-system"}}


def _role() -> dict[str, object]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "podtask"},
        "rules": RULES,
    }


def _binding() -> dict[str, object]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "podtask"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "podtask"},
        "subjects": [{"kind": "ServiceAccount", "name": "podtask", "namespace": "kube-system"}],
    }


def _pod() -> dict[str, object]:
    sources = {"site": sysconfig.get_path("purelib"), "controller": str(controller.ROOT / "controller")}
    container = {
        "name": "controller",
        "image": "localhost/podtask/python:dev",
        "command": ["python3", "-m", "podtask"],
        "env": [
            {"name": "PYTHONPATH", "value": "/site:/controller"},
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
        ],
        "securityContext": {"runAsUser": 65_532, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False},
        "volumeMounts": [{"name": name, "mountPath": f"/{name}", "readOnly": True} for name in sources],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "podtask", "namespace": "kube-system"},
        "spec": {
            "serviceAccountName": "podtask",
            "restartPolicy": "Never",
            "containers": [container],
            "volumes": [{"name": name, "hostPath": {"path": path}} for name, path in sources.items()],
        },
    }
