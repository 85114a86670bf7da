"""The chart with its defaults in a real cluster: what it runs, what it may do, what it refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest

from cluster import Cluster
from cluster.errors import ClusterError
from tests.chart import audit
from tests.chart.release import install, uninstall
from tests.chart.rendered import NAMESPACE, flags, only, render
from tests.chart.tasks import NOISE, controllers, python, sleep
from tests.harness import HANG
from tests.harness.controller import ROOT
from tests.harness.tasks import Namespace

pytestmark = [pytest.mark.xdist_group("chart"), pytest.mark.node, pytest.mark.timeout(900)]

NEVER_USED_HERE = {audit.Right("podtask.dev", "podtasks/finalizers", "update")}
"""Needed only in a cluster that guards blockOwnerDeletion (OpenShift); no request uses it."""


@pytest.fixture(scope="module")
def controller(cluster: Cluster, audit_log: Path) -> Iterator[int]:
    """Install as the documents say; only a finished Pod is deleted as soon as may be, so that a test sees it.

    Gives the place in the audit log at which this release begins.
    """
    # What a release without the uninstall's hook leaves behind: the Lease is created here, which is a right to be used.
    cluster.kubectl("delete", "lease", "podtask-controller", "-n", NAMESPACE, "--ignore-not-found")
    begin = audit_log.stat().st_size
    install(cluster, *flags("controller.podHoldSeconds=40"))
    yield begin
    uninstall(cluster)


def test_one_command_installs_a_working_controller(
    cluster: Cluster, controller: int, namespace: Namespace, audit_log: Path
) -> None:
    """The namespace lets restricted Pods in only; the guide's examples run; the rights are those that were used."""
    ready = [one["status"]["containerStatuses"][0] for one in controllers(cluster)]
    assert [(one["ready"], one["restartCount"]) for one in ready] == [(True, 0), (True, 0)]
    for example in ("hello-haskell", "multiply"):
        cluster.kubectl("apply", "-n", namespace.name, "-f", str(ROOT / f"examples/{example}.yaml"))
    _use_every_right(namespace)
    assert namespace.wait_finished("hello-haskell")["phase"] == "Succeeded"
    assert json.loads(namespace.wait_finished("multiply")["xcom"]["value"]) == {"return_value": "437"}
    _compare_rights(audit_log, controller)
    logs = cluster.kubectl("logs", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=controller", "--tail=-1")
    assert '"level": "error"' not in logs, logs


def _use_every_right(namespace: Namespace) -> None:
    namespace.create("brief", **python("pass"), ttlSecondsAfterFinished=1, podRetention="Delete")
    namespace.create("large", **python(NOISE), xcom={"required": True})
    namespace.create("wrong", **python("raise SystemExit(3)"))
    namespace.create("nowhere", **python("pass"), nodeSelector={"there": "is-none"})
    namespace.create("robbed", **sleep(600), disruptionLimit=0)
    volume = {"name": "key", "secret": {"secretName": "there-is-none"}}
    mounts = [{"name": "key", "mountPath": "/key"}]
    namespace.create("unmounted", **python("pass"), volumes=[volume], volumeMounts=mounts)
    # Who finds the name of a Pod taken reads that Pod.
    named = {"metadata": {"name": "one-name"}, "spec": {"containers": [{"name": "base"}]}}
    namespace.create("holder", **sleep(600), template=named)
    namespace.wait("holder", lambda task: task["status"].get("phase") == "Running")
    namespace.create("rival", **python("pass"), template=named)
    namespace.wait("rival", lambda task: task["status"].get("reason") == "NameTaken")
    namespace.patch("rival", cancel=True)
    namespace.patch("holder", cancel=True)
    namespace.wait("nowhere", lambda task: task["status"].get("reason") == "Unschedulable")
    namespace.patch("nowhere", cancel=True)
    # Only the Pod's Events tell of a volume.
    namespace.wait("unmounted", lambda task: "there-is-none" in task["status"].get("message", ""))
    namespace.patch("unmounted", cancel=True)
    _steal_pod(namespace, "robbed")
    assert namespace.wait_finished("large")["xcom"]["sizeBytes"] == 18_002
    assert namespace.wait_finished("wrong")["exitCode"] == 3
    assert namespace.wait_finished("robbed")["phase"] == "Failed"
    assert namespace.wait_finished("nowhere")["phase"] == "Cancelled"
    namespace.wait_gone("brief", 90)


def _steal_pod(namespace: Namespace, task: str) -> None:
    """Remove a running Pod with its finalizer by force: the controller verifies that with a live read."""
    running = namespace.wait(task, lambda found: found["status"].get("phase") == "Running")
    pod = running["status"]["attempts"][-1]["podName"]
    namespace.core.patch_namespaced_pod(pod, namespace.name, {"metadata": {"finalizers": None}})
    namespace.core.delete_namespaced_pod(pod, namespace.name, grace_period_seconds=0)


def _compare_rights(log: Path, since: int) -> None:
    objects = render()
    used = audit.used(log, since, "podtask", NAMESPACE)
    refused = {right: codes for right, codes in used.items() if 403 in codes}
    assert not refused, "the chart gives too few rights"
    rules = [
        *only(objects, "ClusterRole", "podtask")["rules"],
        *only(objects, "Role", "podtask-leader-election")["rules"],
    ]
    assert audit.granted(rules) - NEVER_USED_HERE == set(used), "the chart gives too many rights, or others do"


def test_the_admission_policy_refuses_what_the_crd_cannot(
    cluster: Cluster, controller: int, namespace: Namespace
) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "base"}], "unknown": 1}}
    for name in ("waiting", "begun"):
        namespace.create(name, **python("pass"), template=template, suspend=True)

    def refusal(name: str, *operations: dict[str, Any]) -> str:
        return _refusal(cluster, "patch", "podtask", name, "-n", namespace.name, "--type=json", operations)

    swap = (
        {"op": "remove", "path": "/spec/template/spec/unknown"},
        {"op": "add", "path": "/spec/template/spec/other", "value": 1},
    )
    refused = "ValidatingAdmissionPolicy 'podtask.podtask.dev'"
    assert refused in refusal("waiting", *swap)
    label = {"op": "replace", "path": "/spec/template/metadata/labels/a", "value": "c"}
    assert refusal("waiting", label) == ""
    assert refusal("waiting", {"op": "add", "path": "/spec/nodeSelector", "value": {"a": "b"}}) == ""
    assert refusal("waiting", {"op": "add", "path": "/spec/ttlSecondsAfterFinished", "value": 9000}) == ""
    assert refusal("waiting", {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}) == ""
    assert refusal("begun", {"op": "replace", "path": "/spec/suspend", "value": False}) == ""
    namespace.wait("begun", lambda task: task["status"].get("phase") not in ("Suspended", "Pending"))
    assert refused in refusal("begun", *swap)
    assert refusal("begun", {"op": "add", "path": "/spec/cancel", "value": True}) == ""
    # The controller's writes went on all the time.
    namespace.patch("waiting", cancel=True)
    assert namespace.wait_finished("waiting")["phase"] == "Cancelled"


def _refusal(cluster: Cluster, *arguments: Any) -> str:
    """Patch; return the refusal, or nothing."""
    *words, operations = arguments
    try:
        cluster.kubectl(*words, "-p", json.dumps(operations))
    except ClusterError as error:
        return str(error)
    return ""


@pytest.mark.usefixtures("controller")
def test_users_and_airflow_have_the_rights_of_their_roles(cluster: Cluster, namespace: Namespace) -> None:
    """Kubernetes' roles view and edit include PodTasks; only the controller writes a status."""
    here = ("-n", namespace.name)
    roles = {"view": "view", "edit": "edit", "airflow": "podtask-airflow"}
    for user, role in roles.items():
        cluster.kubectl("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}", *here)
    # The controller manager adds our rules to view and edit a moment after the installation.
    for name, verb in (("view", "list"), ("edit", "create")):
        aggregated = f"{{.rules[?(@.apiGroups[0]=='podtask.dev')].verbs[?(@=='{verb}')]}}"
        cluster.kubectl("wait", f"clusterrole/{name}", f"--for=jsonpath={aggregated}={verb}", HANG)
    wanted = {
        ("view", "list", "podtasks"): True,
        ("view", "create", "podtasks"): False,
        ("edit", "create", "podtasks"): True,
        ("edit", "deletecollection", "podtasks"): True,
        ("edit", "patch", "podtasks/status"): False,
        ("airflow", "create", "podtasks"): True,
        ("airflow", "watch", "podtasks"): True,
        ("airflow", "patch", "podtasks"): True,
        ("airflow", "patch", "podtasks/status"): False,
        ("airflow", "get", "pods/log"): True,
        ("airflow", "create", "pods"): False,
        ("airflow", "create", "pods/exec"): False,
        ("airflow", "get", "secrets"): False,
    }
    got = {(user, verb, resource): _may(namespace, user, verb, resource) for user, verb, resource in wanted}
    assert got == wanted


def _may(namespace: Namespace, user: str, verb: str, resource: str) -> bool:
    name, _, subresource = resource.partition("/")
    about = {"namespace": namespace.name, "verb": verb, "resource": name, "subresource": subresource}
    about["group"] = "podtask.dev" if name == "podtasks" else ""
    review = {"spec": {"user": user, "resourceAttributes": about}}
    answer = kubernetes.client.AuthorizationV1Api(namespace.api_client).create_subject_access_review(review)
    allowed: bool = answer.status.allowed
    return allowed
