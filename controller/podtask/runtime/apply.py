"""Carry out a plan, step by step, and keep what the API server answered.

There is no judgement here about tasks: a refusal becomes a fact for the next decision. `Outdated` says that the world
is not as it was judged, and `CacheBehind` that the cache has yet to hear of it. Other errors of the API are the
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
from ..core import clock, identity, plan, podspec
from ..core.observed import Observed, Pod, PodEvent, PodEvents, Refusal, Relabelled, ResultLog, Task
from ..kube import backoff, errors
from ..kube import clock as kube_clock
from ..kube.client import POD_EVENTS, PODS, Client, PatchType
from .decode import PODTASKS, decode_event, decode_pod, decode_task, status_to_wire
from .memory import Memories
from .ration import Ration

_log = logging.getLogger(__name__)

_LOG_LIMIT_BYTES = 4 * 1024 * 1024
"""A result of 512 kB that does not compress is 700 kB in the log; a sidecar that was restarted may write it twice."""

_MOST_EVENTS = 100

_RELABELLING_COUNTS_SECONDS = 600
"""Labels that stayed on for so long were taken off anew, and not by what takes them off each time."""

_EVENTS_AGAIN_SECONDS = 60.0

_DIAGNOSIS_PHASES = frozenset({"Pending", "Running"})


class Outdated(Exception):
    """The objects are not as they were judged; what is there now is in the cache. Decide again."""


class CacheBehind(Exception):
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
    """Turns steps into requests."""

    def __init__(
        self,
        api: Client,
        objects: Objects,
        memories: Memories,
        settings: plan.Settings,
        *,
        now: Callable[[], datetime],
        time_source: kube_clock.Clock = kube_clock.SYSTEM,
        jitter: backoff.Jitter = random.random,
    ) -> None:
        """Nothing is sent before `apply`."""
        self._api = api
        self._objects = objects
        self._memories = memories
        self._settings = settings
        self._now = now
        self._jitter = jitter
        self._event_reads = Ration(time_source)

    async def apply(self, observed: Observed, step: plan.Step) -> None:
        """Carry out one step. Raises `Outdated`, `CacheBehind` or `errors.ApiError`."""
        try:
            await self._apply(observed, step)
        except CacheBehind:
            self._memories.peek(observed.task.metadata.uid).unlabelled_pod = None  # read before, and no news any more
            raise

    async def _apply(self, observed: Observed, step: plan.Step) -> None:
        task = observed.task
        match step:
            case plan.CreatePod():
                await self._create_pod(task, step)
            case plan.WriteStatus():
                await self._write_status(task, step)
            case plan.StopPod():
                await self._stop_pod(observed, step)
            case plan.DeletePod():
                await self._delete_pod(observed, step)
            case plan.ReleasePod():
                is_cached = any(pod.metadata.uid == step.uid for pod in observed.pods)
                await self.release_pod(task.metadata.namespace, step, is_cached=is_cached)
            case plan.RestoreLabels():
                await self._restore_labels(task, step)
            case plan.ConfirmGone() | plan.ReadPod() | plan.ReadPodEvents() | plan.ReadResultLog():
                await self._learn(task, step)
            case plan.DeleteTask():
                meta = task.metadata
                await _await_deletion(self._api.delete(PODTASKS, meta.namespace, meta.name, uid=meta.uid))
            case _:
                raise TypeError(f"no such step: {step!r}")

    async def _learn(
        self, task: Task, step: plan.ConfirmGone | plan.ReadPod | plan.ReadPodEvents | plan.ReadResultLog
    ) -> None:
        """Read something that no watch tells."""
        match step:
            case plan.ConfirmGone():
                await self._confirm_gone(task, step)
            case plan.ReadPod():
                await self._read_live(task, step)
            case plan.ReadPodEvents():
                await self._read_pod_events(task, step)
            case plan.ReadResultLog():
                await self._read_result_log(task, step)

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

    async def release_pod(self, namespace: str, step: plan.ReleasePod, *, is_cached: bool = True) -> None:
        """Remove our finalizer. Raises `CacheBehind` where the name belongs to another Pod by now, or to none."""
        body = {"metadata": {"uid": step.uid, "$deleteFromPrimitiveList/finalizers": [names.FINALIZER]}}
        patch = self._patch_followed if is_cached else self._patch_pod
        await patch(namespace, step.name, body, PatchType.STRATEGIC)

    async def _create_pod(self, task: Task, step: plan.CreatePod) -> None:
        meta = task.metadata
        memory = self._memories.of(meta.uid)
        try:
            manifest = podspec.build(task, step.attempt, step.name, self._settings)
            reply = await self._api.create(PODS, meta.namespace, orjson.dumps(manifest))
        except podspec.PolicyError as error:
            reason = Reason.POLICY_DENIED
            memory.refusal = _refusal(memory.refusal, step.attempt, 403, reason, str(error), self._now())
            return
        except podspec.TemplateError as error:
            memory.refusal = _refusal(memory.refusal, step.attempt, 422, "Invalid", str(error), self._now())
            return
        except errors.Conflict as error:
            # A quota under contention answers 409 too, and asks to be tried again.
            if error.reason != "AlreadyExists":
                raise
            await self._adopt(task, step)
            return
        except errors.ReplyLost:
            # Never sent again blindly: what happened is looked up, and then decided anew.
            memory.in_doubt_until = self._end_of_doubt()
            await self.read_pod(task.metadata.namespace, step.name)
            raise
        except errors.ApiError as error:
            if not _is_refusal(error):
                memory.in_doubt_until = self._end_of_doubt() if error.code >= 500 else memory.in_doubt_until
                raise
            memory.refusal = _refusal(
                memory.refusal, step.attempt, error.code, error.reason, error.message, self._now()
            )
            return
        memory.refusal = memory.foreign_pod = None
        self._take_in_ours(task, decode_pod(reply))

    def _end_of_doubt(self) -> datetime:
        """Give the time by which a create without an answer is carried out, or never will be."""
        return clock.later(self._now(), self._settings.pod_hold_seconds)

    async def _adopt(self, task: Task, step: plan.CreatePod) -> None:
        """The name is taken: by our own earlier create, be its Pod terminating or not, or by a stranger."""
        pod = await self.read_pod(task.metadata.namespace, step.name)
        if pod is None:
            raise Outdated
        memory = self._memories.of(task.metadata.uid)
        if pod.is_owned_by(task.metadata.uid):
            memory.refusal = None
            self._take_in_ours(task, pod)
        else:
            memory.foreign_pod = pod
            words = f"Pod {step.name} of PodTask {pod.task_name} still has the name"
            memory.refusal = _refusal(memory.refusal, step.attempt, 409, "AlreadyExists", words, self._now())

    async def _restore_labels(self, task: Task, step: plan.RestoreLabels) -> None:
        """Put them back. They may be taken off again, by a webhook at once: it is counted, and tried ever less often.

        The number of the attempt is the task's, so that is read live: by a stale one, the next attempt's Pod would be
        labelled as the last one's, whose end is recorded already.
        """
        meta, memory = task.metadata, self._memories.of(task.metadata.uid)
        live = await self.read_task(meta.namespace, meta.name)
        if live is None or live.metadata.uid != meta.uid:
            raise CacheBehind
        if live.metadata.resource_version != meta.resource_version:
            raise Outdated
        labels = identity.pod_labels(meta.name, meta.uid, step.attempt)
        refused: errors.ApiError | None = None
        try:
            pod = await self._patch_pod(
                meta.namespace, step.name, {"metadata": {"uid": step.uid, "labels": labels}}, PatchType.MERGE
            )
        except errors.ApiError as error:
            if not _is_refusal(error):
                raise
            refused = error
        else:
            self._take_in_ours(task, pod)
        memory.relabelled = _relabelled(memory.relabelled, step.uid, self._now())
        about = {"task": f"{meta.namespace}/{meta.name}", "pod": step.name, "times": memory.relabelled.count}
        _log.warning("a Pod has lost our labels; put back", extra={**about, "error": repr(refused) if refused else ""})

    def _take_in_ours(self, task: Task, pod: Pod) -> None:
        """Take in the Pod of a task: into the cache where the watch follows it, else beside it."""
        self._take_in(pod)
        is_followed = pod.metadata.labels.get(names.LABEL_TASK_UID) == task.metadata.uid
        self._memories.of(task.metadata.uid).unlabelled_pod = None if is_followed else pod

    async def _write_status(self, task: Task, step: plan.WriteStatus) -> None:
        meta = task.metadata
        changes = plan.json_merge_patch(status_to_wire(step.status), status_to_wire(task.status))
        body = {"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}, "status": changes}
        try:
            reply = await self._api.patch(
                PODTASKS, meta.namespace, meta.name, orjson.dumps(body), PatchType.MERGE, subresource="status"
            )
        except (errors.Conflict, errors.ReplyLost) as error:
            live = await self.read_task(meta.namespace, meta.name)
            if live is None or live.metadata.uid != meta.uid:
                raise CacheBehind from error
            raise Outdated from error
        except errors.NotFound as error:
            raise CacheBehind from error
        except errors.ApiError as error:
            has_value = step.status.xcom is not None and step.status.xcom.value is not None
            if not has_value or "too large" not in error.message:
                raise
            memory = self._memories.of(meta.uid)
            memory.begin(task.status.attempt_count)
            memory.result_refused = True
            raise Outdated from error
        written = self._decode_task(reply)
        if step.status.reason == Reason.RUNNING:
            self._memories.end(meta.uid)  # what led here does not matter to a Pod that runs, perhaps for days
        elif step.status.phase in _DIAGNOSIS_PHASES:
            self._memories.of(meta.uid).diagnosed_at = self._now()
        self._objects.put_task(written)

    async def _stop_pod(self, observed: Observed, step: plan.StopPod) -> None:
        note = _stop_note(observed, step.uid, step.reason)
        note["annotations"][names.ANNOTATION_STOP_TIME] = f"{self._now():%Y-%m-%dT%H:%M:%SZ}"
        body = {"metadata": note, "spec": {"activeDeadlineSeconds": 1}}
        await self._patch_followed(observed.task.metadata.namespace, step.name, body, PatchType.MERGE)

    async def _delete_pod(self, observed: Observed, step: plan.DeletePod) -> None:
        namespace = observed.task.metadata.namespace
        if step.reason:
            body = {"metadata": _stop_note(observed, step.uid, step.reason)}
            await self._patch_pod(namespace, step.name, body, PatchType.MERGE)
        await _await_deletion(
            self._api.delete(PODS, namespace, step.name, uid=step.uid, grace_seconds=step.grace_seconds)
        )

    async def _patch_pod(self, namespace: str, name: str, body: dict[str, Any], patch_type: PatchType) -> Pod:
        try:
            reply = await self._api.patch(PODS, namespace, name, orjson.dumps(body), patch_type)
        except errors.NotFound as error:
            raise CacheBehind from error
        except errors.Invalid as error:
            # A uid that is not the object's is a 422 here, whatever the kind of patch (tests/conformance).
            if "metadata.uid" in error.message:
                raise CacheBehind from error
            raise
        except errors.Conflict as error:
            pod = await self.read_pod(namespace, name)
            if pod is None or pod.metadata.uid != body["metadata"]["uid"]:
                raise CacheBehind from error
            if names.LABEL_TASK_UID not in pod.metadata.labels:
                raise CacheBehind from error  # its label is off since: it is not taken in, and the watch will say so
            raise Outdated from error
        patched = decode_pod(reply)
        self._take_in(patched)
        return patched

    async def _patch_followed(self, namespace: str, name: str, body: dict[str, Any], patch_type: PatchType) -> None:
        """Change a Pod that the watch follows. One that it does not follow any more is changed, and `CacheBehind`.

        The cache would not show the change, and so it would be made again at once, until the watch tells.
        """
        pod = await self._patch_pod(namespace, name, body, patch_type)
        if names.LABEL_TASK_UID not in pod.metadata.labels:
            raise CacheBehind

    async def _confirm_gone(self, task: Task, step: plan.ConfirmGone) -> None:
        pod = await self.read_pod(task.metadata.namespace, step.name)
        if pod is not None and pod.metadata.uid == step.uid:
            self._take_in_ours(task, pod)
            return
        memory = self._memories.of(task.metadata.uid)
        memory.gone_pods |= {step.uid}
        memory.unlabelled_pod = None

    async def _read_live(self, task: Task, step: plan.ReadPod) -> None:
        pod = await self.read_pod(task.metadata.namespace, step.name)
        if pod is None or pod.metadata.uid != step.uid:
            raise CacheBehind
        self._memories.of(task.metadata.uid).live_version = pod.metadata.resource_version

    async def _read_pod_events(self, task: Task, step: plan.ReadPodEvents) -> None:
        """Without them (the right to read them is missing, say) a diagnosis is lost, and nothing else."""
        memory = self._memories.of(task.metadata.uid)
        if not self._event_reads.take():
            # Not its turn. At a random moment later, so that of many who wait not always the same come first.
            before = memory.pod_events.events if memory.pod_events and memory.pod_events.pod_uid == step.uid else ()
            again = clock.later(self._now(), 1 + self._jitter() * _EVENTS_AGAIN_SECONDS)
            memory.pod_events = PodEvents(pod_uid=step.uid, again_at=again, events=before)
            return
        events: tuple[PodEvent, ...] = ()
        try:
            about = f"involvedObject.uid={step.uid}"
            page = await self._api.list_page(
                POD_EVENTS, read=decode_event, namespace=task.metadata.namespace, fields=about, limit=_MOST_EVENTS
            )
            events = tuple(page.items)
        except errors.ApiError as error:
            _log.info("the Events of a Pod cannot be read", extra={"pod": step.name, "error": repr(error)})
        finally:
            self._event_reads.give()
        again = clock.later(self._now(), _EVENTS_AGAIN_SECONDS)
        memory.pod_events = PodEvents(pod_uid=step.uid, again_at=again, events=events)

    async def _read_result_log(self, task: Task, step: plan.ReadResultLog) -> None:
        memory = self._memories.of(task.metadata.uid)
        memory.begin(task.status.attempt_count)
        try:
            content = await self._api.read_log(
                task.metadata.namespace, step.name, names.RESULT_CONTAINER, limit_bytes=_LOG_LIMIT_BYTES
            )
            memory.result_log = ResultLog(pod_uid=step.uid, content=content)
        except (errors.NotFound, errors.Forbidden) as error:
            memory.result_log = ResultLog(pod_uid=step.uid, error=error.message)
        except errors.ApiError:
            memory.log_failures += 1
            raise


def _is_refusal(error: errors.ApiError) -> bool:
    """Tell an answer about this Pod from trouble of the server: a failing webhook is a 500, and is about this Pod."""
    if error.code >= 500:
        return "webhook" in error.message
    return error.code >= 400 and error.code not in {401, 429}


def _stop_note(observed: Observed, uid: str, reason: str) -> dict[str, Any]:
    """Note why a Pod is stopped, on the version that was judged: of a later one, its container may have succeeded."""
    version = next((p.metadata.resource_version for p in observed.pods if p.metadata.uid == uid), None)
    guard = {} if version is None else {"resourceVersion": version}
    return {"uid": uid, "annotations": {names.ANNOTATION_STOP: reason}, **guard}


def _refusal(before: Refusal | None, attempt: int, code: int, reason: str, message: str, at: datetime) -> Refusal:
    count = before.count + 1 if before is not None and before.attempt == attempt else 1
    return Refusal(attempt=attempt, code=code, reason=reason, message=message, at=at, count=count)


def _relabelled(before: Relabelled | None, uid: str, at: datetime) -> Relabelled:
    """Count once more; a time long ago is another story."""
    counts = before is not None and before.pod_uid == uid and clock.later(before.at, _RELABELLING_COUNTS_SECONDS) > at
    return Relabelled(pod_uid=uid, at=at, count=before.count + 1 if before is not None and counts else 1)


async def _await_deletion(request: Awaitable[None]) -> None:
    try:
        await request
    except (errors.NotFound, errors.Conflict) as error:
        # Gone already, or the name belongs to another object by now.
        raise CacheBehind from error
