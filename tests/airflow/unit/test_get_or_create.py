"""The way to the one PodTask of a try, with lost answers and faster processes on it."""

import logging
from typing import Any

import pytest
from fakes import FakeCluster, identity
from podtask_airflow import constants, exceptions
from podtask_airflow.hooks import api_errors
from podtask_airflow.utils import identity as identities
from podtask_airflow.utils import podtask as podtasks
from podtask_airflow.utils.identity import Identity
from podtask_airflow.utils.reattach import get_or_create_podtask

FIRST = identity(max_tries=1)
SECOND = identity(try_number=2, max_tries=1, ti_id="ti-2")


def build(who: Identity) -> Any:
    return lambda suffix: {
        "metadata": {"name": identities.name(who, "task", suffix), **identities.metadata(who)},
        "spec": {},
    }


def submit(
    cluster: FakeCluster, who: Identity, *, find_earlier: bool = False, reattach: bool = True, stopped: Any = None
) -> Any:
    return get_or_create_podtask(
        cluster,
        "default",
        who,
        build(who),
        stopped or (lambda _: None),
        reattach=reattach,
        find_earlier=find_earlier,
        log=logging.getLogger("test"),
    )


def test_a_first_try_only_posts() -> None:
    cluster = FakeCluster()
    submit(cluster, FIRST)
    assert cluster.requests == ["POST"]


def test_a_later_try_lists_first() -> None:
    cluster = FakeCluster()
    submit(cluster, SECOND, find_earlier=True)
    assert cluster.requests == ["LIST", "POST"]


def test_a_lost_answer_is_found_again() -> None:
    cluster = FakeCluster()
    cluster.create("default", build(FIRST)(0))
    cluster.requests.clear()
    task = submit(cluster, FIRST)
    assert task["metadata"]["uid"] == "uid-1"
    assert cluster.requests == ["POST", "GET"]
    assert len(cluster.objects) == 1


def test_a_foreign_name_is_extended() -> None:
    cluster = FakeCluster()
    foreign = build(FIRST)(0)
    foreign["metadata"]["annotations"] |= {constants.ANNOTATION_TI: "x", constants.ANNOTATION_OWNER: "x"}
    cluster.create("default", foreign)
    task = submit(cluster, FIRST)
    assert task["metadata"]["name"].endswith("-1-x1")
    assert len(cluster.objects) == 2


def test_dag_test_twice_makes_two() -> None:
    cluster = FakeCluster()
    submit(cluster, FIRST, reattach=False)
    submit(cluster, FIRST, reattach=False)
    assert len(cluster.objects) == 2


def test_taking_over_makes_it_ours_and_lifts_cancel_time() -> None:
    cluster = FakeCluster()
    left = submit(cluster, FIRST)
    cluster.patch("default", left["metadata"]["name"], podtasks.set_cancel_time(left, "ti-1", FIRST.run_start))
    task = submit(cluster, SECOND, find_earlier=True)
    assert task["metadata"]["uid"] == left["metadata"]["uid"]
    assert podtasks.owner(cluster.only) == "ti-2"
    assert "cancelTime" not in cluster.only["spec"]


def test_the_orphaned_process_of_the_earlier_try_can_do_nothing_any_more() -> None:
    cluster = FakeCluster()
    left = submit(cluster, FIRST)
    submit(cluster, SECOND, find_earlier=True)
    for operations in (podtasks.cancel(left, "ti-1"), podtasks.release(left, "ti-1")):
        with pytest.raises(api_errors.PatchTestFailed):
            cluster.patch("default", left["metadata"]["name"], operations)
    assert "cancel" not in cluster.only["spec"]


def test_a_patch_whose_answer_was_lost_counts() -> None:
    cluster = FakeCluster()
    left = submit(cluster, FIRST)
    real = cluster.patch

    def twice(namespace: str, name: str, ops: Any) -> Any:
        real(namespace, name, ops)
        return real(namespace, name, ops)

    cluster.patch = twice  # type: ignore[method-assign]
    task = submit(cluster, SECOND, find_earlier=True)
    assert task["metadata"]["uid"] == left["metadata"]["uid"]
    assert podtasks.owner(task) == "ti-2"


def test_a_lost_answer_on_the_way_back_to_the_own_object_makes_no_second() -> None:
    cluster = FakeCluster()
    left = submit(cluster, FIRST)
    cluster.patch("default", left["metadata"]["name"], podtasks.set_cancel_time(left, "ti-1", FIRST.run_start))
    real = cluster.patch

    def twice(namespace: str, name: str, ops: Any) -> Any:
        real(namespace, name, ops)
        return real(namespace, name, ops)

    cluster.patch = twice  # type: ignore[method-assign]
    assert submit(cluster, FIRST)["metadata"]["uid"] == left["metadata"]["uid"]
    assert len(cluster.objects) == 1


def test_a_faster_process_is_judged_again() -> None:
    cluster = FakeCluster()
    left = submit(cluster, FIRST)
    real, raced = cluster.patch, []

    def race(namespace: str, name: str, ops: Any) -> Any:
        if not raced:
            raced.append(True)
            cluster.objects[namespace, name]["metadata"]["annotations"][constants.ANNOTATION_OWNER] = "ti-other"
        return real(namespace, name, ops)

    cluster.patch = race  # type: ignore[method-assign]
    submit(cluster, SECOND, find_earlier=True)
    assert podtasks.owner(cluster.only) == "ti-2"
    assert cluster.only["metadata"]["uid"] == left["metadata"]["uid"]


def test_a_clear_cancels_waits_and_creates() -> None:
    cluster = FakeCluster()
    left = submit(cluster, FIRST)
    waited = []
    cleared = identity(try_number=2, max_tries=2, ti_id="ti-2")
    task = submit(cluster, cleared, find_earlier=True, stopped=lambda old: waited.append((old, len(cluster.objects))))
    (old, objects_then) = waited[0]
    assert old["metadata"]["uid"] == left["metadata"]["uid"]
    assert old["spec"]["cancel"] is True
    assert objects_then == 1, "nothing is created before the old one has stopped"
    assert task["metadata"]["uid"] != left["metadata"]["uid"]


def test_a_task_that_vanishes_meanwhile_is_no_obstacle() -> None:
    cluster = FakeCluster()
    submit(cluster, FIRST)
    real = cluster.list

    def vanishing(*args: Any) -> Any:
        found = list(real(*args))
        cluster.objects.clear()
        return found

    cluster.list = vanishing  # type: ignore[method-assign]
    assert submit(cluster, SECOND, find_earlier=True)["metadata"]["name"].endswith("-2")


def test_names_run_out() -> None:
    cluster = FakeCluster()
    for suffix in range(20):
        foreign = build(FIRST)(suffix)
        foreign["metadata"]["annotations"] |= {constants.ANNOTATION_TI: "x", constants.ANNOTATION_OWNER: "x"}
        cluster.create("default", foreign)
    with pytest.raises(exceptions.PodTaskLost, match="20 names"):
        submit(cluster, FIRST)
