"""Every case of what a later try does, as a table; the rules are in the design's section on Airflow."""

from typing import Any

import pytest
from fakes import identity
from podtask_airflow import constants
from podtask_airflow.utils import identity as identities
from podtask_airflow.utils import podtask as podtasks
from podtask_airflow.utils import reattach
from podtask_airflow.utils.reattach import CancelThenCreate, Create, NameTaken, Reattach, UseResult

SECOND = identity(try_number=2, max_tries=1, ti_id="ti-2")


def left(phase: str = "Running", *, at: int = 1, by: Any = None, **more: Any) -> dict[str, Any]:
    """A PodTask that an earlier try left."""
    by = by or identity(max_tries=1)
    metadata = {
        "name": f"{identities.name(by, 'task')}-{at}",
        "namespace": "default",
        "uid": f"uid-{at}",
        "creationTimestamp": f"2026-01-01T00:00:{at:02d}Z",
        **identities.metadata(by),
        **more.pop("metadata", {}),
    }
    metadata["annotations"] = {**metadata["annotations"], **more.pop("annotations", {})}
    return {"metadata": metadata, "spec": more.pop("spec", {}), "status": {"phase": phase, **more}}


CLEARED = identity(try_number=2, max_tries=2, ti_id="ti-2")
FOREIGN = identity(deployment="staging", max_tries=1)
OWN = identity(try_number=2, max_tries=1, ti_id="ti-2")

CASES: dict[str, tuple[Any, list[dict[str, Any]], type, list[int]]] = {
    "nothing was left (the earlier try never reached a worker)": (SECOND, [], Create, []),
    "one runs": (SECOND, [left("Running")], Reattach, [1]),
    "one is pending": (SECOND, [left("Pending")], Reattach, [1]),
    "one is suspended": (SECOND, [left("Suspended")], Reattach, [1]),
    "one without a status": (SECOND, [{**left(), "status": None}], Reattach, [1]),
    "one succeeded while no try waited": (SECOND, [left("Succeeded")], UseResult, [1]),
    "one was skipped while no try waited": (SECOND, [left("Skipped")], UseResult, [1]),
    "one failed": (SECOND, [left("Failed")], Create, []),
    "one was cancelled": (SECOND, [left("Cancelled")], Create, []),
    "it will be cancelled unless a try reattaches": (
        SECOND,
        [left(spec={"cancelTime": "2026-01-01T00:00:00Z"})],
        Reattach,
        [1],
    ),
    "it is being cancelled": (SECOND, [left(spec={"cancel": True})], CancelThenCreate, [1]),
    "it is being deleted": (
        SECOND,
        [left(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})],
        CancelThenCreate,
        [1],
    ),
    "a user cleared while one runs": (CLEARED, [left("Running")], CancelThenCreate, [1]),
    "a user cleared after success": (CLEARED, [left("Succeeded")], Create, []),
    "a user cleared after failure": (CLEARED, [left("Failed")], Create, []),
    "the first of three failed, the second runs": (
        SECOND,
        [left("Failed", at=1), left("Running", at=2)],
        Reattach,
        [2],
    ),
    "the older one succeeded, the newest failed": (SECOND, [left("Succeeded", at=1), left("Failed", at=2)], Create, []),
    "the newest decides, whatever the order of the list": (
        SECOND,
        [left("Running", at=9), left("Failed", at=3)],
        Reattach,
        [9],
    ),
    "cleared with two under way": (CLEARED, [left(at=2), left(at=1)], CancelThenCreate, [1, 2]),
    "another deployment's, by a mistaken selector": (SECOND, [left(by=FOREIGN)], Create, []),
    "this try's own, its process was started once more": (OWN, [left("Running", by=OWN)], Reattach, [1]),
    "this try's own, and it failed meanwhile": (OWN, [left("Failed", by=OWN)], UseResult, [1]),
    "taken over by this try before its process died": (
        OWN,
        [left("Failed", annotations={constants.ANNOTATION_OWNER: "ti-2"})],
        UseResult,
        [1],
    ),
    "without max-tries, made by hand": (
        SECOND,
        [left(annotations={constants.ANNOTATION_MAX_TRIES: ""})],
        CancelThenCreate,
        [1],
    ),
}


@pytest.mark.parametrize(("who", "found", "want", "which"), CASES.values(), ids=CASES)
def test_a_later_try(who: Any, found: list[dict[str, Any]], want: type, which: list[int]) -> None:
    got = reattach.decide(who, found)
    assert type(got) is want
    if isinstance(got, CancelThenCreate):
        assert [task["metadata"]["uid"] for task in got.tasks] == [f"uid-{at}" for at in which]
    if isinstance(got, (Reattach, UseResult)):
        assert [got.task["metadata"]["uid"]] == [f"uid-{at}" for at in which]


def test_without_reattach_nothing_is_taken_over() -> None:
    assert isinstance(reattach.decide(SECOND, [left("Running")], reattach=False), CancelThenCreate)
    assert isinstance(reattach.decide(SECOND, [left("Succeeded")], reattach=False), Create)


def test_history_is_told() -> None:
    got = reattach.decide(SECOND, [left("Failed")])
    assert isinstance(got, Create)
    assert got.previous == left("Failed")


CONFLICTS: dict[str, tuple[dict[str, Any], type]] = {
    "ours: the answer to the first request was lost": (left(by=OWN), Reattach),
    "ours, and already over": (left("Succeeded", by=OWN), UseResult),
    "another try's": (left(annotations={constants.ANNOTATION_TI: "x", constants.ANNOTATION_OWNER: "x"}), NameTaken),
    "ours, and going": (left(by=OWN, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}), NameTaken),
}


@pytest.mark.parametrize(("existing", "want"), CONFLICTS.values(), ids=CONFLICTS)
def test_a_name_that_is_taken(existing: dict[str, Any], want: type) -> None:
    assert type(reattach.decide_on_conflict(OWN, existing)) is want


def test_dag_test_never_reattaches_on_conflict() -> None:
    assert isinstance(reattach.decide_on_conflict(OWN, left(by=OWN), reattach=False), NameTaken)


def test_every_patch_tests_uid_and_owner() -> None:
    task = left(spec={"cancelTime": "2026-01-01T00:00:00Z"})
    for operations, owner in (
        (reattach.reattach_to(SECOND, task), "ti-1"),
        (reattach.cancel_as_new_owner(SECOND, task), "ti-1"),
        (podtasks.cancel(task, "ti-2"), "ti-2"),
        (podtasks.release(task, "ti-2"), "ti-2"),
        (podtasks.set_cancel_time(task, "ti-2", SECOND.run_start), "ti-2"),
    ):
        assert operations[0] == {"op": "test", "path": "/metadata/uid", "value": "uid-1"}
        assert operations[1] == {"op": "test", "path": "/metadata/annotations/podtask.dev~1owner", "value": owner}


def test_taking_over_lifts_the_self_destruction_in_the_same_patch() -> None:
    removed = {"op": "remove", "path": "/spec/cancelTime"}
    assert removed in reattach.reattach_to(SECOND, left(spec={"cancelTime": "2026-01-01T00:00:00Z"}))
    assert removed not in reattach.reattach_to(SECOND, left())
