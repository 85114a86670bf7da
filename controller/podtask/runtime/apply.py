"""Carry out a plan, action by action, and keep what the API server answered.

There is no judgement here about tasks: a refusal becomes a fact for the next decision. `Requeue` says that the world
is not as it was judged, and `StaleCache` that the cache has yet to hear of it. Other errors of the API are the
caller's to retry.
"""

import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol

import orjson

from ..api import names
from ..api.reasons import Reason
from ..core import identity, plan, podspec, times
from ..core.pod import Pod
from ..core.settings import Settings
from ..core.snapshot import PodEvent, PodEvents, Refusal, Relabelled, ResultLog, Task, TaskSnapshot
from ..kube import backoff, errors
from ..kube import clock as kube_clock
from ..kube.client import POD_EVENTS, PODS, Client, PatchType
from ..kube.merge_patch import json_merge_patch
from .decode import PODTASKS, decode_event, decode_pod, decode_task, status_to_wire
from .rate_limit import EventReadLimiter
from .task_facts import TaskFacts

_log = logging.getLogger(__name__)

_LOG_LIMIT_BYTES = 4 * 1024 * 1024
"""A result of 512 kB that does not compress is 700 kB in the log; a sidecar that was restarted may write it twice."""

_MOST_EVENTS = 100

_RELABELLING_COUNTS_SECONDS = 600
"""Labels that stayed on for so long were taken off anew, and not by what takes them off each time."""

_EVENTS_AGAIN_SECONDS = 60.0

_DIAGNOSIS_PHASES = frozenset({"Pending", "Running"})


class Requeue(Exception):
    """The objects are not as they were judged; what is there now is in the cache. Decide again."""


class StaleCache(Exception):
    """An object of the cache is gone from the server. The watch will say so; until then nothing can be decided."""


class Objects(Protocol):
    """The live copy of the cluster, as far as writing concerns it."""

    def put_task(self, task: Task) -> None:
        """Take in a newer version of a task."""
        ...

    def put_pod(self, pod: Pod) -> None:
        """Take in a newer version of a Pod."""
        ...


class Applier:
    """Turns actions into requests."""

    def __init__(
        self,
        api: Client,
        objects: Objects,
        task_facts: TaskFacts,
        settings: Settings,
        *,
        now: Callable[[], datetime],
        time_source: kube_clock.Clock = kube_clock.SYSTEM,
        jitter: backoff.Jitter = random.random,
    ) -> None:
        """Nothing is sent before `apply`."""
        self._api = api
        self._objects = objects
        self._task_facts = task_facts
        self._settings = settings
        self._now = now
        self._jitter = jitter
        self._event_reads = EventReadLimiter(time_source)

    async def apply(self, snapshot: TaskSnapshot, action: plan.Action) -> None:
        """Carry out one action. Raises `Requeue`, `StaleCache` or `errors.ApiError`."""
        try:
            await self._apply(snapshot, action)
        except StaleCache:
            self._task_facts.get(snapshot.task.metadata.uid).unlabelled_pod = None  # read before, and no news any more
            raise

    async def _apply(self, snapshot: TaskSnapshot, action: plan.Action) -> None:
        task = snapshot.task
        match action:
            case plan.CreatePod():
                await self._create_pod(task, action)
            case plan.WriteStatus():
                await self._write_status(task, action)
            case plan.StopPod():
                await self._stop_pod(snapshot, action)
            case plan.DeletePod():
                await self._delete_pod(snapshot, action)
            case plan.RemoveFinalizer():
                is_cached = any(pod.metadata.uid == action.uid for pod in snapshot.pods)
                await self.release_pod(task.metadata.namespace, action, is_cached=is_cached)
            case plan.RestoreLabels():
                await self._restore_labels(task, action)
            case plan.VerifyDeleted() | plan.ReadPod() | plan.ReadPodEvents() | plan.ReadResultLog():
                await self._learn(task, action)
            case plan.DeleteTask():
                meta = task.metadata
                await _await_deletion(self._api.delete(PODTASKS, meta.namespace, meta.name, uid=meta.uid))
            case _:
                raise TypeError(f"no such action: {action!r}")

    async def _learn(
        self, task: Task, action: plan.VerifyDeleted | plan.ReadPod | plan.ReadPodEvents | plan.ReadResultLog
    ) -> None:
        """Read something that no watch tells."""
        match action:
            case plan.VerifyDeleted():
                await self._confirm_gone(task, action)
            case plan.ReadPod():
                await self._read_live(task, action)
            case plan.ReadPodEvents():
                await self._read_pod_events(task, action)
            case plan.ReadResultLog():
                await self._read_result_log(task, action)

    async def read_task(self, namespace: str, name: str) -> Task | None:
        """Read a task live, and take it in."""
        try:
            task = self._decode_task(await self._api.get(PODTASKS, namespace, name))
        except errors.NotFound:
            return None
        self._objects.put_task(task)
        return task

    def _decode_task(self, raw: bytes) -> Task:
        return decode_task(raw, self._settings.policy.max_spec_bytes)

    async def read_pod(self, namespace: str, name: str) -> Pod | None:
        """Read a Pod live, and take it in where the watch follows it too."""
        try:
            pod = decode_pod(await self._api.get(PODS, namespace, name))
        except errors.NotFound:
            return None
        self._take_in(pod)
        return pod

    def _take_in(self, pod: Pod) -> None:
        """Put a Pod into the cache where the watch follows it too: another would stay there as it is now."""
        if names.LABEL_TASK_UID in pod.metadata.labels:
            self._objects.put_pod(pod)

    async def release_pod(self, namespace: str, action: plan.RemoveFinalizer, *, is_cached: bool = True) -> None:
        """Remove our finalizer. Raises `StaleCache` where the name belongs to another Pod by now, or to none."""
        body = {"metadata": {"uid": action.uid, "$deleteFromPrimitiveList/finalizers": [names.FINALIZER]}}
        patch = self._patch_followed if is_cached else self._patch_pod
        await patch(namespace, action.name, body, PatchType.STRATEGIC)

    async def _create_pod(self, task: Task, action: plan.CreatePod) -> None:
        meta = task.metadata
        facts = self._task_facts.get_or_create(meta.uid)
        try:
            manifest = podspec.build(task, action.attempt, action.name, self._settings)
            reply = await self._api.create(PODS, meta.namespace, orjson.dumps(manifest))
        except podspec.PolicyError as error:
            reason = Reason.POLICY_DENIED
            facts.refusal = _refusal(facts.refusal, action.attempt, 403, reason, str(error), self._now())
            return
        except podspec.TemplateError as error:
            facts.refusal = _refusal(facts.refusal, action.attempt, 422, "Invalid", str(error), self._now())
            return
        except errors.Conflict as error:
            # A quota under contention answers 409 too, and asks to be tried again.
            if error.reason != "AlreadyExists":
                raise
            await self._adopt(task, action)
            return
        except errors.ReplyLost:
            # Never sent again blindly: what happened is looked up, and then decided anew.
            facts.in_doubt_until = self._end_of_doubt()
            await self.read_pod(task.metadata.namespace, action.name)
            raise
        except errors.ApiError as error:
            if not _is_refusal(error):
                facts.in_doubt_until = self._end_of_doubt() if error.code >= 500 else facts.in_doubt_until
                raise
            facts.refusal = _refusal(
                facts.refusal, action.attempt, error.code, error.reason, error.message, self._now()
            )
            return
        facts.refusal = facts.conflicting_pod = None
        self._take_in_ours(task, decode_pod(reply))

    def _end_of_doubt(self) -> datetime:
        """Give the time by which a create without an answer is carried out, or never will be."""
        return times.add_saturating(self._now(), self._settings.pod_hold_seconds)

    async def _adopt(self, task: Task, action: plan.CreatePod) -> None:
        """The name is taken: by our own earlier create, be its Pod terminating or not, or by a stranger."""
        pod = await self.read_pod(task.metadata.namespace, action.name)
        if pod is None:
            raise Requeue
        facts = self._task_facts.get_or_create(task.metadata.uid)
        if pod.is_owned_by(task.metadata.uid):
            facts.refusal = None
            self._take_in_ours(task, pod)
        else:
            facts.conflicting_pod = pod
            words = f"Pod {action.name} of PodTask {pod.task_name} still has the name"
            facts.refusal = _refusal(facts.refusal, action.attempt, 409, "AlreadyExists", words, self._now())

    async def _restore_labels(self, task: Task, action: plan.RestoreLabels) -> None:
        """Put them back. They may be taken off again, by a webhook at once: it is counted, and tried ever less often.

        The number of the attempt is the task's, so that is read live: by a stale one, the next attempt's Pod would be
        labelled as the last one's, whose end is recorded already.
        """
        meta, facts = task.metadata, self._task_facts.get_or_create(task.metadata.uid)
        live = await self.read_task(meta.namespace, meta.name)
        if live is None or live.metadata.uid != meta.uid:
            raise StaleCache
        if live.metadata.resource_version != meta.resource_version:
            raise Requeue
        labels = identity.pod_labels(meta.name, meta.uid, action.attempt)
        refused: errors.ApiError | None = None
        try:
            pod = await self._patch_pod(
                meta.namespace, action.name, {"metadata": {"uid": action.uid, "labels": labels}}, PatchType.MERGE
            )
        except errors.ApiError as error:
            if not _is_refusal(error):
                raise
            refused = error
        else:
            self._take_in_ours(task, pod)
        facts.relabelled = _relabelled(facts.relabelled, action.uid, self._now())
        about = {"task": f"{meta.namespace}/{meta.name}", "pod": action.name, "times": facts.relabelled.count}
        _log.warning("a Pod has lost our labels; put back", extra={**about, "error": repr(refused) if refused else ""})

    def _take_in_ours(self, task: Task, pod: Pod) -> None:
        """Take in the Pod of a task: into the cache where the watch follows it, else beside it."""
        self._take_in(pod)
        is_followed = pod.metadata.labels.get(names.LABEL_TASK_UID) == task.metadata.uid
        self._task_facts.get_or_create(task.metadata.uid).unlabelled_pod = None if is_followed else pod

    async def _write_status(self, task: Task, action: plan.WriteStatus) -> None:
        meta = task.metadata
        changes = json_merge_patch(status_to_wire(action.status), status_to_wire(task.status))
        body = {"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}, "status": changes}
        try:
            reply = await self._api.patch(
                PODTASKS, meta.namespace, meta.name, orjson.dumps(body), PatchType.MERGE, subresource="status"
            )
        except (errors.Conflict, errors.ReplyLost) as error:
            live = await self.read_task(meta.namespace, meta.name)
            if live is None or live.metadata.uid != meta.uid:
                raise StaleCache from error
            raise Requeue from error
        except errors.NotFound as error:
            raise StaleCache from error
        except errors.ApiError as error:
            has_value = action.status.xcom is not None and action.status.xcom.value is not None
            if not has_value or "too large" not in error.message:
                raise
            facts = self._task_facts.get_or_create(meta.uid)
            facts.begin(task.status.attempt_count)
            facts.result_refused = True
            raise Requeue from error
        written = self._decode_task(reply)
        if action.status.reason == Reason.RUNNING:
            self._task_facts.reset(meta.uid)  # what led here does not matter to a Pod that runs, perhaps for days
        elif action.status.phase in _DIAGNOSIS_PHASES:
            self._task_facts.get_or_create(meta.uid).diagnosed_at = self._now()
        self._objects.put_task(written)

    async def _stop_pod(self, snapshot: TaskSnapshot, action: plan.StopPod) -> None:
        note = _stop_note(snapshot, action.uid, action.reason)
        note["annotations"][names.ANNOTATION_STOP_TIME] = f"{self._now():%Y-%m-%dT%H:%M:%SZ}"
        body = {"metadata": note, "spec": {"activeDeadlineSeconds": 1}}
        await self._patch_followed(snapshot.task.metadata.namespace, action.name, body, PatchType.MERGE)

    async def _delete_pod(self, snapshot: TaskSnapshot, action: plan.DeletePod) -> None:
        namespace = snapshot.task.metadata.namespace
        if action.reason:
            body = {"metadata": _stop_note(snapshot, action.uid, action.reason)}
            await self._patch_pod(namespace, action.name, body, PatchType.MERGE)
        await _await_deletion(
            self._api.delete(PODS, namespace, action.name, uid=action.uid, grace_seconds=action.grace_seconds)
        )

    async def _patch_pod(self, namespace: str, name: str, body: dict[str, Any], patch_type: PatchType) -> Pod:
        try:
            reply = await self._api.patch(PODS, namespace, name, orjson.dumps(body), patch_type)
        except errors.NotFound as error:
            raise StaleCache from error
        except errors.Invalid as error:
            # A uid that is not the object's is a 422 here, whatever the kind of patch (tests/conformance).
            if "metadata.uid" in error.message:
                raise StaleCache from error
            raise
        except errors.Conflict as error:
            pod = await self.read_pod(namespace, name)
            if pod is None or pod.metadata.uid != body["metadata"]["uid"]:
                raise StaleCache from error
            if names.LABEL_TASK_UID not in pod.metadata.labels:
                raise StaleCache from error  # its label is off since: it is not taken in, and the watch will say so
            raise Requeue from error
        patched = decode_pod(reply)
        self._take_in(patched)
        return patched

    async def _patch_followed(self, namespace: str, name: str, body: dict[str, Any], patch_type: PatchType) -> None:
        """Change a Pod that the watch follows. One that it does not follow any more is changed, and `StaleCache`.

        The cache would not show the change, and so it would be made again at once, until the watch tells.
        """
        pod = await self._patch_pod(namespace, name, body, patch_type)
        if names.LABEL_TASK_UID not in pod.metadata.labels:
            raise StaleCache

    async def _confirm_gone(self, task: Task, action: plan.VerifyDeleted) -> None:
        pod = await self.read_pod(task.metadata.namespace, action.name)
        if pod is not None and pod.metadata.uid == action.uid:
            self._take_in_ours(task, pod)
            return
        facts = self._task_facts.get_or_create(task.metadata.uid)
        facts.gone_pods |= {action.uid}
        facts.unlabelled_pod = None

    async def _read_live(self, task: Task, action: plan.ReadPod) -> None:
        pod = await self.read_pod(task.metadata.namespace, action.name)
        if pod is None or pod.metadata.uid != action.uid:
            raise StaleCache
        self._task_facts.get_or_create(task.metadata.uid).live_version = pod.metadata.resource_version

    async def _read_pod_events(self, task: Task, action: plan.ReadPodEvents) -> None:
        """Without them (the right to read them is missing, say) a diagnosis is lost, and nothing else."""
        facts = self._task_facts.get_or_create(task.metadata.uid)
        if not self._event_reads.take():
            # Not its turn. At a random moment later, so that of many who wait not always the same come first.
            before = facts.pod_events.events if facts.pod_events and facts.pod_events.pod_uid == action.uid else ()
            again = times.add_saturating(self._now(), 1 + self._jitter() * _EVENTS_AGAIN_SECONDS)
            facts.pod_events = PodEvents(pod_uid=action.uid, again_at=again, events=before)
            return
        events: tuple[PodEvent, ...] = ()
        try:
            about = f"involvedObject.uid={action.uid}"
            page = await self._api.list_page(
                POD_EVENTS, read=decode_event, namespace=task.metadata.namespace, fields=about, limit=_MOST_EVENTS
            )
            events = tuple(page.items)
        except errors.ApiError as error:
            _log.info("the Events of a Pod cannot be read", extra={"pod": action.name, "error": repr(error)})
        finally:
            self._event_reads.give()
        again = times.add_saturating(self._now(), _EVENTS_AGAIN_SECONDS)
        facts.pod_events = PodEvents(pod_uid=action.uid, again_at=again, events=events)

    async def _read_result_log(self, task: Task, action: plan.ReadResultLog) -> None:
        facts = self._task_facts.get_or_create(task.metadata.uid)
        facts.begin(task.status.attempt_count)
        try:
            content = await self._api.read_log(
                task.metadata.namespace, action.name, names.RESULT_CONTAINER, limit_bytes=_LOG_LIMIT_BYTES
            )
            facts.result_log = ResultLog(pod_uid=action.uid, content=content)
        except (errors.NotFound, errors.Forbidden) as error:
            facts.result_log = ResultLog(pod_uid=action.uid, error=error.message)
        except errors.ApiError:
            facts.log_failures += 1
            raise


def _is_refusal(error: errors.ApiError) -> bool:
    """Tell an answer about this Pod from trouble of the server: a failing webhook is a 500, and is about this Pod."""
    if error.code >= 500:
        return "webhook" in error.message
    return error.code >= 400 and error.code not in {401, 429}


def _stop_note(snapshot: TaskSnapshot, uid: str, reason: str) -> dict[str, Any]:
    """Note why a Pod is stopped, on the version that was judged: of a later one, its container may have succeeded."""
    version = next((p.metadata.resource_version for p in snapshot.pods if p.metadata.uid == uid), None)
    guard = {} if version is None else {"resourceVersion": version}
    return {"uid": uid, "annotations": {names.ANNOTATION_STOP: reason}, **guard}


def _refusal(before: Refusal | None, attempt: int, code: int, reason: str, message: str, at: datetime) -> Refusal:
    count = before.count + 1 if before is not None and before.attempt == attempt else 1
    return Refusal(attempt=attempt, code=code, reason=reason, message=message, at=at, count=count)


def _relabelled(before: Relabelled | None, uid: str, at: datetime) -> Relabelled:
    """Count once more; a time long ago is another story."""
    counts = (
        before is not None
        and before.pod_uid == uid
        and times.add_saturating(before.at, _RELABELLING_COUNTS_SECONDS) > at
    )
    return Relabelled(pod_uid=uid, at=at, count=before.count + 1 if before is not None and counts else 1)


async def _await_deletion(request: Awaitable[None]) -> None:
    try:
        await request
    except (errors.NotFound, errors.Conflict) as error:
        # Gone already, or the name belongs to another object by now.
        raise StaleCache from error
