"""The second cluster: a node with (claimed) GPUs, and a kubeconfig whose user is an exec plugin, as on EKS."""

import json
import sys
from pathlib import Path

from cluster import Cluster
from tests.harness import HANG

PLUGIN = Path(__file__).with_name("exec_credential.py")
RESOURCE = "nvidia.com/gpu"
LABEL = "accelerator=gpu"
ACCOUNT = "airflow"


def equip(cluster: Cluster) -> None:
    """Return its node GPUs and a label, and make the account that Airflow comes as."""
    node = cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    cluster.kubectl("label", "--overwrite", "node", node, LABEL)
    path = RESOURCE.replace("/", "~1")
    patch = [{"op": "add", "path": f"/status/capacity/{path}", "value": "2"}]
    cluster.kubectl("patch", "node", node, "--subresource=status", "--type=json", f"--patch={json.dumps(patch)}")
    cluster.kubectl("wait", f"--for=jsonpath={{.status.allocatable.{_escaped()}}}=2", f"node/{node}", HANG)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": "default"}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(account))
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(_binding()))


def write_kubeconfig(cluster: Cluster, path: Path) -> Path:
    """Write the kubeconfig; the plugin leaves a line in `PATH.calls` each time it is asked."""
    given = json.loads(cluster.kubeconfig.read_text())
    arguments = [str(PLUGIN), cluster.record.binaries["kubectl"], str(cluster.kubeconfig), ACCOUNT, f"{path}.calls"]
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(argument) for argument in arguments],
        "interactiveMode": "Never",
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "gpu",
        "contexts": [{"name": "gpu", "context": {"cluster": "gpu", "user": "airflow"}}],
        "clusters": [{"name": "gpu", "cluster": given["clusters"][0]["cluster"]}],
        "users": [{"name": "airflow", "user": {"exec": plugin}}],
    }
    path.write_text(json.dumps(document))
    return path


def _escaped() -> str:
    return RESOURCE.replace(".", r"\.")


def _binding() -> dict[str, object]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}],
    }
