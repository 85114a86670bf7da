"""The chart in a real cluster, by real helm: installed, used, upgraded, uninstalled."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

from cluster import Cluster
from tests.chart.pods import MARKS, MARKS_POLICY, UID, Actor, marked, pod
from tests.chart.release import install, uninstall, upgrade
from tests.chart.rendered import CHART, NAMESPACE, RELEASE, flags, helm
from tests.chart.tasks import controllers, python, sleep
from tests.harness import HANG
from tests.harness.tasks import Namespace

pytestmark = [pytest.mark.xdist_group("chart"), pytest.mark.node, pytest.mark.timeout(900)]

FINALIZER = "podtask.dev/outcome"


@pytest.mark.usefixtures("cleaned")
def test_an_upgrade_loses_nothing_of_a_running_task(cluster: Cluster, namespace: Namespace, tmp_path: Path) -> None:
    """From an older chart to this one, under another user, while a task runs and another waits for its retry.

    Nothing was released yet, so the older chart is this one under an older version: what is proved is that nothing is
    lost while every controller is replaced. With the first release its frozen copy takes this one's place, beside the
    frozen CRD in `crds/released`.
    """
    older = tmp_path / "podtask"
    shutil.copytree(CHART, older)
    about = yaml.safe_load((older / "Chart.yaml").read_text())
    (older / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": "0.0.9", "appVersion": "0.0.9"}))
    install(cluster, chart=str(older))
    before = {one["metadata"]["uid"] for one in controllers(cluster)}
    namespace.create("steady", **sleep(15, "42"))
    namespace.create("again", **python("raise SystemExit(1)"), backoffLimit=1, backoff={"initialSeconds": 8})
    namespace.wait("steady", lambda task: task["status"].get("phase") == "Running")
    namespace.wait("again", lambda task: task["status"].get("failureCount") == 1)
    upgrade(cluster, *flags("podSecurityContext.runAsUser=123456"))
    cluster.kubectl("wait", "-n", NAMESPACE, "--for=delete", *(_pod_names(cluster, before)), HANG)
    after = controllers(cluster)
    assert before.isdisjoint(one["metadata"]["uid"] for one in after)
    assert {one["spec"]["securityContext"]["runAsUser"] for one in after} == {123_456}
    status = namespace.wait_finished("steady")
    assert (status["phase"], status["xcom"]["value"], status["attemptCount"]) == ("Succeeded", "42", 1)
    status = namespace.wait_finished("again")
    assert (status["phase"], status["failureCount"], status["attemptCount"]) == ("Failed", 2, 2)
    assert len([pod for pod in namespace.pods() if pod["metadata"]["name"].startswith("steady")]) == 1


def _pod_names(cluster: Cluster, uids: set[str]) -> list[str]:
    """Name those that are still there; a wait for a Pod that is gone already ends at once."""
    left = [f"pod/{one['metadata']['name']}" for one in controllers(cluster) if one["metadata"]["uid"] in uids]
    return left or ["pod/none-is-left"]


@pytest.mark.usefixtures("cleaned")
def test_an_uninstall_keeps_tasks_and_results_and_removes_finalizers(cluster: Cluster, namespace: Namespace) -> None:
    install(cluster, *flags("replicas=1"))
    namespace.create("ended", **sleep(0, "1"))
    template = {"spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "base"}]}}
    namespace.create("running", **sleep(600), template=template)
    assert namespace.wait_finished("ended")["xcom"]["value"] == "1"
    namespace.wait("running", lambda task: task["status"].get("phase") == "Running")
    assert any(FINALIZER in pod["metadata"].get("finalizers", []) for pod in namespace.pods())
    helm("uninstall", RELEASE, "-n", NAMESPACE, HANG, kubeconfig=cluster.kubeconfig)
    pods = {pod["metadata"]["name"]: pod for pod in namespace.pods()}
    assert not any("finalizers" in pod["metadata"] for pod in pods.values())
    assert [pod["status"]["phase"] for name, pod in pods.items() if name.startswith("running")] == ["Running"]
    assert namespace.get("ended")["status"]["xcom"]["value"] == "1"
    assert namespace.get("running")["status"]["phase"] == "Running"
    _nothing_is_left(cluster)
    # What was left is taken up by the next installation, which has no Lease to wait for.
    install(cluster, *flags("replicas=1"))
    namespace.patch("running", cancel=True)
    assert namespace.wait_finished("running")["phase"] == "Cancelled"


def _nothing_is_left(cluster: Cluster) -> None:
    kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
    names = cluster.kubectl("get", kinds, "-o", "name").splitlines()
    names += cluster.kubectl(
        "get", "all,roles,rolebindings,sa,pdb,netpol,leases", "-n", NAMESPACE, "-o", "name"
    ).splitlines()
    terminating = {f"pod/{one['metadata']['name']}" for one in controllers(cluster)}
    assert [name for name in names if "podtask" in name and name not in terminating] == []
    assert "podtasks.podtask.dev" in cluster.kubectl("get", "crd", "-o", "name")


@pytest.mark.usefixtures("crd_alone")
def test_one_namespace_needs_no_rights_on_the_cluster(cluster: Cluster, namespace: Namespace) -> None:
    """Installed by an admin of one namespace who may grant the controller's rights there."""
    here = ("-n", namespace.name)
    cluster.kubectl("create", "rolebinding", "tim-admin", "--clusterrole=admin", "--user=tim", *here)
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "podtask-installer", "namespace": namespace.name},
        "rules": [
            {"apiGroups": ["podtask.dev"], "resources": ["*"], "verbs": ["*"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        ],
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(role))
    cluster.kubectl("create", "rolebinding", "tim-podtask", "--role=podtask-installer", "--user=tim", *here)
    settings = flags(f"watchNamespace={namespace.name}", "crds.enabled=false", "replicas=1")
    tim = (*here, "--kube-as-user", "tim", HANG)
    helm("install", "mine", str(CHART), *tim, "--wait", *settings, kubeconfig=cluster.kubeconfig)
    assert namespace.run("task", **sleep(0, "7"))["xcom"]["value"] == "7"
    helm("uninstall", "mine", *tim, kubeconfig=cluster.kubeconfig)
    assert not any("finalizers" in pod["metadata"] for pod in namespace.pods())


@pytest.mark.usefixtures("crd_alone")
def test_two_releases_of_one_namespace_each_are_independent(cluster: Cluster, namespace: Namespace) -> None:
    """Both have the same release name, each in the namespace of its tasks."""
    second = Namespace(cluster.kubeconfig)
    with contextlib.closing(second):
        second.wait_service_account()
        second.wait_root_certificate()
        both = (namespace, second)
        try:
            for one in both:
                settings = flags(f"watchNamespace={one.name}", "podAdmission.enabled=true", "replicas=1")
                settings += flags("crds.enabled=false", "controller.podHoldSeconds=40")
                helm("install", "podtask", str(CHART), "-n", one.name, *settings, kubeconfig=cluster.kubeconfig)
            for one in both:
                assert one.run("task", **sleep(0, "7"))["xcom"]["value"] == "7"
                assert MARKS_POLICY in Actor(cluster, one.name).create(pod("made", MARKS["label"]))
            first_account = f"system:serviceaccount:{namespace.name}:podtask"
            dry = "--dry-run=server"
            assert MARKS_POLICY in Actor(cluster, second.name, first_account).create(pod("p", marked("t", UID)), dry)
            assert Actor(cluster, "default").create(pod("made", MARKS["label"]), dry) == ""
        finally:
            for one in both:
                helm("uninstall", "podtask", "-n", one.name, "--no-hooks", kubeconfig=cluster.kubeconfig)
                _free(cluster, one)


def _free(cluster: Cluster, namespace: Namespace) -> None:
    for one in namespace.pods():
        if "finalizers" in one["metadata"]:
            Actor(cluster, namespace.name).patch(one["metadata"]["name"], {"metadata": {"finalizers": None}})


@pytest.mark.usefixtures("cleaned")
def test_a_missing_crd_is_reported_in_one_sentence(cluster: Cluster) -> None:
    uninstall(cluster)
    cluster.kubectl("delete", "crd", "podtasks.podtask.dev", "--ignore-not-found")
    settings = flags("crds.enabled=false", "replicas=1")
    helm("install", RELEASE, str(CHART), "-n", NAMESPACE, *settings, kubeconfig=cluster.kubeconfig)
    path = "{.status.containerStatuses[0].lastState.terminated.exitCode}"
    selector = "app.kubernetes.io/component=controller"
    cluster.kubectl("wait", "pod", "-n", NAMESPACE, "-l", selector, f"--for=jsonpath={path}=1", HANG)
    said = [one["status"]["containerStatuses"][0]["lastState"]["terminated"]["message"] for one in controllers(cluster)]
    assert any("the CRD podtasks.podtask.dev is not installed: set crds.enabled=true" in one for one in said)
    assert not any("Traceback" in one for one in said)
