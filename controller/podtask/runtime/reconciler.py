"""observe, decide, apply: the loop that every worker runs, one task at a time.

A plan that did something is followed by another decision at once, because its replies are in the cache. An error of
the API comes back with backoff; an error of ours is logged with the task's name, and comes back with backoff too:
one poisonous object never stops the others.
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
from .queue import Closed, WorkQueue
from .task_facts import TaskFacts

_log = logging.getLogger(__name__)

_DECISIONS_AT_ONCE = 8

_SHORTEST_WAIT_SECONDS = 0.05
"""A plan that has nothing to do and wants to be asked again at once would otherwise hold the loop, and the event that
it waits for would never be heard."""


_UNSETTLED_BEFORE_LOGGED = 3
"""Once may be a busy moment: others change the objects while we work on them."""


class TooManyIterations(Exception):
    """Many decisions in a row, and more to do: come back with a growing pause, so that others get their turn."""

    def __init__(self, decided: plan.Plan) -> None:
        """`decided` is the last plan."""
        super().__init__(", ".join(type(action).__name__ for action in decided.actions))
        self.decided = decided


class Cache(Protocol):
    """The live copy of the cluster, as far as reading concerns it."""

    def task(self, key: str) -> Task | None:
        """Give the task of this key (`identity.task_key`)."""
        ...

    def is_elsewhere(self, key: str) -> bool:
        """Whether the task of this uid lives in another namespace than the key says."""
        ...

    def pods_of(self, key: str) -> tuple[Pod, ...]:
        """Give the Pods in the task's namespace that say they belong to it."""
        ...


class Recorder(Protocol):
    """Takes Kubernetes Events, and never fails."""

    def record(self, task: Task, note: plan.Event) -> None:
        """Record an Event about a task."""
        ...


class Observer(Protocol):
    """Hears of what was done, for the metrics."""

    def reconciled(self, outcome: str, seconds: float) -> None:
        """One pass over one task is over: done, retry or error."""
        ...

    def unsettled(self) -> None:
        """A pass over one task ended with more to do than one pass does."""
        ...

    def pod_created(self, uid: str) -> None:
        """A Pod of this task was created."""
        ...

    def status_written(self, task: Task, status: TaskStatus) -> None:
        """The status of this task, as it was, has become another."""
        ...


class Reconciler:
    """Brings each task to where its spec wants it."""

    def __init__(
        self,
        *,
        cache: Cache,
        applier: Applier,
        task_facts: TaskFacts,
        slots: PodSlots,
        queue: WorkQueue[str],
        recorder: Recorder,
        settings: Settings,
        now: Callable[[], datetime],
        reads_live: Callable[[], bool],
        observer: Observer | None = None,
    ) -> None:
        """`reads_live` says whether a PodTask is to be read live before its Pod is created."""
        self._cache = cache
        self._applier = applier
        self._task_facts = task_facts
        self._slots = slots
        self._queue = queue
        self._recorder = recorder
        self._settings = settings
        self._now = now
        self._reads_live = reads_live
        self._observer = observer

    async def work(self) -> None:
        """Take keys from the queue until it is closed."""
        while True:
            try:
                key = await self._queue.get()
            except Closed:
                return
            begun = time.perf_counter()
            outcome = "error"
            try:
                await self.reconcile(key)
                self._queue.forget(key)
                outcome = "done"
            except StaleCache:
                self._queue.retry(key)
                outcome = "retry"
            except TooManyIterations as unsettled:
                self._note_unsettled(key, unsettled, self._queue.retry(key))
                outcome = "retry"
            except errors.NotLeader:
                self._queue.retry(key)  # where we lead again before it comes round; else all workers are about to end
                outcome = "retry"
            except errors.ApiError as error:
                delay = self._queue.retry(key)
                _log.warning(
                    "request failed", extra={**self._name(key), "error": repr(error), "retry_seconds": round(delay, 2)}
                )
            except Exception:  # noqa: BLE001 - one poisonous object must not stop the others
                delay = self._queue.retry(key)
                _log.exception("reconcile failed", extra={**self._name(key), "retry_seconds": round(delay, 2)})
            finally:
                self._queue.done(key)
                if self._observer is not None:
                    self._observer.reconciled(outcome, time.perf_counter() - begun)

    async def reconcile(self, key: str) -> None:
        """Do everything for one task that can be done now. Raises `ApiError`, `StaleCache` or `TooManyIterations`."""
        decided = plan.Plan()
        for _ in range(_DECISIONS_AT_ONCE):
            self._queue.discard_pending(key)
            snapshot = self._observe(key)
            if snapshot is None:
                await self._release_orphans(key)
                return
            decided = decide(snapshot, self._now(), self._settings)
            # Before the first await, so that no other worker counts the same place as free.
            self._slots.update(snapshot.task, decided)
            if not decided.actions:
                self._wake(key, decided)
                return
            try:
                await self._carry_out(snapshot, decided)
            except Requeue:
                continue
            if any(isinstance(action, plan.DeletePod | plan.DeleteTask) for action in decided.actions):
                # The reply to a DELETE is not kept; the watch tells how it went, and wakes this task.
                self._wake(key, decided)
                return
        raise TooManyIterations(decided)

    def _note_unsettled(self, key: str, unsettled: TooManyIterations, delay: float) -> None:
        """Count every pass without rest, and log those that are one of several in a row: no state may hide there."""
        if self._observer is not None:
            self._observer.unsettled()
        if self._queue.failures(key) >= _UNSETTLED_BEFORE_LOGGED:
            about = {"planned": str(unsettled), "passes": self._queue.failures(key), "retry_seconds": round(delay, 2)}
            _log.warning("a task does not come to rest", extra={**self._name(key), **about})

    def _observe(self, key: str) -> TaskSnapshot | None:
        task = self._cache.task(key)
        if task is None:
            return None
        uid = task.metadata.uid
        if task.status.phase_is_terminal:
            self._task_facts.reset(uid)
        facts = self._task_facts.get(uid)
        facts.begin(task.status.attempt_count)
        return TaskSnapshot(
            task=task,
            pods=self._cache.pods_of(key),
            refusal=facts.refusal,
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
            unknown_create_deadline=facts.in_doubt_until,
            slots_used=self._slots.used(task),
        )

    def _owner_of(self, pod: Pod | None) -> Task | None:
        key = pod.task_key if pod is not None else None
        return self._cache.task(key) if key is not None else None

    async def _carry_out(self, snapshot: TaskSnapshot, decided: plan.Plan) -> None:
        for action in decided.actions:
            if isinstance(action, plan.CreatePod) and self._reads_live():
                await self._check_live(snapshot.task)
            await self._applier.apply(snapshot, action)
            if isinstance(action, plan.CreatePod):
                self._note_created(snapshot.task.metadata.uid)
            if isinstance(action, plan.WriteStatus):
                self._report(snapshot.task, action)
        for note in decided.events:
            self._recorder.record(snapshot.task, note)

    def _note_created(self, uid: str) -> None:
        if self._observer is not None and self._task_facts.get(uid).refusal is None:
            self._observer.pod_created(uid)

    async def _check_live(self, task: Task) -> None:
        """After a takeover the cache may lag behind what the last leader wrote: look before creating a Pod.

        The task tells whether the attempt is still due. Its last Pod tells whether it has ended: what recorded the
        attempt may be known here before the Pod itself is, and its other containers may still run.
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
                # No watch brings it to the next decision, so it is handed over: its labels are to be put back.
                self._task_facts.get_or_create(meta.uid).unlabelled_pod = pod
            raise Requeue

    async def _release_orphans(self, key: str) -> None:
        """Release Pods whose task is not in the cache, once a live read has shown that it does not exist.

        A Pod that names a task of another namespace is not an orphan of ours: it is left alone, without a request.
        So is one whose owner is another task, which exists: its label was changed, and will be put back.
        """
        namespace, uid = identity.split_task_key(key)
        if self._cache.is_elsewhere(key) or self._is_in_doubt(key):
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
        _log.info("released the Pods of a task that is gone", extra={"uid": uid, "pods": len(held)})

    def _has_another_owner(self, pod: Pod, uid: str) -> bool:
        owner = next((o.uid for o in pod.metadata.owner_references if o.controller), uid)
        return owner != uid and self._cache.task(identity.task_key(pod.metadata.namespace, owner)) is not None

    def _is_in_doubt(self, key: str) -> bool:
        """Whether a create of ours may still arrive: the Pod that has its name holds it off, and is kept for that."""
        until = self._task_facts.get(identity.split_task_key(key)[1]).in_doubt_until
        if until is None or until <= self._now():
            return False
        self._wake(key, plan.Plan(wake_at=until))
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
            self._queue.add_after(key, max(_SHORTEST_WAIT_SECONDS, wait))

    def _report(self, task: Task, action: plan.WriteStatus) -> None:
        """Log one line for each attempt's end, and none for what only moves inside one."""
        status = action.status
        if self._observer is not None:
            self._observer.status_written(task, status)
        before = task.status
        ends = status.phase_is_terminal and not before.phase_is_terminal
        level = logging.INFO if ends or status.attempt_count != before.attempt_count else logging.DEBUG
        if (level == logging.INFO or status.phase != before.phase) and _log.isEnabledFor(level):
            _log.log(
                level,
                "task is %s",
                status.phase,
                extra={
                    **_names(task),
                    "reason": status.reason,
                    "attempts": status.attempt_count,
                    "exit_code": status.exit_code,
                },
            )

    def _name(self, key: str) -> dict[str, str]:
        task = self._cache.task(key)
        return _names(task) if task is not None else {"uid": identity.split_task_key(key)[1]}


def _names(task: Task) -> dict[str, str]:
    return {"task": f"{task.metadata.namespace}/{task.metadata.name}", "uid": task.metadata.uid}
