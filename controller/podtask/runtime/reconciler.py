"""The reconcile loop of the workers: take a snapshot of one task, decide, apply the plan.

After a plan with actions the next decision follows at once, because the replies are in the cache. After an error, of
the API or of our own code, the key is queued again with backoff and the error is logged with the task's name: one
object that causes errors never stops the others.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from ..core import identity, plan
from ..core.decide import decide, decide_orphans
from ..core.pod import Pod
from ..core.settings import Settings
from ..core.snapshot import Task, TaskSnapshot, TaskStatus
from ..kube import errors
from .apply import Applier, Requeue, StaleCache
from .pod_slots import PodSlots
from .queue import ShutDown, WorkQueue
from .task_facts import TaskFacts

_log = logging.getLogger(__name__)

_MAX_ITERATIONS = 8

_MIN_WAKE_SECONDS = 0.05
"""Shortest delay before a key is queued again: a plan that has no actions and is due at once would block the event
loop, and the watch event that it waits for would never be read."""

_PASSES_BEFORE_WARNING = 3
"""After that many reconciles in a row with `TooManyIterations` a warning is logged. One or two may be due to
concurrent changes by others."""


class TooManyIterations(Exception):
    """No fixed point after `_MAX_ITERATIONS` decisions: the key is queued again with backoff, behind other keys."""

    def __init__(self, decided: plan.Plan) -> None:
        """`decided` is the last plan; its actions are the message."""
        super().__init__(", ".join(type(action).__name__ for action in decided.actions))


class CacheReader(Protocol):
    """The part of the cache (`cluster.Cluster`) that a snapshot is taken from."""

    def task(self, key: str) -> Task | None:
        """Return the task of this key (`identity.task_key`); None if it is not in the cache."""
        ...

    def is_in_other_namespace(self, key: str) -> bool:
        """Return whether the task with the key's uid exists in another namespace than the key's."""
        ...

    def pods_of(self, key: str) -> tuple[Pod, ...]:
        """Return the Pods of the task's namespace that have its uid as label."""
        ...


class Recorder(Protocol):
    """Records Kubernetes Events, and never fails."""

    def record(self, task: Task, event: plan.Event) -> None:
        """Record an Event about a task."""
        ...


class ReconcileMetrics(Protocol):
    """Receives what the reconciler has done, for the metrics."""

    def reconciled(self, outcome: str, seconds: float) -> None:
        """A reconcile has ended; `outcome` is done, retry or error."""
        ...

    def too_many_iterations(self) -> None:
        """A reconcile has reached its limit of iterations."""
        ...

    def pod_created(self, uid: str) -> None:
        """A Pod of this task was created."""
        ...

    def status_written(self, task: Task, status: TaskStatus) -> None:
        """`status` was written; `task` is the task before the write."""
        ...


class Reconciler:
    """Reconciles one task at a time."""

    def __init__(
        self,
        *,
        cache: CacheReader,
        applier: Applier,
        task_facts: TaskFacts,
        slots: PodSlots,
        queue: WorkQueue[str],
        recorder: Recorder,
        settings: Settings,
        now: Callable[[], datetime],
        reads_live: Callable[[], bool],
        metrics: ReconcileMetrics | None = None,
    ) -> None:
        """`reads_live` returns whether a PodTask has to be read from the API server before its Pod is created."""
        self._cache = cache
        self._applier = applier
        self._task_facts = task_facts
        self._slots = slots
        self._queue = queue
        self._recorder = recorder
        self._settings = settings
        self._now = now
        self._reads_live = reads_live
        self._metrics = metrics

    async def work(self) -> None:
        """Reconcile the keys of the queue until it is shut down."""
        while True:
            try:
                key = await self._queue.get()
            except ShutDown:
                return
            started_at = time.perf_counter()
            outcome = "error"
            try:
                await self.reconcile(key)
                self._queue.forget(key)
                outcome = "done"
            except StaleCache:
                self._queue.add_rate_limited(key)
                outcome = "retry"
            except TooManyIterations as error:
                self._report_unfinished(key, error, self._queue.add_rate_limited(key))
                outcome = "retry"
            except errors.NotLeader:
                # The Lease may be renewed before the key is due; otherwise all workers are about to end.
                self._queue.add_rate_limited(key)
                outcome = "retry"
            except errors.ApiError as error:
                delay = self._queue.add_rate_limited(key)
                _log.warning(
                    "task request failed",
                    extra={**self._log_fields_of(key), "error": repr(error), "retry_seconds": round(delay, 2)},
                )
            except Exception:  # noqa: BLE001 - one object that causes errors must not stop the others
                delay = self._queue.add_rate_limited(key)
                _log.exception(
                    "task reconcile failed",
                    extra={**self._log_fields_of(key), "retry_seconds": round(delay, 2)},
                )
            finally:
                self._queue.done(key)
                if self._metrics is not None:
                    self._metrics.reconciled(outcome, time.perf_counter() - started_at)

    async def reconcile(self, key: str) -> None:
        """Reconcile one task. Raises `ApiError`, `StaleCache` or `TooManyIterations`."""
        decided = plan.Plan()
        for _ in range(_MAX_ITERATIONS):
            self._queue.discard_pending(key)
            snapshot = self._take_snapshot(key)
            if snapshot is None:
                await self._release_orphans(key)
                return
            decided = decide(snapshot, self._now(), self._settings)
            # Before the first await, so that no other worker reserves the same slot.
            self._slots.update(snapshot.task, decided)
            if not decided.actions:
                self._wake(key, decided)
                return
            try:
                await self._apply(snapshot, decided)
            except Requeue:
                continue
            if any(isinstance(action, plan.DeletePod | plan.DeleteTask) for action in decided.actions):
                # The reply to a DELETE is not put into the cache; the watch reports the deletion and queues this key.
                self._wake(key, decided)
                return
        raise TooManyIterations(decided)

    def _report_unfinished(self, key: str, error: TooManyIterations, delay: float) -> None:
        """Count the reconcile, and log a warning if it is one of several in a row: the task may be in a loop."""
        if self._metrics is not None:
            self._metrics.too_many_iterations()
        passes = self._queue.num_requeues(key)
        if passes >= _PASSES_BEFORE_WARNING:
            fields = {"planned": str(error), "passes": passes, "retry_seconds": round(delay, 2)}
            _log.warning("task has more actions after each reconcile", extra={**self._log_fields_of(key), **fields})

    def _take_snapshot(self, key: str) -> TaskSnapshot | None:
        task = self._cache.task(key)
        if task is None:
            return None
        uid = task.metadata.uid
        if task.status.phase_is_terminal:
            self._task_facts.reset(uid)
        facts = self._task_facts.get(uid)
        facts.begin_attempt(task.status.attempt_count)
        return TaskSnapshot(
            task=task,
            pods=self._cache.pods_of(key),
            create_error=facts.create_error,
            conflicting_pod=facts.conflicting_pod,
            conflicting_task=self._owner_of(facts.conflicting_pod),
            gone_pods=facts.gone_pods,
            unlabelled_pod=facts.unlabelled_pod,
            lost_pod=facts.lost_pod,
            relabelled=facts.relabelled,
            live_version=facts.live_version,
            pod_events=facts.pod_events,
            result_log=facts.result_log,
            log_failures=facts.log_failures,
            result_refused=facts.result_refused,
            diagnosed_at=facts.diagnosed_at,
            unknown_create_deadline=facts.unknown_create_deadline,
            slots_used=self._slots.used(task),
        )

    def _owner_of(self, pod: Pod | None) -> Task | None:
        key = pod.task_key if pod is not None else None
        return self._cache.task(key) if key is not None else None

    async def _apply(self, snapshot: TaskSnapshot, decided: plan.Plan) -> None:
        for action in decided.actions:
            if isinstance(action, plan.CreatePod) and self._reads_live():
                await self._check_live(snapshot.task)
            await self._applier.apply(snapshot, action)
            if isinstance(action, plan.CreatePod):
                self._note_created(snapshot.task.metadata.uid)
            if isinstance(action, plan.WriteStatus):
                self._report(snapshot.task, action)
        for event in decided.events:
            self._recorder.record(snapshot.task, event)

    def _note_created(self, uid: str) -> None:
        if self._metrics is not None and self._task_facts.get(uid).create_error is None:
            self._metrics.pod_created(uid)

    async def _check_live(self, task: Task) -> None:
        """Read the task and its last Pod from the API server before a Pod is created. Raises `Requeue` or `StaleCache`.

        After a takeover the cache may lag behind the writes of the last leader. The task shows whether the attempt is
        still due. The Pod of the previous attempt must have ended: the status that records that attempt may be in the
        cache before the Pod is, and its other containers may still run.
        """
        meta = task.metadata
        live = await self._applier.read_task(meta.namespace, meta.name)
        if live is None or live.metadata.uid != meta.uid:
            raise StaleCache
        if live.metadata.resource_version != meta.resource_version:
            raise Requeue
        last = task.status.attempts[-1] if task.status.attempts else None
        if last is None:
            return
        pod = await self._applier.read_pod(meta.namespace, last.pod_name)
        if pod is not None and pod.metadata.uid == last.pod_uid and not pod.is_terminal:
            if pod.task_key != task.key or pod.attempt != last.number:
                # The watch does not report this Pod, so the next decision gets it here and restores its labels.
                self._task_facts.get_or_create(meta.uid).unlabelled_pod = pod
            raise Requeue

    async def _release_orphans(self, key: str) -> None:
        """Remove our finalizer from Pods whose task is not in the cache, after a live read showed that it is deleted.

        A Pod with the uid of a task of another namespace is not ours and causes no request. Neither does a Pod whose
        owner is another task that exists: its label was changed, and will be restored.
        """
        namespace, uid = identity.split_task_key(key)
        if self._cache.is_in_other_namespace(key) or self._awaits_unknown_create(key):
            return
        self._slots.release(key)
        self._task_facts.delete(uid)
        held = tuple(
            pod for pod in self._cache.pods_of(key) if pod.has_finalizer and not self._has_another_owner(pod, uid)
        )
        if not held or await self._exists(held[0], uid):
            return
        for action in decide_orphans(held).actions:
            if isinstance(action, plan.RemoveFinalizer):
                await self._applier.release_pod(namespace, action)
        _log.info("task was deleted: finalizer removed from its Pods", extra={"uid": uid, "pods": len(held)})

    def _has_another_owner(self, pod: Pod, uid: str) -> bool:
        owner = next((o.uid for o in pod.metadata.owner_references if o.controller), uid)
        return owner != uid and self._cache.task(identity.task_key(pod.metadata.namespace, owner)) is not None

    def _awaits_unknown_create(self, key: str) -> bool:
        """Return whether a create with an unknown outcome may still be carried out; queue the key for when it ends.

        Until then an existing Pod of that name keeps its finalizer, because it makes that create fail.
        """
        deadline = self._task_facts.get(identity.split_task_key(key)[1]).unknown_create_deadline
        if deadline is None or deadline <= self._now():
            return False
        self._wake(key, plan.Plan(wake_at=deadline))
        return True

    async def _exists(self, pod: Pod, uid: str) -> bool:
        name = pod.task_name
        if not name:
            return False
        live = await self._applier.read_task(pod.metadata.namespace, name)
        return live is not None and live.metadata.uid == uid

    def _wake(self, key: str, decided: plan.Plan) -> None:
        if decided.wake_at is not None:
            wait = (decided.wake_at - self._now()).total_seconds()
            self._queue.add_after(key, max(_MIN_WAKE_SECONDS, wait))

    def _report(self, task: Task, action: plan.WriteStatus) -> None:
        """Report a written status to the metrics; log the end of an attempt or task (INFO) and a new phase (DEBUG)."""
        status = action.status
        if self._metrics is not None:
            self._metrics.status_written(task, status)
        before = task.status
        ends = status.phase_is_terminal and not before.phase_is_terminal
        level = logging.INFO if ends or status.attempt_count != before.attempt_count else logging.DEBUG
        if (level == logging.INFO or status.phase != before.phase) and _log.isEnabledFor(level):
            _log.log(
                level,
                "task is %s",
                status.phase,
                extra={
                    **_log_fields(task),
                    "reason": status.reason,
                    "attempts": status.attempt_count,
                    "exit_code": status.exit_code,
                },
            )

    def _log_fields_of(self, key: str) -> dict[str, str]:
        task = self._cache.task(key)
        return _log_fields(task) if task is not None else {"uid": identity.split_task_key(key)[1]}


def _log_fields(task: Task) -> dict[str, str]:
    return {"task": f"{task.metadata.namespace}/{task.metadata.name}", "uid": task.metadata.uid}
