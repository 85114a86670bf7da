"""Decoding of unusual and invalid objects."""

import json
import os
import subprocess
import sys

import pytest

from podtask.api import names
from podtask.core.decide import decide
from podtask.core.plan import WriteStatus
from podtask.core.pod import ManagedFieldsEntry
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
def test_a_spec_that_is_nested_too_deep_has_a_problem(levels: int) -> None:
    found = decode.decode_task(task(levels))
    assert found.metadata.uid == "u"
    assert found.problem == "spec is nested deeper than 100 levels"
    assert found.raw_spec == b""


def test_a_spec_of_the_maximum_depth_is_decoded() -> None:
    found = decode.decode_task(task(decode.MAX_DEPTH - 3))
    assert found.problem == ""
    assert found.raw_spec


def test_managed_by_is_read_from_a_spec_that_is_nested_too_deep() -> None:
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


def test_a_finished_task_is_kept_without_result_spec_and_texts() -> None:
    rules = [{"action": "Fail", "onExitCodes": {"operator": "In", "values": list(range(200))}}] * 20
    raw = podtask({"image": "i" * 5_000, "ttlSecondsAfterFinished": 5, "failurePolicy": {"rules": rules}}, OVER)
    held = decode.TASK_CODEC.pack(decode.decode_task(raw))
    assert len(held) < 1_000
    task = decode.TASK_CODEC.unpack(memoryview(held))
    assert task.spec.ttl_seconds_after_finished == 5
    assert task.status.xcom is not None
    assert (task.status.xcom.size_bytes, task.status.xcom.sha256) == (500_000, "a" * 64)
    assert [(attempt.number, attempt.pod_uid, attempt.outcome) for attempt in task.status.attempts] == [
        (1, "u", "Failed"),
        (2, "u", "Failed"),
    ]


def test_an_edit_of_a_finished_task_writes_generations_and_loses_no_text() -> None:
    """Fields that the cache does not keep must not be removed from the object."""
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


def test_texts_of_an_unfinished_task_are_kept() -> None:
    task = decode.decode_task(podtask({"image": "i"}, {**OVER, "phase": "Pending", "reason": "Backoff"}))
    assert task.status.message == task.status.attempts[0].log_tail == TEXT


@pytest.mark.parametrize(
    ("spec", "most", "is_kept"),
    [
        ({"image": "i" * 976}, 1_000, True),
        ({"image": "i" * 990}, 1_000, False),
        ({"image": "i" * 990}, None, True),
        ({"image": "i", "managedBy": "kueue.x-k8s.io/multikueue"}, None, False),
        ({"image": "i", "backoffLimit": "three"}, None, False),
    ],
    ids=["fits", "too large", "no ceiling", "another controller's", "not understood"],
)
def test_a_spec_is_kept_if_a_pod_will_be_built_from_it(spec: dict[str, object], most: int, is_kept: bool) -> None:
    task = decode.decode_task(podtask(spec, {}), most)
    assert bool(task.raw_spec) == is_kept
    assert task.spec_bytes == len(json.dumps(spec))


def test_other_labels_and_annotations_of_a_task_are_dropped() -> None:
    noted = {"podtask.dev/acknowledged": "yes", "podtask.dev/more": TEXT, "airflow/logs": TEXT}
    owner = {"kind": "Workflow", "name": TEXT, "uid": "w"}
    task = decode.decode_task(
        podtask({}, {}, annotations=noted, labels={"a": "b"}, finalizers=[TEXT], ownerReferences=[owner])
    )
    assert list(task.metadata.annotations) == [names.ANNOTATION_ACKNOWLEDGED]
    assert len(decode.TASK_CODEC.pack(task)) < 400


def test_other_labels_and_annotations_of_a_pod_are_dropped() -> None:
    made = make_pod().metadata(
        labels={names.LABEL_ATTEMPT: "1", "dag_id": "a"},
        annotations={names.ANNOTATION_TASK: "t", "airflow/logs": "b"},
        managed_fields=(ManagedFieldsEntry("status", at(3), KUBELETS), ManagedFieldsEntry("status", at(2))),
    )
    held = decode.POD_CODEC.unpack(decode.POD_CODEC.pack(made.build()))
    assert held.metadata.labels == {names.LABEL_ATTEMPT: "1"}
    assert held.metadata.annotations == {names.ANNOTATION_TASK: "t"}
    assert held.metadata.managed_fields == (ManagedFieldsEntry("status", at(3), KUBELETS),)


NOTES = {
    "kubelet": ("status", {"f:status": {"f:containerStatuses": {".": {}}, "f:phase": {}}}, True),
    "k3s": ("status", {"f:status": {"f:conditions": {"k:{...}": {"f:status": {}}}, "f:containerStatuses": {}}}, True),
    "a-readiness-gate": ("status", {"f:status": {"f:conditions": {"k:{...}": {".": {}, "f:status": {}}}}}, False),
    "kubectl": ("", {"f:status": {"f:containerStatuses": {}}}, False),
    "podtask": ("", {"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:containers": {}}}, False),
}


@pytest.mark.parametrize("manager", NOTES)
def test_the_kubelets_managed_fields_are_found_by_what_they_own(manager: str) -> None:
    """The manager is the program's name: kubelet, k3s, kubelite."""
    part, owned, is_kubelet = NOTES[manager]
    note = {"manager": manager, "operation": "Update", "apiVersion": "v1", "time": "2026-01-02T03:04:05Z"}
    meta = {"managedFields": [{**note, "fieldsType": "FieldsV1", "fieldsV1": owned, "subresource": part}]}
    seen = decode.decode_pod(json.dumps({"metadata": meta}).encode())
    held = decode.POD_CODEC.unpack(decode.POD_CODEC.pack(seen))
    assert (seen.kubelet_status_time is not None) is is_kubelet
    assert held.kubelet_status_time == seen.kubelet_status_time
    assert len(decode.POD_CODEC.pack(seen)) < 250


def test_runtime_imports_neither_pydantic_nor_kubernetes() -> None:
    """They would take 30 of the 120 MiB that 20,000 tasks may take (docs/design/0009)."""
    blocked = "import sys; sys.modules.update(pydantic=None, kubernetes=None); import podtask.__main__"
    subprocess.run([sys.executable, "-c", blocked], check=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)})
