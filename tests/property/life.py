"""The life of a task in the model: its Pods change state, users interfere, and time passes."""

from datetime import datetime, timedelta

import msgspec

from podtask.core import plan, pod
from podtask.core.decide import decide
from podtask.core.pod import Pod
from podtask.core.settings import Settings
from podtask.core.snapshot import Task, TaskSnapshot, TaskStatus
from tests.builders import at
from tests.property.model import Gone, refuse, settle

_replace = msgspec.structs.replace
SETTINGS = Settings()

ENDS = ("ok", "fail", "oom", "ignored", "skipped", "evicted", "node-lost", "init-failed", "never-started")
EVENTS = (
    "schedule",
    "run",
    "end",
    "pod-end",
    "wait",
    "wait",
    "long-wait",
    "cancel",
    "suspend",
    "resume",
    "delete-pod",
    "refuse",
    "strip",
    "unlabel",
    "unlabel",
    "delete-task",
    "edit",
    "stop-lost",
    "forget",
)
_MAIN = "base"


class Life:
    """One task, its Pods and its clock."""

    def __init__(self, task: Task, ends: list[str]) -> None:
        self.snapshot = TaskSnapshot(task=task)
        self.ends = ends
        self.now = at(1)
        self.is_deleted = False
        self.refusing = 0
        self.losing_stops = 0
        self.unseen: tuple[Pod, ...] = ()
        """Pods without our labels, which the watch does not report."""

    # ---- the controller ----

    def reconcile(self) -> None:
        """Decide and apply until the plan has no actions, as the reconciler does."""
        for _ in range(20):
            if self.is_deleted:
                return
            before = self.snapshot
            decided = decide(before, self.now, SETTINGS)
            if not decided.actions:
                self.wake_at = decided.wake_at
                assert decided.wake_at is None or decided.wake_at > self.now
                return
            self._carry_out(decided)
            self._check(before)
        raise AssertionError(f"hot loop: {decided}")

    def _carry_out(self, decided: plan.Plan) -> None:
        for action in decided.actions:
            if isinstance(action, plan.CreatePod) and self.refusing:
                self.refusing -= 1
                self.snapshot = refuse(self.snapshot, action, 403, "exceeded quota: q", self.now)
                continue
            if isinstance(action, plan.DeletePod) and action.reason and self.losing_stops:
                # The process ends between the note on the Pod and the DELETE.
                self.losing_stops -= 1
                self.snapshot = _each(self.snapshot, lambda p, s=action: _noted(p, s))  # type: ignore[misc]
                return
            if self._meets_unseen(action):
                continue
            try:
                self.snapshot = settle(self.snapshot, plan.Plan(actions=(action,)), self.now)
            except Gone:
                self.is_deleted = True
                return

    def _meets_unseen(self, action: plan.Action) -> bool:
        """Apply an action to a Pod that the watch does not report, if it is about one."""
        name, uid = getattr(action, "name", ""), getattr(action, "uid", None)
        found = next((p for p in self.unseen if p.metadata.name == name and uid in {None, p.metadata.uid}), None)
        if found is None:
            return False
        match action:
            case plan.CreatePod() | plan.VerifyDeleted():
                self.snapshot = _replace(self.snapshot, unlabelled_pod=found)
            case plan.RestoreLabels():
                self.unseen = tuple(p for p in self.unseen if p is not found)
                self.snapshot = _replace(self.snapshot, unlabelled_pod=found)
                self.snapshot = settle(self.snapshot, plan.Plan(actions=(action,)), self.now)
            case _:
                raise AssertionError(f"about a Pod that is not seen: {action}")
        return True

    def _unlabel(self) -> None:
        """Remove the labels of every Pod: the watch reports them as deleted."""
        bare = (_replace(p, metadata=_replace(p.metadata, labels={})) for p in self.snapshot.pods)
        self.unseen, self.snapshot = (*self.unseen, *bare), _replace(self.snapshot, pods=())

    def _check(self, before: TaskSnapshot) -> None:
        old, new = before.task.status, self.snapshot.task.status
        if old.phase_is_terminal:
            assert _without_generations(new) == _without_generations(old)
        assert new.attempt_count >= old.attempt_count
        assert new.failure_count >= old.failure_count
        assert new.disruption_count >= old.disruption_count
        assert len([p for p in self.snapshot.pods if not p.is_terminal]) <= 1

    # ---- the cluster and people ----

    def happen(self, event: str) -> None:
        """Apply an event to the task or its newest Pod."""
        self.now += timedelta(seconds=1)
        task = self.snapshot.task
        match event:
            case "wait":
                self.now += timedelta(seconds=10)
            case "long-wait":
                self.now += timedelta(seconds=300)
            case "cancel":
                self._edit(cancel=True)
            case "suspend" | "resume":
                self._edit(suspend=event == "suspend")
            case "edit":
                self._edit(pod_retention="Keep")
            case "delete-task":
                self.snapshot = _replace(
                    self.snapshot, task=_replace(task, metadata=_replace(task.metadata, deletion_timestamp=self.now))
                )
            case "refuse":
                self.refusing = 2
            case "stop-lost":
                self.losing_stops = 1
            case "forget" | "unlabel":
                (self._forget if event == "forget" else self._unlabel)()
            case _:
                self.snapshot = _each(self.snapshot, lambda p: self._befall(p, event))

    def _forget(self) -> None:
        self.snapshot = TaskSnapshot(task=self.snapshot.task, pods=self.snapshot.pods)

    def _edit(self, **fields: object) -> None:
        task = self.snapshot.task
        if task.spec.cancel and "cancel" in fields:
            return
        meta = _replace(task.metadata, generation=task.metadata.generation + 1)
        self.snapshot = _replace(self.snapshot, task=_replace(task, spec=_replace(task.spec, **fields), metadata=meta))

    def _befall(self, found: Pod, event: str) -> Pod | None:
        """Advance a Pod by one state. A Pod that has ended stays as it is."""
        if event == "strip":
            return _replace(found, metadata=_replace(found.metadata, finalizers=()))
        if event == "delete-pod":
            return _delete(found, self.now)
        if found.is_terminal:
            return found
        if event == "schedule" and not found.spec.node_name:
            return _schedule(found, self.now)
        if event == "run" and found.spec.node_name and not found.status.container_statuses:
            return _run(found, self.now)
        if event == "end":
            return self._end(found)
        if event == "pod-end" and _main_ended(found):
            return _finish(found, self._kind(found))
        return found

    def _kind(self, found: Pod) -> str:
        return self.ends[found.attempt - 1] if found.attempt <= len(self.ends) else "ok"

    def _end(self, found: Pod) -> Pod:
        kind = self._kind(found)
        stopping = found.is_stopping
        if stopping and not _main_ended(found):
            return _die_of_stop(found, self.now)
        if not _main_ran(found):
            early = {"init-failed": "Failed", "never-started": "Failed", "evicted": "Failed", "node-lost": "Failed"}
            if found.spec.node_name and kind in early:
                return _finish(found, kind, self.now)
            return found
        if _main_ended(found):
            return found
        code = {"ok": 0, "fail": 1, "oom": 0, "ignored": 42, "skipped": 2}.get(kind)
        if code is None:
            return _finish(found, kind, self.now)
        return _end_main(found, code, "OOMKilled" if kind == "oom" else "", self.now)

    # ---- to the end ----

    def run_out(self, looks: int = 1, *, only_ends: bool = False) -> None:
        """Run until the task has finished, skipping waits. Users no longer interfere."""
        self.refusing = self.losing_stops = 0
        for _ in range(400):
            for _ in range(looks):
                self.reconcile()
            if self._is_over():
                return
            if self.snapshot.task.spec.suspend:
                self._edit(suspend=False)
                continue
            before = self.snapshot
            for event in ("schedule", "run", "end", "pod-end"):
                self.now += timedelta(seconds=1)
                self.snapshot = _each(self.snapshot, lambda p, e=event: self._befall(p, e))  # type: ignore[misc]
                for _ in range(0 if only_ends else looks):
                    self.reconcile()
            self._collect_garbage()
            if self.snapshot == before and not self._is_over():
                assert self.wake_at is not None, "a lost wake-up: nothing happens any more, and no time is set"
                self.now = max(self.now, self.wake_at)
        raise AssertionError(f"no end: {self.snapshot}")

    def _is_over(self) -> bool:
        task = self.snapshot.task
        if self.is_deleted or task.metadata.deletion_timestamp is not None:
            self.is_deleted = True
            return True
        settled = all(p.is_terminal and not p.has_finalizer for p in self.snapshot.pods)
        return task.status.phase_is_terminal and settled

    def _collect_garbage(self) -> None:
        self.snapshot = _each(self.snapshot, lambda p: None if _is_gone(p) else p)

    def final_state(self) -> tuple[object, ...]:
        """Return what must not depend on how often the task was reconciled."""
        status = self.snapshot.task.status
        ended = tuple((a.number, a.outcome, a.reason, a.exit_code) for a in status.attempts)
        return (
            status.phase,
            status.reason,
            status.exit_code,
            status.attempt_count,
            status.failure_count,
            status.disruption_count,
            ended,
        )


def _each(snapshot: TaskSnapshot, change) -> TaskSnapshot:  # type: ignore[no-untyped-def]
    changed = (change(found) for found in snapshot.pods)
    return _replace(snapshot, pods=tuple(found for found in changed if found is not None))


def _noted(found: Pod, action: plan.DeletePod) -> Pod:
    if found.metadata.uid != action.uid:
        return found
    annotations = {**found.metadata.annotations, "podtask.dev/stop-reason": action.reason}
    return _replace(found, metadata=_replace(found.metadata, annotations=annotations))


def _is_gone(found: Pod) -> bool:
    return found.metadata.deletion_timestamp is not None and found.is_terminal and not found.metadata.finalizers


def _delete(found: Pod, now: datetime) -> Pod:
    if found.metadata.deletion_timestamp is not None:
        return found
    grace = 30 if found.spec.node_name and not found.is_terminal else 0
    meta = _replace(
        found.metadata, deletion_timestamp=now + timedelta(seconds=grace), deletion_grace_period_seconds=grace
    )
    return _replace(found, metadata=meta)


def _schedule(found: Pod, now: datetime) -> Pod:
    condition = pod.Condition(type="PodScheduled", status="True", last_transition_time=now)
    return _replace(
        found,
        spec=_replace(found.spec, node_name="node"),
        status=_replace(found.status, conditions=(condition,), start_time=now),
    )


def _main(state: pod.ContainerState) -> tuple[pod.ContainerStatus, ...]:
    return (pod.ContainerStatus(name=_MAIN, state=state),)


def _run(found: Pod, now: datetime) -> Pod:
    running = pod.ContainerState(running=pod.Running(started_at=now))
    return _replace(found, status=_replace(found.status, phase="Running", container_statuses=_main(running)))


def _main_ran(found: Pod) -> bool:
    return bool(found.status.container_statuses)


def _main_ended(found: Pod) -> bool:
    return any(s.state.terminated for s in found.status.container_statuses)


def _end_main(found: Pod, code: int, reason: str, now: datetime) -> Pod:
    running = found.status.container_statuses[0].state.running
    started = running.started_at if running else None
    ended = pod.Terminated(exit_code=code, reason=reason, started_at=started, finished_at=now)
    statuses = _main(pod.ContainerState(terminated=ended))
    return _replace(found, status=_replace(found.status, container_statuses=statuses))


def _die_of_stop(found: Pod, now: datetime) -> Pod:
    if _main_ran(found):
        found = _end_main(found, 143, "Error", now)
    reason = "DeadlineExceeded" if found.spec.active_deadline_seconds == 1 else ""
    return _replace(found, status=_replace(found.status, phase="Failed", reason=reason))


def _finish(found: Pod, kind: str, now: datetime | None = None) -> Pod:
    """End the whole Pod, with exit codes and reasons of the given kind."""
    status = found.status
    if now is not None and _main_ran(found):
        status = _end_main(found, 137, "Error", now).status
    reason, conditions, inits = "", status.conditions, status.init_container_statuses
    if kind == "evicted":
        reason = "Evicted"
    elif kind == "node-lost":
        conditions = (*conditions, pod.Condition(type="DisruptionTarget", status="True", reason="DeletionByPodGC"))
    elif kind == "never-started" and now is not None:
        reason = "OutOfcpu"
    elif kind == "init-failed" and now is not None and not _main_ran(found):
        failed = pod.ContainerState(terminated=pod.Terminated(exit_code=1, reason="Error", finished_at=now))
        inits = (pod.ContainerStatus(name="prepare", state=failed),)
    phase = "Succeeded" if kind == "ok" else "Failed"
    if found.is_stopping and found.spec.active_deadline_seconds == 1:
        phase, reason = "Failed", "DeadlineExceeded"
    return _replace(
        found,
        status=_replace(status, phase=phase, reason=reason, conditions=conditions, init_container_statuses=inits),
    )


def _without_generations(status: TaskStatus) -> TaskStatus:
    conditions = tuple(_replace(c, observed_generation=None, message="") for c in status.conditions)
    return _replace(status, observed_generation=0, conditions=conditions)
