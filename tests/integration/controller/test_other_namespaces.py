"""A tenant with rights in one namespace, and a controller of all: its Pods do not affect tasks of other namespaces.

On an API server of its own, because a controller of all namespaces would take part in every other test.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import Cluster
from podtask.core import identity
from tests.harness import crd
from tests.harness.controller import Controller
from tests.harness.tasks import Namespace, Object
from tests.integration.controller.kubelet import Kubelet, always, by_attempt

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("all-namespaces")]

FORGED = '{"return_value":"FORGED"}'
RESULT = {"path": "/airflow/xcom/return.json", "mode": "Direct", "required": True}
FINALIZER = "podtask.dev/outcome"
LIMIT = 2


@pytest.fixture(scope="module")
def api_server(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """An API server of its own, with our CRD."""
    return crd.api_server("tenants-tests", pytestconfig, tmp_path_factory)


@pytest.fixture(scope="module")
def controller(api_server: Cluster) -> Iterator[Controller]:
    """A controller of all namespaces."""
    with Controller(api_server.kubeconfig, f"--policy-max-running-pods={LIMIT}") as running:
        yield running


class Tenants:
    """A namespace whose tasks are attacked, and the attacker's."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.victim, self.attacker = Namespace(kubeconfig), Namespace(kubeconfig)
        for namespace in (self.victim, self.attacker):
            namespace.core.create_namespaced_service_account(namespace.name, {"metadata": {"name": "default"}})

    def forge(self, task: Object, *marks: str, number: int = 1, phase: str = "Succeeded", code: int = 0) -> Object:
        """Create a Pod in the attacker's namespace with the name of an attempt, and run it to this phase.

        `marks` are of "labels", "owner", "finalizer".
        """
        uid, name = task["metadata"]["uid"], task["metadata"]["name"]
        metadata: Object = {"name": identity.pod_name(name, uid, number), **self.marks(task, *marks, number=number)}
        core, here = self.attacker.core, self.attacker.name
        pod = {"metadata": metadata, "spec": {"containers": [{"name": "base", "image": "i"}]}}
        made = core.create_namespaced_pod(here, pod)
        ended = {"exitCode": code, "message": FORGED, "reason": "Completed", "startedAt": T0, "finishedAt": T1}
        state = {"terminated": ended} if phase in {"Succeeded", "Failed"} else {"running": {"startedAt": T0}}
        container = {"name": "base", "image": "i", "imageID": "i", "ready": False, "restartCount": 0, "state": state}
        status = {"phase": phase, "startTime": T0, "containerStatuses": [container]}
        core.patch_namespaced_pod_status(made.metadata.name, here, {"status": status})
        return {"name": made.metadata.name, "uid": made.metadata.uid}

    def marks(self, task: Object, *marks: str, number: int = 1) -> Object:
        """Return the metadata that marks a Pod as an attempt of this task."""
        uid, name = task["metadata"]["uid"], task["metadata"]["name"]
        labels = identity.pod_labels(name, uid, number) if "labels" in marks else {}
        owners = [identity.owner_reference(name, uid)] if "owner" in marks else []
        finalizers = [FINALIZER] if "finalizer" in marks else []
        return {
            "labels": labels,
            "ownerReferences": owners,
            "finalizers": finalizers,
            "annotations": {"podtask.dev/task": name} if labels else {},
        }

    def mark(self, pod: Object, task: Object, *marks: str) -> None:
        """Set this metadata on an existing Pod."""
        self.attacker.core.patch_namespaced_pod(pod["name"], self.attacker.name, {"metadata": self.marks(task, *marks)})

    def attempts(self) -> list[Object]:
        """List the Pods of the victim's tasks."""
        return [pod for pod in self.victim.pods() if "podtask.dev/task-uid" in pod["metadata"].get("labels", {})]

    def settle(self, controller: Controller) -> None:
        """Wait until the controller has handled all earlier changes: another task has run from start to end."""
        with Kubelet(self.kubeconfig, self.attacker.name, always(0)):
            assert self.attacker.run("bystander", image="i")["phase"] == "Succeeded"
        assert not [line for line in controller.lines if "reconcile failed" in line or "Traceback" in line]

    def close(self) -> None:
        """Delete both namespaces, the attacker's Pods without our finalizer."""
        for pod in self.attacker.pods():
            if pod["metadata"].get("finalizers"):
                self.attacker.core.patch_namespaced_pod(
                    pod["metadata"]["name"], self.attacker.name, {"metadata": {"finalizers": None}}
                )
        self.victim.close()
        self.attacker.close()


T0, T1 = "2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z"


@pytest.fixture
def tenants(api_server: Cluster, controller: Controller) -> Iterator[Tenants]:
    with contextlib.closing(Tenants(api_server.kubeconfig)) as made:
        yield made


def check_wages_are_paid(tenants: Tenants) -> None:
    """The task runs in its own namespace, once, and has the result of its own Pod."""
    with Kubelet(tenants.kubeconfig, tenants.victim.name, always(0), message='{"return_value":"REAL"}'):
        tenants.victim.patch("wages", suspend=False)
        status = tenants.victim.wait_finished("wages")
    assert (status["phase"], status["attemptCount"]) == ("Succeeded", 1), status
    assert json.loads(status["xcom"]["value"]) == {"return_value": "REAL"}
    (pod,) = tenants.attempts()
    assert status["attempts"][0]["podUID"] == pod["metadata"]["uid"]


def check_untouched(tenants: Tenants, task: Object) -> None:
    """A suspended task has had no attempt, and no reason but its suspension."""
    status = tenants.victim.get(task["metadata"]["name"])["status"]
    assert (status["phase"], status["reason"]) == ("Suspended", "Suspended"), status
    assert not status.get("attemptCount")
    assert not status.get("attempts")


def suspended(tenants: Tenants, **spec: Any) -> Object:
    """A suspended task that is to return a result, once the controller has written that it is suspended."""
    tenants.victim.create("wages", image="i", suspend=True, xcom=RESULT, **spec)
    return tenants.victim.wait("wages", lambda t: t["status"].get("reason") == "Suspended")


def test_a_pod_that_is_labelled_after_its_end_delivers_no_result(tenants: Tenants, controller: Controller) -> None:
    task = suspended(tenants)
    pod = tenants.forge(task)
    tenants.mark(pod, task, "labels", "owner", "finalizer")
    tenants.settle(controller)
    check_untouched(tenants, task)
    check_wages_are_paid(tenants)


def test_a_labelled_pod_that_is_deleted_is_no_attempt(tenants: Tenants, controller: Controller) -> None:
    """As the garbage collector deletes it, because the owner is not in its namespace."""
    task = suspended(tenants)
    pod = tenants.forge(task, "labels", "owner", "finalizer", phase="Pending")
    tenants.attacker.core.delete_namespaced_pod(pod["name"], tenants.attacker.name, grace_period_seconds=0)
    tenants.settle(controller)
    check_untouched(tenants, task)
    check_wages_are_paid(tenants)


@pytest.mark.parametrize("phase", ["Running", "Failed"])
def test_label_and_name_alone_cause_no_name_conflict(tenants: Tenants, controller: Controller, phase: str) -> None:
    task = suspended(tenants)
    tenants.forge(task, "labels", phase=phase)
    tenants.settle(controller)
    check_untouched(tenants, task)
    check_wages_are_paid(tenants)


def test_a_pod_created_in_advance_is_not_the_second_attempt(tenants: Tenants, controller: Controller) -> None:
    task = suspended(tenants, backoffLimit=1, backoff={"initialSeconds": 1})
    tenants.forge(task, "labels", "owner", number=2)
    with Kubelet(tenants.kubeconfig, tenants.victim.name, by_attempt(1, 0), message='{"return_value":"REAL"}'):
        tenants.victim.patch("wages", suspend=False)
        status = tenants.victim.wait_finished("wages")
    assert status["attempts"][0]["reason"] == "NonZeroExit"
    assert status["phase"] == "Succeeded"
    assert len(tenants.attempts()) == 2
    assert "FORGED" not in json.dumps(status)


def test_a_finished_task_is_deleted_by_its_ttl_despite_a_foreign_pod(tenants: Tenants, controller: Controller) -> None:
    """The foreign Pod is neither stopped nor released."""
    task = suspended(tenants, ttlSecondsAfterFinished=0)
    pod = tenants.forge(task, "labels", "owner", "finalizer", phase="Running")
    with Kubelet(tenants.kubeconfig, tenants.victim.name, always(0), message='{"return_value":1}'):
        tenants.victim.patch("wages", suspend=False)
        tenants.victim.wait_gone("wages")
    left = tenants.attacker.core.read_namespaced_pod(pod["name"], tenants.attacker.name)
    assert left.spec.active_deadline_seconds is None


def test_pods_of_other_namespaces_use_no_slots(tenants: Tenants, controller: Controller) -> None:
    task = suspended(tenants)
    for number in range(1, LIMIT + 2):
        tenants.forge(task, "labels", "owner", number=number, phase="Running")
    check_wages_are_paid(tenants)
