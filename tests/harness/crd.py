"""Our CRD on a cluster."""

from cluster import Cluster
from tests.harness.controller import ROOT

ESTABLISHED = "--for=jsonpath={.status.conditions[?(@.type=='Established')].status}=True"
"""`--for=condition=Established` fails at once on a CRD so fresh that it has no conditions."""


def install(cluster: Cluster) -> None:
    """Apply the CRD and wait until it is served."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds/podtask.dev_podtasks.yaml"))
    cluster.kubectl("wait", ESTABLISHED, "crd/podtasks.podtask.dev", "--timeout=30s")
