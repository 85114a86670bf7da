"""From the wire inward, where the wire brings what no Pod has."""

import json
import os
import subprocess
import sys

import pytest

from podtask.api import names
from podtask.core.decide import decide
from podtask.core.plan import WriteStatus
from podtask.core.pod import Written
from podtask.core.settings import Settings
from podtask.core.snapshot import TaskSnapshot
from podtask.kube.merge_patch import json_merge_patch
from podtask.runtime import decode
from tests.builders import KUBELETS, at, make_pod

HEAD = (
    b'{"metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"1","generation":1,'
    b'"creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"image":"i","template":{"spec":{"x":'
)


def task(levels: int) -> bytes:
    return HEAD + b'{"a":' * levels + b"1" + b"}" * levels + b"}}}}"


@pytest.mark.parametrize("levels", [98, 200, 900, 1_000, 9_990])
def test_a_spec_that_is_nested_too_deep_is_a_problem_and_no_error(levels: int) -> None:
    found = decode.decode_task(task(levels))
    assert found.metadata.uid == "u"
    assert found.problem == "spec is nested deeper than 100 levels"
    assert found.raw_spec == b""


def test_a_spec_as_deep_as_allowed_is_whole() -> None:
    found = decode.decode_task(task(decode.MOST_LEVELS - 3))
    assert found.problem == ""
    assert found.raw_spec


def test_a_deep_task_of_another_controller_is_still_its() -> None:
    raw = task(3_000).replace(b'"image":"i"', b'"managedBy":"kueue.x-k8s.io/multikueue"')
    assert decode.decode_task(raw).spec.managed_by == "kueue.x-k8s.io/multikueue"


TEXT = "x" * 4_000
OVER = {
    "observedGeneration": 1,
    "phase": "Failed",
    "reason": "NonZeroExit",
    "message": TEXT,
    "exitCode": 3,
    "attemptCount": 2,
    "completionTime": "2026-01-01T00:00:09Z",
    "conditions": [
        {
            "type": "Finished",
            "status": "True",
            "reason": "NonZeroExit",
            "message": TEXT,
            "lastTransitionTime": "2026-01-01T00:00:09Z",
        },
        {
            "type": "Stalled",
            "status": "True",
            "reason": "NonZeroExit",
            "message": "exit code 3",
            "lastTransitionTime": "2026-01-01T00:00:09Z",
        },
    ],
    "attempts": [
        {"number": number, "podName": "p", "podUID": "u", "outcome": "Failed", "message": TEXT, "logTail": TEXT}
        for number in (1, 2)
    ],
    "xcom": {"state": "Collected", "value": "9" * 500_000, "sizeBytes": 500_000, "sha256": "a" * 64, "attempt": 2},
}


def podtask(spec: dict[str, object], status: dict[str, object], **metadata: object) -> bytes:
    named = {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1", "generation": 2}
    return json.dumps({"metadata": named | metadata, "spec": spec, "status": status}).encode()


def test_of_a_task_that_is_over_neither_result_nor_spec_nor_any_text_is_held() -> None:
    rules = [{"action": "Fail", "onExitCodes": {"operator": "In", "values": list(range(200))}}] * 20
    raw = podtask({"image": "i" * 5_000, "ttlSecondsAfterFinished": 5, "failurePolicy": {"rules": rules}}, OVER)
    held = decode.TASKS_HELD.pack(decode.decode_task(raw))
    assert len(held) < 1_000
    task = decode.TASKS_HELD.unpack(memoryview(held))
    assert task.spec.ttl_seconds_after_finished == 5
    assert task.status.xcom is not None
    assert (task.status.xcom.size_bytes, task.status.xcom.sha256) == (500_000, "a" * 64)
    assert [(attempt.number, attempt.pod_uid, attempt.outcome) for attempt in task.status.attempts] == [
        (1, "u", "Failed"),
        (2, "u", "Failed"),
    ]


def test_a_later_edit_of_a_task_that_is_over_writes_generations_and_no_text_is_lost() -> None:
    """What the cache does not hold must not be taken off the object."""
    task = decode.decode_task(podtask({"ttlSecondsAfterFinished": 5_000_000}, OVER))
    (action,) = decide(TaskSnapshot(task=task), at(20), Settings()).actions
    assert isinstance(action, WriteStatus)
    patch = json_merge_patch(decode.status_to_wire(action.status), decode.status_to_wire(task.status))
    conditions = patch.pop("conditions")
    assert patch == {"observedGeneration": 2}
    assert {c["type"]: (c["observedGeneration"], c["message"]) for c in conditions} == {
        "Finished": (2, "The task has ended."),
        "Stalled": (2, "exit code 3"),
    }
    assert [c["lastTransitionTime"] for c in conditions] == ["2026-01-01T00:00:09Z"] * 2


def test_texts_of_a_task_that_goes_on_are_held_because_they_are_written_again() -> None:
    task = decode.decode_task(podtask({"image": "i"}, {**OVER, "phase": "Pending", "reason": "Backoff"}))
    assert task.status.message == task.status.attempts[0].log_tail == TEXT


@pytest.mark.parametrize(
    ("spec", "most", "has_finalizer"),
    [
        ({"image": "i" * 976}, 1_000, True),
        ({"image": "i" * 990}, 1_000, False),
        ({"image": "i" * 990}, None, True),
        ({"image": "i", "managedBy": "kueue.x-k8s.io/multikueue"}, None, False),
        ({"image": "i", "backoffLimit": "three"}, None, False),
    ],
    ids=["fits", "too large", "no ceiling", "another controller's", "not understood"],
)
def test_a_spec_is_held_where_a_pod_will_be_made_from_it(
    spec: dict[str, object], most: int, has_finalizer: bool
) -> None:
    task = decode.decode_task(podtask(spec, {}), most)
    assert bool(task.raw_spec) == has_finalizer
    assert task.spec_bytes == len(json.dumps(spec))


def test_what_others_note_about_a_task_is_not_held() -> None:
    noted = {"podtask.dev/acknowledged": "yes", "podtask.dev/more": TEXT, "airflow/logs": TEXT}
    owner = {"kind": "Workflow", "name": TEXT, "uid": "w"}
    task = decode.decode_task(
        podtask({}, {}, annotations=noted, labels={"a": "b"}, finalizers=[TEXT], ownerReferences=[owner])
    )
    assert list(task.metadata.annotations) == [names.ANNOTATION_ACKNOWLEDGED]
    assert len(decode.TASKS_HELD.pack(task)) < 400


def test_labels_and_notes_of_others_are_not_held() -> None:
    made = make_pod().metadata(
        labels={names.LABEL_ATTEMPT: "1", "dag_id": "a"},
        annotations={names.ANNOTATION_TASK: "t", "airflow/logs": "b"},
        managed_fields=(Written("status", at(3), KUBELETS), Written("status", at(2))),
    )
    held = decode.PODS_HELD.unpack(decode.PODS_HELD.pack(made.build()))
    assert held.metadata.labels == {names.LABEL_ATTEMPT: "1"}
    assert held.metadata.annotations == {names.ANNOTATION_TASK: "t"}
    assert held.metadata.managed_fields == (Written("status", at(3), KUBELETS),)


NOTES = {
    "kubelet": ("status", {"f:status": {"f:containerStatuses": {".": {}}, "f:phase": {}}}, True),
    "k3s": ("status", {"f:status": {"f:conditions": {"k:{...}": {"f:status": {}}}, "f:containerStatuses": {}}}, True),
    "a-readiness-gate": ("status", {"f:status": {"f:conditions": {"k:{...}": {".": {}, "f:status": {}}}}}, False),
    "kubectl": ("", {"f:status": {"f:containerStatuses": {}}}, False),
    "podtask": ("", {"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:containers": {}}}, False),
}


@pytest.mark.parametrize("manager", NOTES)
def test_a_kubelet_is_known_by_what_it_owns(manager: str) -> None:
    """The name is that of the program it is a part of: kubelet, k3s, kubelite."""
    part, owned, is_kubelet = NOTES[manager]
    note = {"manager": manager, "operation": "Update", "apiVersion": "v1", "time": "2026-01-02T03:04:05Z"}
    meta = {"managedFields": [{**note, "fieldsType": "FieldsV1", "fieldsV1": owned, "subresource": part}]}
    seen = decode.decode_pod(json.dumps({"metadata": meta}).encode())
    held = decode.PODS_HELD.unpack(decode.PODS_HELD.pack(seen))
    assert (seen.kubelet_status_time is not None) is is_kubelet
    assert held.kubelet_status_time == seen.kubelet_status_time
    assert len(decode.PODS_HELD.pack(seen)) < 250


def test_the_runtime_needs_neither_pydantic_nor_the_kubernetes_package() -> None:
    """Of the 120 MiB that 20,000 tasks may take they would be 30 (docs/design/0009)."""
    blocked = "import sys; sys.modules.update(pydantic=None, kubernetes=None); import podtask.__main__"
    subprocess.run([sys.executable, "-c", blocked], check=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)})
