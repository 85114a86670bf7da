"""Installing and uninstalling the chart in a test cluster."""

from cluster import Cluster
from tests.chart.rendered import CHART, NAMESPACE, RELEASE, attempt, helm
from tests.harness import HANG

WAIT = ("--wait", HANG)
CONTROLLERS = ("-l", "app.kubernetes.io/component=controller")


def install(cluster: Cluster, *arguments: str, chart: str = str(CHART)) -> None:
    """Install the chart as the documents say, with further arguments."""
    words = ("install", RELEASE, chart, "-n", NAMESPACE, "--create-namespace", *WAIT)
    helm(*words, *arguments, kubeconfig=cluster.kubeconfig)


def upgrade(cluster: Cluster, *arguments: str) -> None:
    """Upgrade what is installed to this chart."""
    helm("upgrade", RELEASE, str(CHART), "-n", NAMESPACE, *WAIT, *arguments, kubeconfig=cluster.kubeconfig)


def uninstall(cluster: Cluster) -> None:
    """Uninstall after a test. Without the hook, which has its own test."""
    attempt("uninstall", RELEASE, "-n", NAMESPACE, "--no-hooks", kubeconfig=cluster.kubeconfig)
    # The next release must not meet the last one's Pods, which ask for what they have no right to any more.
    cluster.kubectl("wait", "pod", "-n", NAMESPACE, *CONTROLLERS, "--for=delete", HANG)
