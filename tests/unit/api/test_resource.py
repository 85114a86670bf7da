"""The whole object: read with all that is wrong at once, written as it was."""

from datetime import UTC, datetime
from typing import Any

import pytest

from podtask.api.v1alpha1 import resource
from podtask.api.v1alpha1.status import PodTaskStatus
from podtask.api.v1alpha1.values import TERMINAL, Phase, PodRetention


def _task(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "podtask.dev/v1alpha1",
        "kind": "PodTask",
        "metadata": {"name": "a", "namespace": "b", "uid": "c", "generation": 1, "unheardOf": True},
        "spec": {"image": "x", **spec},
    }


def test_reads() -> None:
    obj = _task(podTTLSecondsAfterFinished=70, podRetention="Delete", cancelAfter="2026-01-02T03:04:05Z")
    obj["status"] = {"attempts": [{"number": 1, "podName": "p", "podUID": "u", "imageID": "sha256:0"}]}
    task = resource.parse(obj)
    assert (task.metadata.name, task.metadata.uid, task.metadata.generation) == ("a", "c", 1)
    assert (task.spec.pod_ttl_seconds_after_finished, task.spec.pod_retention) == (70, PodRetention.DELETE)
    assert task.spec.cancel_after == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert task.status is not None
    assert task.status.attempts is not None
    assert (task.status.attempts[0].pod_uid, task.status.attempts[0].image_id) == ("u", "sha256:0")


def test_a_newer_crds_fields_do_no_harm() -> None:
    assert "novel" not in resource.dump(resource.parse(_task(novel=1)))["spec"]


def test_keeps_what_a_pod_may_carry() -> None:
    spec = {"containers": [{"name": "base", "novel": [1]}], "novel": {"a": None}}
    assert resource.dump(resource.parse(_task(template={"spec": spec})))["spec"]["template"]["spec"] == spec


def test_names_everything_that_is_wrong_with_its_path() -> None:
    obj = _task(args=5, env=[{"name": "A"}, {"value": "x"}], backoffLimit=-1, envFrom=[{}], podRetention="Keep")
    obj["spec"]["podTTLSecondsAfterFinished"] = 60
    with pytest.raises(resource.InvalidPodTaskError) as caught:
        resource.parse(obj)
    places = [problem.partition(": ")[0] for problem in caught.value.problems]
    assert places == [
        "spec.args",
        "spec.env[1].name",
        "spec.backoffLimit",
        "spec.envFrom[0]",
        "spec.podTTLSecondsAfterFinished",
    ]
    assert str(caught.value) == "\n".join(caught.value.problems)


@pytest.mark.parametrize("obj", [None, 5, [], "PodTask"])
def test_something_else_altogether(obj: Any) -> None:
    with pytest.raises(resource.InvalidPodTaskError, match=r"^\(object\): "):
        resource.parse(obj)


def test_another_version_is_no_podtask_of_ours() -> None:
    with pytest.raises(resource.InvalidPodTaskError, match="apiVersion"):
        resource.parse(_task() | {"apiVersion": "podtask.dev/v2"})


def test_writes_only_what_was_set() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    status = PodTaskStatus(phase=Phase.RUNNING, start_time=moment, exit_code=None)
    assert resource.dump(status) == {"phase": "Running", "startTime": "2026-01-02T00:00:00.000Z", "exitCode": None}


def test_terminal_phases() -> None:
    assert {phase for phase in Phase if phase.is_terminal} == TERMINAL
    assert len(TERMINAL) == 4
