"""What a person and a watcher see of a PodTask: explain, columns, selection, `kubectl wait`."""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.crd import judge
from tests.crd.server import Json, PodTasks
from tests.harness import HANG, HANG_SECONDS

from .conftest import Kubectl

pytestmark = pytest.mark.apiserver


NEW_STATUS = {"phase": "Pending", "observedGeneration": 0}


def _task(name: str, **ids: str) -> Json:
    return {
        "apiVersion": "podtask.dev/v1alpha1",
        "kind": "PodTask",
        "metadata": {"name": name}
        | ({"annotations": {f"podtask.dev/{key}-id": value for key, value in ids.items()}} if ids else {}),
        "spec": {"image": "busybox:1.36"},
    }


EXPLAINED = {
    "podtask": "runs a container to completion in a Pod",
    "podtask.spec": "Number of further attempts after failures of the task itself. Default: 0.",
    "podtask.spec.xcom": "If true, the task fails if the file is missing or blank. Default: false.",
    "podtask.spec.template.spec": "Containers of the Pod, by name.",
    "podtask.status": "Number of attempts that have ended.",
    "podtask.status.attempts": "Last part of the log of a container that failed, up to 2048 characters.",
}


@pytest.mark.parametrize("path", EXPLAINED)
def test_explain_speaks_our_words(kubectl: Kubectl, podtasks: PodTasks, path: str) -> None:
    shown = " ".join(kubectl("explain", path).split())
    assert EXPLAINED[path] in shown
    assert "<no description>" not in shown


def test_a_new_task_is_pending_without_any_write(podtasks: PodTasks, kubectl: Kubectl) -> None:
    status, created = podtasks.create(_task("fresh"))
    assert status == 201
    assert created["status"] == NEW_STATUS
    assert podtasks.get("fresh")["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    assert podtasks.names("status.phase=Pending") == ["fresh"]
    assert kubectl("get", "pt", "--no-headers").split()[:2] == ["fresh", "Pending"]


def test_a_new_task_shows_its_defaults(podtasks: PodTasks) -> None:
    _, created = podtasks.create(_task("defaults"))
    assert created["spec"] == judge.with_defaults(_task("defaults"))["spec"]
    assert (created["spec"]["backoffLimit"], created["spec"]["disruptionLimit"]) == (0, 3)


def test_the_category(podtasks: PodTasks, kubectl: Kubectl) -> None:
    podtasks.create(_task("listed"))
    assert "podtask.podtask.dev/listed" in kubectl("get", "podtask-all", "-o", "name").split()


def test_labels_select_the_tasks_of_a_dag(podtasks: PodTasks, kubectl: Kubectl) -> None:
    for name, dag in (("one", "a"), ("two", "b")):
        task = _task(name)
        task["metadata"]["labels"] = {"dag_id": dag}
        podtasks.create(task)
    assert kubectl("get", "pt", "-l", "dag_id=a", "-o", "name").split() == ["podtask.podtask.dev/one"]


def test_status_at_creation_is_ignored(podtasks: PodTasks) -> None:
    _, created = podtasks.create(_task("forged") | {"status": {"phase": "Succeeded"}})
    assert created["status"] == NEW_STATUS


def test_a_watch_by_phase_sees_tasks_come_and_go(podtasks: PodTasks) -> None:
    events = podtasks.watch("status.phase=Pending")
    assert next(events)[0] == "STANDS"
    podtasks.create(_task("watched"))
    kind, obj = next(events)
    assert (kind, obj["metadata"]["name"], obj["status"]) == ("ADDED", "watched", NEW_STATUS)
    podtasks.patch("watched", {"status": {"phase": "Running"}}, status=True)
    kind, obj = next(events)
    assert (kind, obj["metadata"]["name"]) == ("DELETED", "watched")
    assert podtasks.names("status.phase=Running") == ["watched"]
    events.close()


def test_columns(podtasks: PodTasks, kubectl: Kubectl) -> None:
    podtasks.create(_task("shown", dag="warehouse", task="load"))
    attempts = [
        {"number": number, "podName": f"shown-{number}", "nodeName": f"node-{number}"} for number in range(1, 13)
    ]
    whole = {"phase": "Failed", "reason": "NonZeroExit", "attemptCount": 12, "exitCode": 3, "attempts": attempts}
    podtasks.patch("shown", {"status": whole}, status=True)
    head, row = kubectl("get", "pt").splitlines()
    assert head.split() == ["NAME", "PHASE", "REASON", "ATTEMPTS", "EXIT", "AGE"]
    assert row.split()[:5] == ["shown", "Failed", "NonZeroExit", "12", "3"]
    head, row = kubectl("get", "podtask", "-o", "wide").splitlines()
    assert head.split()[6:] == ["POD", "NODE", "DAG", "TASK"]
    assert row.split()[6:] == ["shown-12", "node-12", "warehouse", "load"], "the last attempt's"


def _finished(outcome: str, generation: int = 1) -> Json:
    time = "2026-01-02T03:04:05Z"
    conditions = [
        {
            "type": kind,
            "status": str(kind == "Finished" or outcome == "Succeeded"),
            "reason": outcome,
            "message": "The task has ended.",
            "lastTransitionTime": time,
            "observedGeneration": generation,
        }
        for kind in ("Finished", "Succeeded")
    ]
    return {"status": {"phase": outcome, "observedGeneration": generation, "conditions": conditions}}


@contextlib.contextmanager
def _waiting(kubectl_command: list[str], podtasks: PodTasks, name: str) -> Iterator[None]:
    """Run `kubectl wait` beside the body, and see that it ends well."""
    command = [*kubectl_command, f"--namespace={podtasks.namespace}", "wait", "--for=condition=Finished", f"pt/{name}"]
    with subprocess.Popen([*command, HANG], stdout=subprocess.PIPE, text=True) as waiting:
        yield
        out, _ = waiting.communicate(timeout=HANG_SECONDS)
    assert waiting.returncode == 0
    assert "condition met" in out


@pytest.mark.parametrize("outcome", ["Succeeded", "Failed", "Cancelled"])
def test_wait_for_finished_covers_every_end(podtasks: PodTasks, kubectl_command: list[str], outcome: str) -> None:
    name = f"awaited-{outcome.lower()}"
    podtasks.create(_task(name))
    with _waiting(kubectl_command, podtasks, name):
        status, reply = podtasks.patch(name, _finished(outcome), status=True)
        assert status == 200, reply


def _edited(podtasks: PodTasks, name: str, status: Json) -> None:
    podtasks.create(_task(name))
    podtasks.patch(name, {"status": status}, status=True)
    code, reply = podtasks.patch(name, {"spec": {"ttlSecondsAfterFinished": 60}})
    assert code == 200
    assert reply["metadata"]["generation"] == 2


def test_wait_returns_after_an_edit_once_its_generation_is_observed(
    podtasks: PodTasks, kubectl: Kubectl, kubectl_command: list[str]
) -> None:
    """kubectl compares observedGeneration of the condition with the object's generation, and waits while it is behind.

    So the controller writes it after an edit of a finished task, into the conditions too.
    """
    _edited(podtasks, "edited", _finished("Succeeded")["status"])
    with pytest.raises(AssertionError, match="timed out waiting"):
        kubectl("wait", "--for=condition=Finished", "pt/edited", "--timeout=1s")
    with _waiting(kubectl_command, podtasks, "edited"):
        podtasks.patch("edited", _finished("Succeeded", 2), status=True)


@pytest.mark.parametrize("absent", ["type", "status", "reason", "message", "lastTransitionTime"])
def test_a_condition_is_whole(podtasks: PodTasks, absent: str) -> None:
    podtasks.create(_task("partial"))
    body = _finished("Succeeded")
    del body["status"]["conditions"][0][absent]
    code, reply = podtasks.patch("partial", body, status=True)
    assert code == 422
    assert f"status.conditions[0].{absent}" in reply["message"]


def test_two_managers_apply_each_their_part(podtasks: PodTasks, kubectl: Kubectl) -> None:
    """Server-side apply, which merges: what one manager set stays when the other applies its own."""
    one = _task("merged") | {"spec": {"image": "x", "suspend": True}}
    kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=one)
    two = _task("merged") | {"spec": {"ttlSecondsAfterFinished": 60}}
    kubectl("apply", "--server-side", "--field-manager=two", "-f", "-", stdin=two)
    merged = {"spec": {"image": "x", "suspend": True, "ttlSecondsAfterFinished": 60}}
    assert podtasks.get("merged")["spec"] == judge.with_defaults(merged)["spec"]
