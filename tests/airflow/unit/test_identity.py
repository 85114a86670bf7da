"""Names and labels by which a try finds the PodTasks of earlier tries, and no others."""

import re
from datetime import timedelta

import pytest
from fakes import RUN_START, identity
from podtask_airflow import constants
from podtask_airflow.utils import identity as identities

DIFFERENT = {
    "another deployment in the same namespace": {"deployment": "staging"},
    "another dag": {"dag_id": "other"},
    "another run": {"run_id": "other"},
    "the same run_id, deleted and created again": {"run_start": RUN_START + timedelta(microseconds=1)},
    "another task": {"task_id": "other"},
    "another map index": {"map_index": 0},
}


@pytest.mark.parametrize("more", DIFFERENT.values(), ids=DIFFERENT)
def test_another_task_instance_has_another_key_and_name(more: dict) -> None:
    one, other = identity(), identity(**more)
    assert identities.task_key(one) != identities.task_key(other)
    assert identities.name(one, "task") != identities.name(other, "task")


def test_tries_share_the_key_and_differ_in_name() -> None:
    first, second = identity(), identity(try_number=2, max_tries=1, ti_id="ti-2")
    assert identities.task_key(first) == identities.task_key(second)
    assert identities.name(first, "task") != identities.name(second, "task")


def test_fields_cannot_run_into_each_other() -> None:
    assert identities.task_key(identity(dag_id="a", run_id="bc")) != identities.task_key(
        identity(dag_id="ab", run_id="c")
    )


@pytest.mark.parametrize("stem", ["task", "x" * 300, "Ünïcode.Task_1", "...", "9", "a-" * 40, "ß"])
@pytest.mark.parametrize("suffix", [0, 1, 19])
def test_names_are_dns_labels(stem: str, suffix: int) -> None:
    name = identities.name(identity(try_number=12345), stem, suffix)
    assert len(name) <= 63
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)


def test_a_suffix_gives_another_name() -> None:
    assert len({identities.name(identity(), "x" * 80, n) for n in range(20)}) == 20


def test_the_readable_stem_stands_in_front() -> None:
    assert identities.name(identity(), "extract.Data").startswith("extract-data-")


def test_metadata_has_exact_ids_and_the_owner() -> None:
    found = identities.metadata(identity(dag_id="dag with spaces", map_index=3, max_tries=2))
    assert found["annotations"] == {
        constants.ANNOTATION_DAG: "dag with spaces",
        constants.ANNOTATION_TASK: "task",
        constants.ANNOTATION_RUN: "run",
        constants.ANNOTATION_MAP_INDEX: "3",
        constants.ANNOTATION_TRY: "1",
        constants.ANNOTATION_MAX_TRIES: "2",
        constants.ANNOTATION_TI: "ti-1",
        constants.ANNOTATION_OWNER: "ti-1",
    }
    assert all(constants.is_label_value(value) for value in found["labels"].values())


@pytest.mark.parametrize(("deployment", "label"), [("", "airflow"), ("prod", "prod"), ("üü", "airflow")])
def test_the_deployment_label_is_never_empty(deployment: str, label: str) -> None:
    assert identities.deployment_label(deployment) == label or deployment == "üü"
    assert constants.is_label_value(identities.deployment_label(deployment))
    assert identities.deployment_label(deployment)


def test_the_pod_carries_the_labels_that_dashboards_know() -> None:
    found = identities.pod_labels(identity(map_index=4, airflow_version="3.3.2+local"))
    assert found == {
        "dag_id": "dag",
        "task_id": "task",
        "run_id": "run",
        "try_number": "1",
        "map_index": "4",
        "kubernetes_pod_operator": "True",
        "airflow_version": "3.3.2-local",
    }
    assert "map_index" not in identities.pod_labels(identity())
