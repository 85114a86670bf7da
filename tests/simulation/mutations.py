"""Defects that are patched into the product on purpose, and that the simulation has to find."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

import orjson

from podtask.core import (
    attempts,
    ended_pod,
    identity,
    label_recovery,
    no_pod,
    plan,
    pod_stops,
    podspec,
    retention,
    status,
    task_pods,
)
from podtask.core.pod import Pod
from podtask.kube import errors
from podtask.kube.client import PODS
from podtask.kube.merge_patch import json_merge_patch
from podtask.runtime import apply, reconciler
from podtask.runtime.decode import PODTASKS, decode_pod, decode_task, status_to_wire
from podtask.runtime.pod_slots import PodSlots
from podtask.runtime.queue import WorkQueue

from . import users

Mutation = Callable[[], AbstractContextManager[Any]]


def drop_finalizer() -> AbstractContextManager[Any]:
    """A Pod is made without the finalizer."""
    real = podspec.build

    def build(*args: Any, **kwargs: Any) -> dict[str, Any]:
        manifest = real(*args, **kwargs)
        del manifest["metadata"]["finalizers"]
        return manifest

    return mock.patch.object(podspec, "build", build)


def rename_on_conflict() -> AbstractContextManager[Any]:
    """409 on create: use another name."""
    serial = itertools.count(1)

    async def adopt(self: apply.Applier, task: Any, action: plan.CreatePod) -> None:
        manifest = podspec.build(task, action.attempt, f"{action.name}-again{next(serial)}", self._settings)
        reply = await self._api.create(PODS, task.metadata.namespace, orjson.dumps(manifest))
        self._cache.put_pod(decode_pod(reply))

    return mock.patch.object(apply.Applier, "_adopt", adopt)


def ignore_conflict() -> AbstractContextManager[Any]:
    """409 on create: ignore it."""

    async def adopt(self: apply.Applier, task: Any, action: plan.CreatePod) -> None: ...

    return mock.patch.object(apply.Applier, "_adopt", adopt)


def adopt_by_name() -> AbstractContextManager[Any]:
    """409 on create: adopt the Pod of that name, whatever its owner."""

    async def adopt(self: apply.Applier, task: Any, action: plan.CreatePod) -> None:
        pod = orjson.loads(await self._api.get(PODS, task.metadata.namespace, action.name))
        ours = podspec.build(task, action.attempt, action.name, self._settings)["metadata"]
        pod["metadata"] |= {"labels": ours["labels"], "ownerReferences": ours["ownerReferences"]}
        self._cache.put_pod(decode_pod(orjson.dumps(pod)))

    return mock.patch.object(apply.Applier, "_adopt", adopt)


def count_twice() -> AbstractContextManager[Any]:
    """The end of an attempt is counted again after a conflict of its write."""

    async def write(self: apply.Applier, task: Any, action: plan.WriteStatus) -> None:
        await _write_over(self, task, action, again=True)

    return mock.patch.object(apply.Applier, "_write_status", write)


def write_unversioned() -> AbstractContextManager[Any]:
    """The status is written without the resourceVersion of the snapshot."""

    async def write(self: apply.Applier, task: Any, action: plan.WriteStatus) -> None:
        await _write_over(self, task, action, again=False)

    return mock.patch.object(apply.Applier, "_write_status", write)


async def _write_over(applier: apply.Applier, task: Any, action: plan.WriteStatus, *, again: bool) -> None:
    meta = task.metadata
    changes = json_merge_patch(status_to_wire(action.status), status_to_wire(task.status))
    try:
        reply = await applier._patch_unversioned(meta, changes)  # type: ignore[attr-defined]
    except errors.ReplyLost:
        if not again:
            raise
        for name in ("attemptCount", "failureCount", "disruptionCount"):
            if name in changes and getattr(action.status, _snake(name)) > getattr(task.status, _snake(name)):
                changes[name] += 1
        reply = await applier._patch_unversioned(meta, changes)  # type: ignore[attr-defined]
    except errors.NotFound as error:
        raise apply.StaleCache from error
    applier._cache.put_task(decode_task(reply))


async def _patch_unversioned(self: apply.Applier, meta: Any, changes: dict[str, Any]) -> bytes:
    body = orjson.dumps({"metadata": {"uid": meta.uid}, "status": changes})
    return await self._api.patch(PODTASKS, meta.namespace, meta.name, body, apply.PatchType.MERGE, subresource="status")


apply.Applier._patch_unversioned = _patch_unversioned  # type: ignore[attr-defined]


def _snake(name: str) -> str:
    return name.replace("Count", "_count")


def forget_wake_up() -> AbstractContextManager[Any]:
    """The queue never re-queues a task by time."""
    return mock.patch.object(WorkQueue, "add_after", return_value=None)


def skip_live_read() -> AbstractContextManager[Any]:
    """A Pod is created without a live read of the task, and a 409 is ignored."""

    async def check(self: reconciler.Reconciler, task: Any) -> None: ...

    return mock.patch.object(reconciler.Reconciler, "_check_live", check)


def trust_cache_of_pods() -> AbstractContextManager[Any]:
    """A Pod that is not in the cache counts as gone, without a live read."""

    async def confirm(self: apply.Applier, task: Any, action: plan.VerifyDeleted) -> None:
        self._task_facts.get_or_create(task.metadata.uid).gone_pods |= {action.uid}

    return mock.patch.object(apply.Applier, "_verify_deleted", confirm)


def stop_unversioned() -> AbstractContextManager[Any]:
    """A Pod is stopped without the resourceVersion of the snapshot."""
    real = apply._stop_metadata

    def note(*args: Any) -> dict[str, Any]:
        return {key: value for key, value in real(*args).items() if key != "resourceVersion"}

    return mock.patch.object(apply, "_stop_metadata", note)


def forget_doubt() -> AbstractContextManager[Any]:
    """A create without a reply counts as not sent."""
    return mock.patch.object(apply.Applier, "_new_create_deadline", return_value=None)


def release_first() -> AbstractContextManager[Any]:
    """The finalizer is removed before the outcome is written."""
    real = ended_pod.make_plan

    def make_plan(*args: Any) -> plan.Plan:
        found = real(*args)
        releases = tuple(action for action in found.actions if isinstance(action, plan.RemoveFinalizer))
        others = tuple(action for action in found.actions if not isinstance(action, plan.RemoveFinalizer))
        return plan.Plan(actions=(*releases, *others), events=found.events, wake_at=found.wake_at)

    return mock.patch.object(ended_pod, "make_plan", make_plan)


def leave_others() -> AbstractContextManager[Any]:
    """Other containers are never stopped when the main one has ended."""
    stack = (
        mock.patch.object(pod_stops, "stop_others", return_value=()),
        mock.patch.object(retention, "_stop", return_value=[]),
    )
    return _all_of(*stack)


@contextmanager
def _all_of(*patches: AbstractContextManager[Any]) -> Iterator[None]:
    with patches[0], patches[1]:
        yield


def count_disruption_as_failure() -> AbstractContextManager[Any]:
    """Every disruption counts as a failure."""
    real = attempts._counts
    return mock.patch.object(attempts, "_counts", lambda *args: (sum(real(*args)), 0))


def forget_creates() -> AbstractContextManager[Any]:
    """A slot counts as used only when its Pod exists."""
    real = PodSlots.update

    def update(self: PodSlots, task: Any, decided: plan.Plan) -> None:
        real(self, task, decided)
        for namespace in self._namespaces.values():
            namespace.creating.clear()

    return mock.patch.object(PodSlots, "update", update)


def forget_who_waits() -> AbstractContextManager[Any]:
    """Waiting tasks are not re-queued when a slot becomes free."""
    return mock.patch.object(PodSlots, "_wake_next", return_value=None)


def index_by_uid() -> AbstractContextManager[Any]:
    """Pods, slots and orphans are found by the task's uid alone; all tasks of the world are in one namespace."""
    return mock.patch.object(identity, "task_key", lambda _namespace, uid: f"{users.NAMESPACE}/{uid}")


def judge_by_uid() -> AbstractContextManager[Any]:
    """The same, and a Pod of another namespace counts as the task's own."""
    return _all_of(index_by_uid(), mock.patch.object(task_pods, "in_namespace", lambda snapshot: snapshot))


def _patch_attempt_pods() -> AbstractContextManager[Any]:
    def attempt_pods(snapshot: Any) -> tuple[Pod, ...]:
        return tuple(p for p in task_pods.owned_pods(snapshot) if p.attempt)

    return mock.patch.object(task_pods, "attempt_pods", attempt_pods)


def believe_labels() -> AbstractContextManager[Any]:
    """A Pod with the task's labels and owner reference counts as its attempt, whatever its name."""
    return _patch_attempt_pods()


def believe_names() -> AbstractContextManager[Any]:
    """A Pod with the task's labels counts as owned."""
    return _all_of(
        mock.patch.object(Pod, "is_owned_by", lambda _pod, _uid: True),
        _patch_attempt_pods(),
    )


def leave_unlabelled() -> AbstractContextManager[Any]:
    """A Pod of ours whose labels were removed is not restored."""
    return mock.patch.object(label_recovery, "find_unlabelled", return_value=None)


def release_once() -> AbstractContextManager[Any]:
    """A finalizer that is added again after the outcome was recorded stays."""
    real = retention.cleanup_pods

    def cleanup_pods(*args: Any) -> plan.Plan:
        found = real(*args)
        actions = tuple(action for action in found.actions if not isinstance(action, plan.RemoveFinalizer))
        return plan.Plan(actions=actions, wake_at=found.wake_at)

    return mock.patch.object(retention, "cleanup_pods", cleanup_pods)


def overlap() -> AbstractContextManager[Any]:
    """The next attempt does not wait for the previous one's Pod."""
    return mock.patch.object(no_pod, "_wait_for_previous_pod", _begin_anyway)


def _begin_anyway(task: Any, pod: Any, now: Any) -> plan.Plan:
    number = status.current_attempt_number(task)
    return plan.Plan(actions=(plan.CreatePod(attempt=number, name=task_pods.pod_name(task, number)),))


MUTATIONS: dict[str, Mutation] = {
    f.__name__: f
    for f in (
        drop_finalizer,
        rename_on_conflict,
        ignore_conflict,
        adopt_by_name,
        count_twice,
        write_unversioned,
        forget_wake_up,
        skip_live_read,
        trust_cache_of_pods,
        stop_unversioned,
        forget_doubt,
        release_first,
        leave_others,
        count_disruption_as_failure,
        overlap,
        forget_creates,
        forget_who_waits,
        index_by_uid,
        judge_by_uid,
        believe_labels,
        believe_names,
        release_once,
        leave_unlabelled,
    )
}
