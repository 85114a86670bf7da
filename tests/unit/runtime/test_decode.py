"""From the wire inward, where the wire brings what no Pod has."""

import os
import subprocess
import sys

import pytest

from podtask.api import names
from podtask.core.pod import Written
from podtask.runtime import decode
from tests.builders import at, make_pod

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


def test_labels_and_notes_of_others_are_not_held() -> None:
    made = make_pod().metadata(
        labels={names.LABEL_ATTEMPT: "1", "dag_id": "a"},
        annotations={names.ANNOTATION_TASK: "t", "airflow/logs": "b"},
        managed_fields=(Written("kubelet", "status", at(3)), Written("kube-scheduler", "", at(2))),
    )
    held = decode.PODS_HELD.unpack(decode.PODS_HELD.pack(made.build()))
    assert held.metadata.labels == {names.LABEL_ATTEMPT: "1"}
    assert held.metadata.annotations == {names.ANNOTATION_TASK: "t"}
    assert held.metadata.managed_fields == (Written("kubelet", "status", at(3)),)


def test_the_runtime_needs_neither_pydantic_nor_the_kubernetes_package() -> None:
    """Of the 120 MiB that 20,000 tasks may take they would be 30 (docs/adr/0009)."""
    blocked = "import sys; sys.modules.update(pydantic=None, kubernetes=None); import podtask.__main__"
    subprocess.run([sys.executable, "-c", blocked], check=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)})
