"""The admission policies for tasks' Pods: what they refuse, and the allowed writes that pass."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client

from cluster import Cluster
from podtask.api import names
from podtask.api.reasons import Reason
from podtask.core import create_errors, identity
from podtask.core.snapshot import CreateError
from tests.builders import at
from tests.chart import audit
from tests.chart.pods import BOUNDS_POLICY, MARKS, MARKS_POLICY, OWNER, UID, Actor, marked, pod
from tests.chart.release import install, uninstall, upgrade
from tests.chart.rendered import NAMESPACE, Object, flags
from tests.chart.tasks import PYTHON, python, sleep
from tests.harness.tasks import Namespace

pytestmark = [pytest.mark.xdist_group("chart"), pytest.mark.node, pytest.mark.timeout(240)]

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:podtask"
BACKUP = "system:serviceaccount:velero:velero"
SETTINGS = ("controller.podHoldSeconds=40", f"podAdmission.exemptUsers={{{BACKUP}}}")


@pytest.fixture(scope="module")
def controller(cluster: Cluster, audit_log: Path) -> Iterator[int]:
    """Install with the policies as they are by default; return the place in the audit log where this release begins."""
    begin = audit_log.stat().st_size
    install(cluster, *flags(*SETTINGS))
    yield begin
    uninstall(cluster)


@pytest.fixture
def admin(cluster: Cluster, namespace: Namespace) -> Actor:
    """A user with all rights that roles can grant."""
    return Actor(cluster, namespace.name)


@pytest.fixture
def token(cluster: Cluster, namespace: Namespace) -> Actor:
    """A user with the controller's token."""
    return Actor(cluster, namespace.name, ACCOUNT, rights=False)


# ---- what is refused ----


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("mark", MARKS.values(), ids=MARKS)
def test_only_the_controller_may_set_its_metadata_on_a_pod(admin: Actor, namespace: Namespace, mark: Object) -> None:
    assert admin.create(pod("plain")) == ""
    assert MARKS_POLICY in admin.patch("plain", {"metadata": mark})
    assert MARKS_POLICY in admin.patch("plain", {"metadata": {**mark, "labels": {"a": "b", **mark.get("labels", {})}}})
    assert MARKS_POLICY in admin.patch("plain", {"metadata": mark}, "--type=strategic")
    (left,) = namespace.pods()
    assert not mark.keys() & left["metadata"].keys()
    refused = admin.create(pod("made", mark))
    # An annotation alone may come with a new Pod: so `kubectl debug` copies one. It decides nothing.
    assert (MARKS_POLICY in refused) == (mark.keys() != {"annotations"})
    if refused:
        # A controller whom the policy does not know waits, and ends no task over it.
        known = create_errors.classify_create_error(
            CreateError(attempt=1, code=403, reason="Forbidden", message=refused, at=at(1))
        )
        assert known == (create_errors.Decision.WAIT, Reason.CREATE_REFUSED)


@pytest.mark.usefixtures("controller")
def test_the_subresources_status_and_binding_are_guarded_too(admin: Actor, namespace: Namespace) -> None:
    """Both bring labels and annotations to a Pod, and a status a finalizer too."""
    assert admin.create(pod("plain")) == ""
    for name in ("label", "another label"):
        labels = {names.LABEL_TASK_UID: UID, **MARKS[name]["labels"]}
        assert MARKS_POLICY in admin.patch("plain", {"metadata": {"labels": labels}}, "--subresource=status")
    where = f"/api/v1/namespaces/{namespace.name}"
    for name in ("label", "annotation"):
        binding = {"metadata": {"name": "plain", **MARKS[name]}, "target": {"kind": "Node", "name": "nowhere"}}
        binding |= {"apiVersion": "v1", "kind": "Binding"}
        for path in (f"{where}/pods/plain/binding", f"{where}/bindings"):
            assert MARKS_POLICY in admin.post(path, binding)
    (left,) = namespace.pods()
    assert not {"labels", "annotations"} & left["metadata"].keys()
    assert "nodeName" not in left["spec"]


@pytest.mark.usefixtures("controller")
def test_an_ended_pod_cannot_be_given_our_metadata(admin: Actor, namespace: Namespace) -> None:
    """Unmarked it is run to its end under the very name, then given labels and owner by one PATCH."""
    uid = namespace.create("victim", **sleep(0, "7"), suspend=True)["metadata"]["uid"]
    name = identity.pod_name("victim", uid, 1)
    command = ["python3", "-c", "open('/dev/termination-log', 'w').write('forged')"]
    spec = {"schedulerName": "default-scheduler", "restartPolicy": "Never"}
    container = {"name": "base", "image": PYTHON, "command": command}
    assert admin.create(pod(name, **spec, containers=[container])) == ""
    namespace.wait_pod(lambda _, one: one["status"]["phase"] == "Succeeded")
    marks = marked("victim", uid)
    assert MARKS_POLICY in admin.patch(name, {"metadata": marks})
    assert MARKS_POLICY in admin.patch(name, {"metadata": {"labels": marks["labels"]}})
    namespace.wait("victim", lambda task: task["status"].get("phase") == "Suspended")
    assert admin.delete(name) == ""
    namespace.patch("victim", suspend=False)
    assert namespace.wait_finished("victim")["xcom"]["value"] == "7"


@pytest.mark.usefixtures("controller")
def test_a_pod_cannot_be_moved_to_another_task(admin: Actor, token: Actor, namespace: Namespace) -> None:
    namespace.create("etl", **sleep(600))
    mine = namespace.wait_pod(lambda _, one: one["status"]["phase"] == "Running")["metadata"]
    name, (owner,) = mine["name"], mine["ownerReferences"]
    changes: dict[str, Object] = {
        "value of a label": {"labels": {names.LABEL_TASK_UID: UID}},
        "value of an annotation": {"annotations": {names.ANNOTATION_SPEC_HASH: "0"}},
        "stop": {"annotations": {names.ANNOTATION_STOP: "Cancelled"}},
        "owner's uid": {"ownerReferences": [{**owner, "uid": UID}]},
        "second owner": {"ownerReferences": [owner, {**OWNER, "controller": False}]},
    }
    refused = {what: MARKS_POLICY in admin.patch(name, {"metadata": change}) for what, change in changes.items()}
    assert refused == dict.fromkeys(changes, True)
    # Nor can a holder of the controller's token change what it runs.
    image = {"spec": {"containers": [{"name": "base", "image": "evil"}]}}
    assert "changes no container" in token.patch(name, image, "--type=strategic")
    assert token.patch(name, {"spec": {"activeDeadlineSeconds": 500}}, "--dry-run=server") == ""


@pytest.mark.usefixtures("controller")
def test_the_controllers_token_creates_only_pods_of_tasks(cluster: Cluster, token: Actor) -> None:
    """Tried as a dry run."""
    dry = "--dry-run=server"
    whole = marked("etl", UID)
    assert token.create(pod("whole", whole), dry) == ""
    wrong: dict[str, Object] = {
        "nothing": {},
        "only a label": {**whole, "ownerReferences": []},
        "an owner of another kind": {**whole, "ownerReferences": [{**OWNER, "apiVersion": "v1", "kind": "Secret"}]},
        "an owner that is not the controller": {**whole, "ownerReferences": [{**OWNER, "controller": False}]},
        "no label": {**whole, "labels": {}},
        "the label of another task": {**whole, "labels": identity.pod_labels("etl", "another", 1)},
    }
    refused = {what: BOUNDS_POLICY in token.create(pod("p", metadata), dry) for what, metadata in wrong.items()}
    assert refused == dict.fromkeys(wrong, True)
    for closed in ("kube-system", NAMESPACE):
        said = Actor(cluster, closed, ACCOUNT, rights=False).create(pod("whole", whole, **_restricted()), dry)
        assert "no PodTask runs in this namespace" in said


def _restricted() -> Object:
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    own = {"runAsNonRoot": True, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"containers": [{"name": "base", "image": PYTHON, "securityContext": context}], "securityContext": own}


@pytest.mark.usefixtures("controller")
def test_the_controllers_token_changes_only_pods_of_tasks(admin: Actor, token: Actor, namespace: Namespace) -> None:
    assert admin.create(pod("foreign", {"finalizers": ["example.com/kept"], "labels": {"a": "b"}})) == ""
    changes: dict[str, Object] = {
        "image": {"spec": {"containers": [{"name": "base", "image": "evil"}]}},
        "label": {"metadata": {"labels": {"a": "c"}}},
        "another's finalizer": {"metadata": {"finalizers": []}},
        "deadline": {"spec": {"activeDeadlineSeconds": 1}},
        "marks": {"metadata": marked("etl", UID)},
    }
    refused = {
        what: BOUNDS_POLICY in token.patch("foreign", change, "--type=strategic") for what, change in changes.items()
    }
    assert refused == dict.fromkeys(changes, True)
    assert BOUNDS_POLICY in token.delete("foreign")
    (left,) = namespace.pods()
    assert "deletionTimestamp" not in left["metadata"]
    assert admin.patch("foreign", {"metadata": {"finalizers": []}}) == ""


@pytest.mark.usefixtures("controller")
def test_a_task_in_a_closed_namespace_ends_with_the_policys_message(cluster: Cluster) -> None:
    closed = Namespace(cluster.kubeconfig, name="kube-system")
    try:
        status = closed.run("misplaced", **python("pass"))
        assert (status["phase"], status["reason"]) == ("Failed", "AdmissionDenied")
        assert "podAdmission.closedNamespaces" in status["message"]
    finally:
        closed.delete("misplaced")
        closed.api_client.close()  # not `close`: the namespace stays


# ---- what is let through ----


def test_tasks_run_from_creation_to_deletion_under_the_policies(
    cluster: Cluster, controller: int, namespace: Namespace, audit_log: Path
) -> None:
    """Results, retries, cancelling, times to live, every kind of deletion, and a namespace that goes with all in it."""
    second = Namespace(cluster.kubeconfig)
    with contextlib.closing(second):
        second.wait_service_account()
        second.wait_root_certificate()
        second.create("goes-with-it", **sleep(600))
        namespace.create("succeeds", **sleep(0, "1"))
        namespace.create("again", **python("raise SystemExit(1)"), backoffLimit=1, backoff={"initialSeconds": 1})
        namespace.create("brief", **python("pass"), ttlSecondsAfterFinished=1, podRetention="Delete")
        deleted = {kind: f"deleted-{kind.lower()}" for kind in ("Background", "Foreground", "Orphan")}
        for task in ("cancelled", *deleted.values()):
            namespace.create(task, **sleep(600), template=_ends_at_once())
        for task in ("cancelled", *deleted.values()):
            namespace.wait(task, lambda found: found["status"].get("phase") == "Running")
        namespace.patch("cancelled", cancel=True)
        for kind, task in deleted.items():
            namespace.delete(task, kind)
        for task in deleted.values():
            namespace.wait_gone(task)
        orphan = namespace.wait_pod(lambda _, one: _is_free(one, deleted["Orphan"]))
        assert namespace.wait_finished("succeeds")["xcom"]["value"] == "1"
        assert namespace.wait_finished("again")["attemptCount"] == 2
        assert namespace.wait_finished("cancelled")["phase"] == "Cancelled"
        namespace.wait_gone("brief")
        second.wait("goes-with-it", lambda found: found["status"].get("phase") == "Running")
        second.core.delete_namespace(second.name)
        second.wait_deleted()
        assert orphan["status"]["phase"] == "Running", "an orphan runs on"
        cluster.kubectl("delete", "pod", "-n", namespace.name, orphan["metadata"]["name"])
    used = audit.used(audit_log, controller, "podtask", NAMESPACE)
    refused = {right: codes for right, codes in used.items() if 403 in codes and right.resource == "pods"}
    # What begins in a namespace that goes, or where a task may not run, is refused by others or on purpose.
    assert set(refused) <= {audit.Right("", "pods", "create")}


def _ends_at_once() -> Object:
    return {"spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "base"}]}}


def _is_free(one: Object, task: str) -> bool:
    meta = one["metadata"]
    return meta["name"].startswith(task) and "finalizers" not in meta and "ownerReferences" not in meta


@pytest.mark.usefixtures("controller")
def test_users_and_tools_may_still_change_pods_of_tasks(cluster: Cluster, admin: Actor, namespace: Namespace) -> None:
    namespace.create("etl", **sleep(600), template=_ends_at_once())
    mine = namespace.wait_pod(lambda _, one: one["status"]["phase"] == "Running")["metadata"]
    name, here = mine["name"], ("-n", namespace.name)
    assert admin.patch(name, {"metadata": {"labels": {"team": "a"}, "annotations": {"example.com/a": "b"}}}) == ""
    assert admin.patch(name, {"metadata": {"finalizers": [*mine["finalizers"], "example.com/mine"]}}) == ""
    assert admin.patch(name, {"metadata": {"finalizers": ["podtask.dev/outcome"]}}) == ""
    # What the garbage collector does: keep an owner's deletion from waiting for the Pod, or take the owner off.
    (owner,) = mine["ownerReferences"]
    assert admin.patch(name, {"metadata": {"ownerReferences": [{**owner, "blockOwnerDeletion": False}]}}) == ""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": UID}
    dry = "--dry-run=server"
    assert admin.patch(name, {"metadata": {"ownerReferences": [owner, config]}}, dry) == ""
    assert admin.patch(name, {"metadata": {"ownerReferences": None}}, dry) == ""
    status = {"type": "example.com/Seen", "status": "True"}
    assert admin.patch(name, {"status": {"conditions": [status]}}, "--subresource=status", dry) == ""
    cluster.kubectl("debug", name, f"--image={PYTHON}", "--image-pull-policy=Never", "--quiet", *here, "--", "true")
    cluster.kubectl("debug", name, f"--image={PYTHON}", "--copy-to=copy", "--quiet", *here, "--", "true")
    assert admin.delete("copy", "--now") == ""
    # The controller may put back on its own Pod what a user took off.
    assert admin.patch(name, {"metadata": {"labels": {names.LABEL_TASK_UID: None}}}) == ""
    namespace.wait_pod(lambda _, one: names.LABEL_TASK_UID in one["metadata"]["labels"])
    assert admin.patch(name, {"metadata": {"finalizers": None}}) == ""
    assert admin.delete(name, "--now") == ""
    # Pods without marks are not checked.
    assert admin.create(pod("plain", {"labels": {"podtask.development/a": "b"}, "finalizers": ["example.com/x"]})) == ""
    assert admin.patch("plain", {"metadata": {"labels": {"c": "d"}, "finalizers": None}}) == ""


@pytest.mark.usefixtures("controller")
def test_the_token_may_only_release_a_pod_without_its_owner(
    cluster: Cluster, token: Actor, namespace: Namespace
) -> None:
    backup = Actor(cluster, namespace.name, BACKUP)
    # No label, so that the real controller does not see it.
    assert backup.create(pod("lost", {"finalizers": ["example.com/kept", names.FINALIZER]})) == ""
    for change in (
        {"metadata": {"finalizers": ["example.com/kept"], "labels": {"a": "b"}}},
        {"metadata": {"finalizers": ["example.com/kept"], "annotations": {"a": "b"}}},
        {"metadata": {"finalizers": ["example.com/kept"], "ownerReferences": [OWNER]}},
        {"metadata": {"finalizers": ["example.com/kept"]}, "spec": {"activeDeadlineSeconds": 1}},
        {"metadata": {"finalizers": None}},
    ):
        assert BOUNDS_POLICY in token.patch("lost", change), change
    assert BOUNDS_POLICY in token.delete("lost")
    assert token.patch("lost", {"metadata": {"finalizers": ["example.com/kept"]}}) == ""
    assert backup.patch("lost", {"metadata": {"finalizers": None}}) == ""


@pytest.mark.usefixtures("controller")
def test_an_exempt_user_may_restore_pods_with_our_metadata(cluster: Cluster, namespace: Namespace) -> None:
    dry = "--dry-run=server"
    assert Actor(cluster, namespace.name, BACKUP).create(pod("restored", marked("etl", UID)), dry) == ""
    other = Actor(cluster, namespace.name, f"{BACKUP}-2")
    assert MARKS_POLICY in other.create(pod("restored", marked("etl", UID)), dry)


@pytest.mark.usefixtures("controller")
def test_the_api_server_finds_nothing_wrong_with_the_expressions(cluster: Cluster) -> None:
    """It compares them with a Pod's types, in its own time."""
    for kind in ("pod-marks", "controller-pods"):
        about = f"validatingadmissionpolicy/{kind}.podtask.{NAMESPACE}.podtask.dev"
        cluster.kubectl("wait", about, "--for=jsonpath={.status.observedGeneration}=1", "--timeout=30s")
        status = json.loads(cluster.kubectl("get", about, "-o", "json"))["status"]
        assert status.get("typeChecking", {}).get("expressionWarnings", []) == []


@pytest.mark.usefixtures("controller")
def test_audit_mode_refuses_nothing_and_warns(cluster: Cluster, namespace: Namespace) -> None:
    def try_it(mark: Object | None = None) -> tuple[int, str]:
        try:
            answer = namespace.core.create_namespaced_pod(
                namespace.name, pod("made", mark), dry_run="All", _preload_content=False
            )
        except client.ApiException as error:
            return error.status, ""
        return answer.status, answer.headers.get("Warning", "")

    def wait_for(code: int) -> str:
        """Try until the API server has loaded the change; return the warning."""
        end = time.monotonic() + 20
        while (got := try_it(MARKS["label"]))[0] != code:
            assert time.monotonic() < end, got
            time.sleep(0.1)
        return got[1]

    upgrade(cluster, "--reuse-values", *flags("podAdmission.action=Audit"))
    try:
        assert "only PodTask's controller" in wait_for(201)
        assert try_it() == (201, "")
    finally:
        upgrade(cluster, "--reuse-values", *flags("podAdmission.action=Deny"))
        wait_for(403)
