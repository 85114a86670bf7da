"""Lists and watches: order, resumption, selectors, pages, and the end of the past."""

from contextlib import aclosing

import orjson
import pytest

from podtask.kube import errors
from podtask.kube.client import PODS, EventType
from podtask.runtime.decode import PODTASKS

from .objects import LABEL, Scene


async def test_a_watch_tells_every_change_in_order(scene: Scene) -> None:
    start = (await scene.api.list_page(PODS, read=bytes, namespace=scene.namespace)).resource_version
    pod = await scene.create_pod(held=True)
    await scene.merge(PODS, {"metadata": {"annotations": {"k": "v"}}})
    await scene.delete(PODS, pod)
    await scene.release()
    events = await scene.watch(PODS, start, 4)
    assert [kind for kind, _, _ in events] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    versions = [int(obj["metadata"]["resourceVersion"]) for _, _, obj in events]
    assert versions == sorted(set(versions))


async def test_a_watch_resumes_after_what_was_seen(scene: Scene) -> None:
    first = await scene.create_pod("a")
    await scene.create_pod("b")
    events = await scene.watch(PODS, first["metadata"]["resourceVersion"], 1)
    assert [(kind, name) for kind, name, _ in events] == [("ADDED", "b")]


async def test_a_deletion_carries_a_newer_version_and_the_last_state(scene: Scene) -> None:
    task = await scene.create_task()
    await scene.delete(PODTASKS, task)
    ((kind, _, last),) = await scene.watch(PODTASKS, task["metadata"]["resourceVersion"], 1)
    assert kind is EventType.DELETED
    assert last["metadata"]["uid"] == task["metadata"]["uid"]
    assert int(last["metadata"]["resourceVersion"]) > int(task["metadata"]["resourceVersion"])


async def test_nothing_is_told_of_a_write_that_changed_nothing(scene: Scene) -> None:
    await scene.create_task()
    task = await scene.merge(PODTASKS, {"metadata": {"annotations": {"k": "v"}}})
    await scene.merge(PODTASKS, {"spec": {"image": "x"}})
    await scene.merge(PODTASKS, {"spec": {"suspend": True}})
    ((_, _, told),) = await scene.watch(PODTASKS, task["metadata"]["resourceVersion"], 1)
    assert told["spec"]["suspend"] is True


async def test_who_leaves_the_selector_is_deleted_and_who_joins_is_added(scene: Scene) -> None:
    start = (await scene.api.list_page(PODS, read=bytes, namespace=scene.namespace, selector=LABEL)).resource_version
    await scene.create_pod("a", labels={LABEL: "1"})
    await scene.create_pod("b")
    await scene.merge(PODS, {"metadata": {"labels": {LABEL: None}}}, "a")
    await scene.merge(PODS, {"metadata": {"labels": {LABEL: "2"}}}, "b")
    events = await scene.watch(PODS, start, 3, selector=LABEL)
    assert [(kind, name) for kind, name, _ in events] == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "b")]
    page = await scene.api.list_page(PODS, read=bytes, namespace=scene.namespace, selector=LABEL)
    assert [orjson.loads(item)["metadata"]["name"] for item in page.items] == ["b"]


async def test_pages_are_one_consistent_list(scene: Scene) -> None:
    for name in ("a", "b", "c"):
        await scene.create_task(name)
    first = await scene.api.list_page(PODTASKS, read=bytes, namespace=scene.namespace, limit=2)
    await scene.create_task("d")
    second = await scene.api.list_page(
        PODTASKS, read=bytes, namespace=scene.namespace, limit=2, continue_token=first.continue_token
    )
    seen = [orjson.loads(item)["metadata"]["name"] for item in [*first.items, *second.items]]
    assert seen == ["a", "b", "c"]
    assert (second.continue_token, second.resource_version) == ("", first.resource_version)


async def test_a_list_is_as_new_as_the_last_write(scene: Scene) -> None:
    task = await scene.create_task()
    page = await scene.api.list_page(PODTASKS, read=bytes, namespace=scene.namespace)
    assert int(page.resource_version) >= int(task["metadata"]["resourceVersion"])
    assert [orjson.loads(item)["metadata"]["uid"] for item in page.items] == [task["metadata"]["uid"]]


async def test_a_past_that_is_forgotten_is_gone(scene: Scene) -> None:
    stream = scene.api.watch(PODTASKS, namespace=scene.namespace, resource_version="1")
    async with aclosing(stream):
        with pytest.raises(errors.Gone):
            await anext(stream)
