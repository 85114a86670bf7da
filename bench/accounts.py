"""Service accounts for the systems, as the Job controller and every installation have them.

The API server verifies a client certificate with each request, which takes 0.2 ms of CPU. It caches tokens.
"""

import json
from pathlib import Path

from cluster import Cluster
from tests.chart.rendered import CHART, NAMESPACE, RELEASE, helm

_CHARTED = ("serviceaccount.yaml", "rbac/controller.yaml", "rbac/leader-election.yaml")


def of_the_chart(cluster: Cluster) -> Path:
    """Install the chart's service account and its roles; return the path of its kubeconfig."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    only = [f"--show-only=templates/{name}" for name in _CHARTED]
    cluster.kubectl("apply", "-f", "-", stdin=helm("template", RELEASE, str(CHART), "-n", NAMESPACE, *only))
    return _kubeconfig(cluster, NAMESPACE, RELEASE)


def of_admin(cluster: Cluster, namespace: str, account: str) -> Path:
    """Create a service account with the role cluster-admin; return the path of its kubeconfig."""
    cluster.kubectl("create", "serviceaccount", account, "-n", namespace)
    all_rights = ("--clusterrole=cluster-admin", f"--serviceaccount={namespace}:{account}")
    cluster.kubectl("create", "clusterrolebinding", account, *all_rights)
    return _kubeconfig(cluster, namespace, account)


def _kubeconfig(cluster: Cluster, namespace: str, account: str) -> Path:
    document = json.loads(cluster.kubeconfig.read_text())
    token = cluster.kubectl("create", "token", account, "-n", namespace, "--duration=8h").strip()
    document["users"][0]["user"] = {"token": token}
    path = cluster.kubeconfig.with_name(f"{account}.kubeconfig")  # deleted with the cluster
    path.touch(0o600)
    path.write_text(json.dumps(document))
    return path
