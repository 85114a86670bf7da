"""The client against a real API server: what it says is what the errors' sentences are made of."""

import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import wire
from podtask_airflow import constants
from podtask_airflow.hooks import api_errors
from podtask_airflow.hooks import podtask as hook
from podtask_airflow.utils import podtask as podtasks
from podtask_airflow.utils import reflector


@pytest.fixture
def one(kubeconfig: Path) -> Iterator[hook.PodTaskClient]:
    made = wire.client_of(kubeconfig, budget=2.0)
    yield made
    made.close()


def test_a_task_from_its_creation_to_its_deletion(one: hook.PodTaskClient, admin: wire.Admin, place: str) -> None:
    made = one.create(place, wire.task("life"))
    queue: SimpleQueue[Any] = SimpleQueue()
    follow = reflector.Reflector(one, made, queue.put, is_current=True).start()
    admin.finish(place, "life", "Running")
    assert queue.get(timeout=wire.HANG_SECONDS)["status"]["phase"] == "Running"
    assert one.patch(place, "life", [podtasks.CANCEL])["spec"]["cancel"] is True
    assert queue.get(timeout=wire.HANG_SECONDS)["spec"]["cancel"] is True
    admin.finish(place, "life", "Cancelled")
    assert queue.get(timeout=wire.HANG_SECONDS)["status"]["phase"] == "Cancelled"
    admin("DELETE", f"{wire.tasks_path(place)}/life")
    assert isinstance(queue.get(timeout=wire.HANG_SECONDS), reflector.Deleted)
    assert follow.join(5)


def test_a_patch_is_fenced(one: hook.PodTaskClient, place: str) -> None:
    one.create(place, wire.task("fenced", metadata={"annotations": {constants.ANNOTATION_OWNER: "me"}}))
    path = "/metadata/annotations/podtask.dev~1owner"
    cancel = {"op": "add", "path": "/spec/cancel", "value": True}
    for other in ([{"op": "test", "path": path, "value": "you"}], [{"op": "test", "path": path + "x", "value": "you"}]):
        with pytest.raises(api_errors.PatchTestFailed):
            one.patch(place, "fenced", [*other, cancel])
    found = one.patch(place, "fenced", [{"op": "test", "path": path, "value": "me"}, cancel])
    assert found["spec"]["cancel"] is True
    with pytest.raises(api_errors.Invalid, match="image cannot be changed") as caught:
        one.patch(place, "fenced", [{"op": "replace", "path": "/spec/image", "value": "another"}])
    assert not isinstance(caught.value, api_errors.PatchTestFailed)


def test_refusals(one: hook.PodTaskClient, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one.create(place, wire.task("twice"))
    with pytest.raises(api_errors.Conflict):
        one.create(place, wire.task("twice"))
    with pytest.raises(api_errors.NotFound, match="may have been deleted"):
        one.get(place, "missing")
    with pytest.raises(api_errors.NotFound, match="create it, or correct the task's"):
        one.create("no-such-namespace", wire.task("a"))
    with pytest.raises(api_errors.Invalid, match=r'unknown field "spec\.imag"'):
        one.create(place, {**wire.task("strict"), "spec": {"imag": "x", "image": "x"}})
    with pytest.raises(api_errors.Invalid, match=r"set spec\.image"):
        one.create(place, {**wire.task("invalid"), "spec": {}})
    with pytest.raises(api_errors.Expired):
        list(one.watch(place, resource_version="1"))
    monkeypatch.setattr(constants, "API_VERSION", "podtask.dev/v0")
    with pytest.raises(api_errors.CrdMissing, match="install PodTask's Helm chart"):
        one.create(place, wire.task("a"))
    with pytest.raises(api_errors.CrdMissing):
        list(one.list(place))


def test_lists_go_page_by_page(one: hook.PodTaskClient, place: str) -> None:
    for number in range(7):
        one.create(place, wire.task(f"page-{number}", metadata={"labels": {"of": "pages"}}))
    found = [task["metadata"]["name"] for task in one.list(place, "of=pages", page=3)]
    assert found == [f"page-{number}" for number in range(7)]
    tables = list(one.tables(place, "of=pages", page=3))
    assert [len(table["rows"]) for table in tables] == [3, 3, 1]
    assert all("spec" not in row["object"] for table in tables for row in table["rows"])


def test_connections_are_kept(kubeconfig: Path, place: str, tmp_path: Path) -> None:
    with wire.Wire(kubeconfig) as line:
        one = wire.client_of(line.write(tmp_path / "k"))
        for number in range(20):
            one.create(place, wire.task(f"kept-{number}"))
            one.get(place, f"kept-{number}")
        assert line.connections == 1
        one.close()


def test_a_watch_ends_when_it_is_told_to(one: hook.PodTaskClient, admin: wire.Admin, place: str) -> None:
    stream = one.watch(place, resource_version=next(one.tables(place))["metadata"]["resourceVersion"])
    thread = threading.Thread(target=list, args=(stream,))
    thread.start()
    stream.close()
    thread.join(2)
    assert not thread.is_alive()
