"""Carries out the actions of a plan and puts the API server's replies into the cache or the facts about the task.

It takes no decision about a task: a refused create becomes a fact for the next decision. `Requeue` is raised if the
objects differ from the snapshot that the plan was made for, `StaleCache` if the cache does not show it yet. The caller
retries all other errors of the API.
"""

import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol

import orjson

from ..api import names
from ..api.reasons import Reason
from ..core import create_errors, identity, plan, podspec, times
from ..core.pod import Pod
from ..core.settings import Settings
from ..core.snapshot import CreateError, PodEvent, PodEvents, Relabelled, ResultLog, Task, TaskSnapshot
from ..kube import backoff, errors
from ..kube import clock as kube_clock
from ..kube.client import POD_EVENTS, PODS, Client, PatchType
from ..kube.merge_patch import json_merge_patch
from .decode import PODTASKS, decode_event, decode_pod, decode_task, status_to_wire
from .rate_limit import EventReadLimiter
from .task_facts import TaskFacts

_log = logging.getLogger(__name__)

_LOG_LIMIT_BYTES = 4 * 1024 * 1024
"""A result of 512 kB that does not compress takes 700 kB of the log; a restarted sidecar may write it twice."""

_MAX_EVENTS = 100

_RELABEL_RESET_SECONDS = 600
"""Labels that stayed this long before they were removed again: `Relabelled.count` restarts at 1."""

_EVENTS_REREAD_SECONDS = 60.0

_DIAGNOSIS_PHASES = frozenset({"Pending", "Running"})


class Requeue(Exception):
    """The objects or the facts have changed since the snapshot. Both are up to date now: decide again at once."""


class StaleCache(Exception):
    """The cache has an object that was deleted or has lost our label, and cannot be corrected from here.

    Nothing can be decided before the watch reports the change: retry with backoff.
    """


class CacheWriter(Protocol):
    """The part of the cache (`cluster.Cluster`) that takes the replies to our own requests."""

    def put_task(self, task: Task) -> None:
        """Store a version of a task; an older one than the stored one is ignored."""
        ...

    def put_pod(self, pod: Pod) -> None:
        """Store a version of a Pod; an older one than the stored one is ignored."""
        ...


class Applier:
    """Sends the requests that the actions of a plan need."""

    def __init__(
        self,
        api: Client,
        cache: CacheWriter,
        task_facts: TaskFacts,
        settings: Settings,
        *,
        now: Callable[[], datetime],
        time_source: kube_clock.Clock = kube_clock.SYSTEM,
        jitter: backoff.Jitter = random.random,
    ) -> None:
        """`now` is the cluster's time; `time_source` and `jitter` pace the reads of Events. Sends nothing."""
        self._api = api
        self._cache = cache
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
            self._task_facts.get(snapshot.task.metadata.uid).unlabelled_pod = None  # it is outdated
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
                await self._read(task, action)
            case plan.DeleteTask():
                meta = task.metadata
                await _stale_if_gone(self._api.delete(PODTASKS, meta.namespace, meta.name, uid=meta.uid))
            case _:
                raise TypeError(f"no such action: {action!r}")

    async def _read(
        self, task: Task, action: plan.VerifyDeleted | plan.ReadPod | plan.ReadPodEvents | plan.ReadResultLog
    ) -> None:
        """Read something that the watches do not report."""
        match action:
            case plan.VerifyDeleted():
                await self._verify_deleted(task, action)
            case plan.ReadPod():
                await self._refresh_pod(task, action)
            case plan.ReadPodEvents():
                await self._read_pod_events(task, action)
            case plan.ReadResultLog():
                await self._read_result_log(task, action)

    async def read_task(self, namespace: str, name: str) -> Task | None:
        """Read a task from the API server and update the cache; return None if it does not exist."""
        try:
            task = self._decode_task(await self._api.get(PODTASKS, namespace, name))
        except errors.NotFound:
            return None
        self._cache.put_task(task)
        return task

    def _decode_task(self, raw: bytes) -> Task:
        return decode_task(raw, self._settings.policy.max_spec_bytes)

    async def read_pod(self, namespace: str, name: str) -> Pod | None:
        """Read a Pod from the API server and update the cache; return None if it does not exist."""
        try:
            pod = decode_pod(await self._api.get(PODS, namespace, name))
        except errors.NotFound:
            return None
        self._update_cache(pod)
        return pod

    def _update_cache(self, pod: Pod) -> None:
        """Store a Pod in the cache if it has our label. The watch would never update one without the label."""
        if names.LABEL_TASK_UID in pod.metadata.labels:
            self._cache.put_pod(pod)

    async def release_pod(self, namespace: str, action: plan.RemoveFinalizer, *, is_cached: bool = True) -> None:
        """Remove our finalizer. Raises `StaleCache` if the Pod of that uid does not exist."""
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
            facts.create_error = _counted(facts.create_error, action.attempt, 403, reason, str(error), self._now())
            return
        except podspec.TemplateError as error:
            facts.create_error = _counted(facts.create_error, action.attempt, 422, "Invalid", str(error), self._now())
            return
        except errors.Conflict as error:
            # A resource quota under contention replies 409 too, with another reason; retry.
            if error.reason != "AlreadyExists":
                raise
            await self._adopt(task, action)
            return
        except errors.ReplyLost:
            # The create may have been carried out. It is not sent again: read the Pod, then decide again.
            facts.unknown_create_deadline = self._new_create_deadline()
            await self.read_pod(task.metadata.namespace, action.name)
            raise
        except errors.ApiError as error:
            if not create_errors.is_refusal(error.code, error.message):
                if error.code >= 500:
                    facts.unknown_create_deadline = self._new_create_deadline()
                raise
            facts.create_error = _counted(
                facts.create_error, action.attempt, error.code, error.reason, error.message, self._now()
            )
            return
        facts.create_error = facts.conflicting_pod = None
        self._record_own_pod(task, decode_pod(reply))

    def _new_create_deadline(self) -> datetime:
        """Return the time after which the API server no longer carries out a create that is sent now."""
        return times.add_saturating(self._now(), self._settings.pod_hold_seconds)

    async def _adopt(self, task: Task, action: plan.CreatePod) -> None:
        """Handle AlreadyExists: adopt the Pod if the task owns it (terminating or not), else record a name conflict."""
        pod = await self.read_pod(task.metadata.namespace, action.name)
        if pod is None:
            raise Requeue
        facts = self._task_facts.get_or_create(task.metadata.uid)
        if pod.is_owned_by(task.metadata.uid):
            facts.create_error = None
            self._record_own_pod(task, pod)
        else:
            facts.conflicting_pod = pod
            text = f"Pod {action.name} of PodTask {pod.task_name} still has the name"
            facts.create_error = _counted(facts.create_error, action.attempt, 409, "AlreadyExists", text, self._now())

    async def _restore_labels(self, task: Task, action: plan.RestoreLabels) -> None:
        """Add our labels to a Pod again. A webhook may remove them at once, so restores are counted, for the backoff.

        The attempt number comes from the task, which is therefore read from the API server: with a stale task the Pod
        of the next attempt would get the number of the previous one, whose end is in the status already.
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
            if not create_errors.is_refusal(error.code, error.message):
                raise
            refused = error
        else:
            self._record_own_pod(task, pod)
        facts.relabelled = _relabelled(facts.relabelled, action.uid, self._now())
        fields = {"task": f"{meta.namespace}/{meta.name}", "pod": action.name, "times": facts.relabelled.count}
        _log.warning(
            "Pod has lost our labels, restoring them", extra={**fields, "error": repr(refused) if refused else ""}
        )

    def _record_own_pod(self, task: Task, pod: Pod) -> None:
        """Record a Pod that the task owns: in the cache if the watch follows it, else in the facts about the task."""
        self._update_cache(pod)
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
            facts.begin_attempt(task.status.attempt_count)
            facts.result_refused = True
            raise Requeue from error
        written = self._decode_task(reply)
        if action.status.reason == Reason.RUNNING:
            self._task_facts.reset(meta.uid)  # not needed while the Pod runs, which may take days
        elif action.status.phase in _DIAGNOSIS_PHASES:
            self._task_facts.get_or_create(meta.uid).diagnosed_at = self._now()
        self._cache.put_task(written)

    async def _stop_pod(self, snapshot: TaskSnapshot, action: plan.StopPod) -> None:
        metadata = _stop_metadata(snapshot, action.uid, action.reason)
        metadata["annotations"][names.ANNOTATION_STOP_TIME] = f"{self._now():%Y-%m-%dT%H:%M:%SZ}"
        body = {"metadata": metadata, "spec": {"activeDeadlineSeconds": 1}}
        await self._patch_followed(snapshot.task.metadata.namespace, action.name, body, PatchType.MERGE)

    async def _delete_pod(self, snapshot: TaskSnapshot, action: plan.DeletePod) -> None:
        namespace = snapshot.task.metadata.namespace
        if action.reason:
            body = {"metadata": _stop_metadata(snapshot, action.uid, action.reason)}
            await self._patch_pod(namespace, action.name, body, PatchType.MERGE)
        await _stale_if_gone(
            self._api.delete(PODS, namespace, action.name, uid=action.uid, grace_seconds=action.grace_seconds)
        )

    async def _patch_pod(self, namespace: str, name: str, body: dict[str, Any], patch_type: PatchType) -> Pod:
        try:
            reply = await self._api.patch(PODS, namespace, name, orjson.dumps(body), patch_type)
        except errors.NotFound as error:
            raise StaleCache from error
        except errors.Invalid as error:
            # A uid that does not match is a 422, with each type of patch (tests/conformance).
            if "metadata.uid" in error.message:
                raise StaleCache from error
            raise
        except errors.Conflict as error:
            pod = await self.read_pod(namespace, name)
            if pod is None or pod.metadata.uid != body["metadata"]["uid"]:
                raise StaleCache from error
            if names.LABEL_TASK_UID not in pod.metadata.labels:
                raise StaleCache from error  # its label was removed since: the watch will report it as deleted
            raise Requeue from error
        patched = decode_pod(reply)
        self._update_cache(patched)
        return patched

    async def _patch_followed(self, namespace: str, name: str, body: dict[str, Any], patch_type: PatchType) -> None:
        """Patch a Pod that is in the cache. Raises `StaleCache`, after the patch, if the Pod no longer has our label.

        The cache would not show the patch, so the next decision would send it again, until the watch reports the Pod
        as deleted.
        """
        pod = await self._patch_pod(namespace, name, body, patch_type)
        if names.LABEL_TASK_UID not in pod.metadata.labels:
            raise StaleCache

    async def _verify_deleted(self, task: Task, action: plan.VerifyDeleted) -> None:
        pod = await self.read_pod(task.metadata.namespace, action.name)
        if pod is not None and pod.metadata.uid == action.uid:
            self._record_own_pod(task, pod)
            return
        facts = self._task_facts.get_or_create(task.metadata.uid)
        facts.gone_pods |= {action.uid}
        facts.unlabelled_pod = None

    async def _refresh_pod(self, task: Task, action: plan.ReadPod) -> None:
        pod = await self.read_pod(task.metadata.namespace, action.name)
        if pod is None or pod.metadata.uid != action.uid:
            raise StaleCache
        self._task_facts.get_or_create(task.metadata.uid).live_version = pod.metadata.resource_version

    async def _read_pod_events(self, task: Task, action: plan.ReadPodEvents) -> None:
        """Read the Events of a Pod. If that fails (with Forbidden, for example), the status only lacks a diagnosis."""
        facts = self._task_facts.get_or_create(task.metadata.uid)
        if not self._event_reads.try_acquire():
            # Try again after a random delay, so that each of many waiting tasks gets its chance.
            before = facts.pod_events.events if facts.pod_events and facts.pod_events.pod_uid == action.uid else ()
            again = times.add_saturating(self._now(), 1 + self._jitter() * _EVENTS_REREAD_SECONDS)
            facts.pod_events = PodEvents(pod_uid=action.uid, again_at=again, events=before)
            return
        events: tuple[PodEvent, ...] = ()
        try:
            selector = f"involvedObject.uid={action.uid}"
            page = await self._api.list_page(
                POD_EVENTS, read=decode_event, namespace=task.metadata.namespace, fields=selector, limit=_MAX_EVENTS
            )
            events = tuple(page.items)
        except errors.ApiError as error:
            _log.info("Events of the Pod could not be read", extra={"pod": action.name, "error": repr(error)})
        finally:
            self._event_reads.release()
        again = times.add_saturating(self._now(), _EVENTS_REREAD_SECONDS)
        facts.pod_events = PodEvents(pod_uid=action.uid, again_at=again, events=events)

    async def _read_result_log(self, task: Task, action: plan.ReadResultLog) -> None:
        facts = self._task_facts.get_or_create(task.metadata.uid)
        facts.begin_attempt(task.status.attempt_count)
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


def _stop_metadata(snapshot: TaskSnapshot, uid: str, reason: str) -> dict[str, Any]:
    """Return the metadata of the patch that stops a Pod: the reason, and the version that the plan was made for.

    In a later version its container may have succeeded, so a conflict must end the patch.
    """
    version = next((p.metadata.resource_version for p in snapshot.pods if p.metadata.uid == uid), None)
    guard = {} if version is None else {"resourceVersion": version}
    return {"uid": uid, "annotations": {names.ANNOTATION_STOP: reason}, **guard}


def _counted(
    before: CreateError | None, attempt: int, code: int, reason: str, message: str, at: datetime
) -> CreateError:
    count = before.count + 1 if before is not None and before.attempt == attempt else 1
    return CreateError(attempt=attempt, code=code, reason=reason, message=message, at=at, count=count)


def _relabelled(before: Relabelled | None, uid: str, at: datetime) -> Relabelled:
    """Return the count and time of restores, one higher; the count restarts after `_RELABEL_RESET_SECONDS`."""
    is_repeated = (
        before is not None and before.pod_uid == uid and times.add_saturating(before.at, _RELABEL_RESET_SECONDS) > at
    )
    return Relabelled(pod_uid=uid, at=at, count=before.count + 1 if before is not None and is_repeated else 1)


async def _stale_if_gone(request: Awaitable[None]) -> None:
    try:
        await request
    except (errors.NotFound, errors.Conflict) as error:
        # It is deleted already, or another object has its name.
        raise StaleCache from error
