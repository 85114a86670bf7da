"""Which Pods the cache assigns to a task, and which changes queue it."""

import asyncio

import msgspec
import pytest

from podtask.api import names
from podtask.core import identity
from podtask.core.pod import Pod
from podtask.core.snapshot import Task
from podtask.runtime.cluster import Cluster
from podtask.runtime.queue import WorkQueue
from podtask.runtime.task_facts import TaskFacts
from tests.builders import UID, make_pod, make_task

KEY = identity.task_key("default", UID)
FORGED_KEY = identity.task_key("attacker", UID)


class Ends:
    """Records the tasks whose main container was reported as ended."""

    def __init__(self) -> None:
        self.uids: list[str] = []

    def task_changed(self, old: Task | None, new: Task | None) -> None: ...

    def main_ended(self, uid: str) -> None:
        self.uids.append(uid)


class World:
    """A cache with one task, and an empty queue."""

    def __init__(self, limit: int | None = None) -> None:
        self.queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop())
        self.ends = Ends()
        self.lost: list[Pod] = []
        self.cluster = Cluster(
            None,  # type: ignore[arg-type]
            self.queue,
            namespace="",
            relist_seconds=60,
            running_pods_limit=limit,
            metrics=self.ends,
            on_lost=self.lost.append,
        )
        self.cluster.put_task(make_task().build())

    async def woken(self) -> list[str]:
        """Take all keys that are due."""
        found = []
        while len(self.queue):
            key = await self.queue.get()
            self.queue.done(key)
            found.append(key)
        return found


async def test_has_work_counts_tasks_that_have_begun_and_not_finished() -> None:
    world = World()
    assert not world.cluster.has_work(), "not begun"
    for version, phase, want in (("2", "Running", True), ("3", "Failed", False)):
        made = make_task().status(phase=phase, reason="Any").metadata(resource_version=version)
        world.cluster.put_task(made.build())
        assert world.cluster.has_work() is want


async def test_a_changed_label_queues_the_previous_task() -> None:
    world = World()
    world.cluster.put_pod(pod())
    await world.woken()
    other = msgspec.structs.replace(pod().metadata, resource_version="8", labels={names.LABEL_TASK_UID: "another-task"})
    world.cluster.put_pod(msgspec.structs.replace(pod(), metadata=other))
    assert set(await world.woken()) == {KEY, identity.task_key("default", "another-task")}


def pod(namespace: str = "default", uid: str = "pod-1") -> Pod:
    made = make_pod().running().exit(0).phase("Succeeded").build()
    meta = msgspec.structs.replace(made.metadata, namespace=namespace, uid=uid, resource_version="7")
    return msgspec.structs.replace(made, metadata=meta)


async def test_a_pod_queues_the_task_of_its_namespace() -> None:
    world = World()
    assert await world.woken() == [KEY]
    world.cluster.put_pod(pod())
    assert await world.woken() == [KEY]
    assert world.ends.uids == [UID]
    assert [p.metadata.uid for p in world.cluster.pods_of(KEY)] == ["pod-1"]


async def test_a_pod_with_the_uid_of_another_namespaces_task_is_ignored() -> None:
    world = World()
    await world.woken()
    world.cluster.put_pod(pod("attacker", "pod-2"))
    assert await world.woken() == []
    assert world.ends.uids == []
    assert world.cluster.pods_of(KEY) == ()
    assert world.cluster.task(FORGED_KEY) is None
    assert world.cluster.is_in_other_namespace(FORGED_KEY)
    assert not world.cluster.is_in_other_namespace(KEY)


async def test_a_pod_without_its_task_is_queued_for_release() -> None:
    world = World()
    await world.woken()
    orphan = pod("elsewhere", "pod-3")
    meta = msgspec.structs.replace(orphan.metadata, labels={**orphan.metadata.labels, "podtask.dev/task-uid": "gone"})
    world.cluster.put_pod(msgspec.structs.replace(orphan, metadata=meta))
    key = identity.task_key("elsewhere", "gone")
    assert await world.woken() == [key]
    assert not world.cluster.is_in_other_namespace(key)


@pytest.mark.parametrize(("finalizers", "lost"), [((names.FINALIZER,), ["pod-1"]), ((), [])], ids=["held", "released"])
async def test_the_deletion_of_a_pod_with_our_finalizer_is_reported(
    finalizers: tuple[str, ...], lost: list[str]
) -> None:
    """A Pod with our finalizer cannot be deleted, so it may only have lost the label of the watch's selector."""
    world = World()
    made = pod()
    meta = msgspec.structs.replace(made.metadata, finalizers=finalizers)
    world.cluster.put_pod(msgspec.structs.replace(made, metadata=meta))
    world.cluster._pod_changed(msgspec.structs.replace(made, metadata=meta), None)
    assert [found.metadata.uid for found in world.lost] == lost
    task_facts = TaskFacts()
    for found in world.lost:
        task_facts.note_lost(found)
    assert task_facts.get(UID).lost_pod == "".join(lost)
