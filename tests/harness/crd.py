"""Our CRD on a cluster."""

from cluster import Cluster
from tests.harness import HANG
from tests.harness.controller import ROOT

NAMED = "--for=jsonpath={.status.acceptedNames.kind}=PodTask"
"""A CRD so fresh that it has no conditions yet makes a wait for one fail at once; this one waits."""
ESTABLISHED = "--for=condition=Established"


def install(cluster: Cluster) -> None:
    """Apply the CRD and wait until it is served."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds/podtask.dev_podtasks.yaml"))
    for state in (NAMED, ESTABLISHED):
        cluster.kubectl("wait", state, "crd/podtasks.podtask.dev", HANG)
