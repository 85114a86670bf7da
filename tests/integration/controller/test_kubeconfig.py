"""A kubeconfig whose user is a credential plugin, as EKS and GKE write it."""

import json
import subprocess
import sys
from pathlib import Path

import kubernetes
import pytest

from cluster import Cluster
from tests.harness import exec_credential
from tests.harness.controller import Controller, environment
from tests.harness.tasks import Namespace

pytestmark = pytest.mark.apiserver


@pytest.fixture
def by_plugin(api_server: Cluster, namespace: Namespace, tmp_path: Path) -> Path:
    """An administrator's kubeconfig with an exec plugin; the file `calls` has a line for each call."""
    core, rbac = namespace.core, kubernetes.client.RbacAuthorizationV1Api(namespace.api_client)
    core.create_namespaced_service_account("default", {"metadata": {"name": namespace.name}})
    rbac.create_cluster_role_binding(
        {
            "metadata": {"name": namespace.name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": namespace.name, "namespace": "default"}],
        }
    )
    document = json.loads(api_server.kubeconfig.read_text())
    words = [str(exec_credential.__file__), api_server.record.binaries["kubectl"], str(api_server.kubeconfig)]
    document["users"][0]["user"] = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [*words, namespace.name, str(tmp_path / "calls")],
            "interactiveMode": "Never",
        }
    }
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(document))
    return file


def test_controller_and_release_finalizers_work_with_an_exec_plugin(by_plugin: Path, namespace: Namespace) -> None:
    with Controller(by_plugin, f"--namespace={namespace.name}") as controller:
        namespace.create("task", image="i")
        namespace.wait_pod(lambda _, pod: "podtask.dev/outcome" in pod["metadata"].get("finalizers", []))
        assert controller.terminate() == 0
        assert not [line for line in controller.lines if '"level": "error"' in line]
    asked = (by_plugin.parent / "calls").read_text().count("\n")
    command = [sys.executable, "-m", "podtask", "release-finalizers", f"--namespace={namespace.name}"]
    done = subprocess.run(command, env=environment(by_plugin), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not [pod for pod in namespace.pods() if pod["metadata"].get("finalizers")]
    assert asked <= 3, "one token serves many requests"
