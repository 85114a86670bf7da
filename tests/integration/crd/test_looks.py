"""What a person and a watcher see of a PodTask: explain, columns, selection, `kubectl wait`."""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.crd.server import Json, PodTasks
from tests.harness import HANG, HANG_SECONDS

from .conftest import Kubectl

pytestmark = pytest.mark.apiserver


def _task(name: str, **ids: str) -> Json:
    return {
        "apiVersion": "podtask.dev/v1alpha1",
        "kind": "PodTask",
        "metadata": {"name": name}
        | ({"annotations": {f"podtask.dev/{key}-id": value for key, value in ids.items()}} if ids else {}),
        "spec": {"image": "busybox:1.36"},
    }


EXPLAINED = {
    "podtask": "runs one containerised task in a Pod",
    "podtask.spec": "backoffLimit is how many further attempts the task's own failures get",
    "podtask.spec.xcom": "required fails the task where the file is missing or blank",
    "podtask.spec.template.spec": "containers of the Pod, by name",
    "podtask.status": "attemptCount is how many attempts have ended",
    "podtask.status.attempts": "logTail is the last of what a failed container wrote",
}


@pytest.mark.parametrize("path", EXPLAINED)
def test_explain_speaks_our_words(kubectl: Kubectl, podtasks: PodTasks, path: str) -> None:
    shown = " ".join(kubectl("explain", path).split())
    assert EXPLAINED[path] in shown
    assert "<no description>" not in shown


def test_a_new_task_is_pending_without_any_write(podtasks: PodTasks, kubectl: Kubectl) -> None:
    status, created = podtasks.create(_task("fresh"))
    assert status == 201
    assert created["status"] == {"phase": "Pending"}
    assert podtasks.get("fresh")["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    assert podtasks.names("status.phase=Pending") == ["fresh"]
    assert kubectl("get", "pt", "--no-headers").split()[:2] == ["fresh", "Pending"]


def test_status_at_creation_is_ignored(podtasks: PodTasks) -> None:
    _, created = podtasks.create(_task("forged") | {"status": {"phase": "Succeeded"}})
    assert created["status"] == {"phase": "Pending"}


def test_a_watch_by_phase_sees_tasks_come_and_go(podtasks: PodTasks) -> None:
    events = podtasks.watch("status.phase=Pending")
    assert next(events)[0] == "STANDS"
    podtasks.create(_task("watched"))
    kind, obj = next(events)
    assert (kind, obj["metadata"]["name"], obj["status"]) == ("ADDED", "watched", {"phase": "Pending"})
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


def _finished(outcome: str) -> Json:
    time = "2026-01-02T03:04:05Z"
    conditions = [
        {"type": "Finished", "status": "True", "reason": outcome, "lastTransitionTime": time},
        {
            "type": "Succeeded",
            "status": str(outcome == "Succeeded"),
            "reason": outcome,
            "lastTransitionTime": time,
            "observedGeneration": 1,
        },
    ]
    return {"status": {"phase": outcome, "observedGeneration": 1, "conditions": conditions}}


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
    """kubectl takes the condition's observedGeneration, or else the status's own, and waits while it is behind.

    So Finished carries none, and the controller must write observedGeneration after an edit even of a finished task.
    """
    _edited(podtasks, "edited", _finished("Succeeded")["status"])
    with pytest.raises(AssertionError, match="timed out waiting"):
        kubectl("wait", "--for=condition=Finished", "pt/edited", "--timeout=1s")
    with _waiting(kubectl_command, podtasks, "edited"):
        podtasks.patch("edited", {"status": {"observedGeneration": 2}}, status=True)


def test_wait_returns_after_an_edit_where_no_generation_is_observed(podtasks: PodTasks, kubectl: Kubectl) -> None:
    _edited(podtasks, "unobserved", _finished("Succeeded")["status"] | {"observedGeneration": None})
    assert "condition met" in kubectl("wait", "--for=condition=Finished", "pt/unobserved", HANG)


def test_two_managers_apply_each_their_part(podtasks: PodTasks, kubectl: Kubectl) -> None:
    """Server-side apply, which merges: what one manager set stays when the other applies its own."""
    one = _task("merged") | {"spec": {"image": "x", "suspend": True}}
    kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=one)
    two = _task("merged") | {"spec": {"ttlSecondsAfterFinished": 60}}
    kubectl("apply", "--server-side", "--field-manager=two", "-f", "-", stdin=two)
    assert podtasks.get("merged")["spec"] == {"image": "x", "suspend": True, "ttlSecondsAfterFinished": 60}
