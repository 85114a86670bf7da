"""What must hold in every life, whatever goes wrong: looked at after each write, and once more at the end.

Each law names what breaks it in one sentence, which becomes the headline of a failing seed.
"""

from collections.abc import Callable
from typing import Any

from podtask.api import names
from podtask.api.v1alpha1.values import TERMINAL

from . import attacker
from .etcd import Change, Etcd, Object
from .truth import Run, Truth

_COUNTERS = ("attemptCount", "failureCount", "disruptionCount")
_HOT_SECONDS = 5.0
_HOT_REQUESTS = 40
_IN_FLIGHT_SECONDS = 6.0
"""From the live read before a create to the sending of the create, at most."""
_UNKNOWN_SECONDS = 25.0
"""So long a create of a controller that died meanwhile may be on its way and not be heard of by the next, at most."""


class Laws:
    """Judges every write of one life."""

    def __init__(self, etcd: Etcd, truth: Truth) -> None:
        self._etcd = etcd
        self._truth = truth
        self.broken: list[str] = []
        self.requests = 0
        self.running_pods_limit: int | None = None
        self.sender: Callable[[], str] = lambda: ""
        """Which controller sent the request that is carried out; empty where no controller did."""
        self._recent: dict[tuple[str, str, str], tuple[float, int]] = {}
        self._over: dict[str, float] = {}
        """When each task became terminal, by uid."""
        self._recorded: dict[tuple[str, int], float] = {}
        """When the end of each attempt was recorded."""

    def breach(self, sentence: str) -> None:
        """Note a broken law."""
        self.broken.append(sentence)

    def count(self, who: str, verb: str, what: str, now: float) -> None:
        """Note a request; the same one over and over is a program that runs hot."""
        self.requests += 1
        key = (who, verb, what.partition(" ")[0])
        begin, count = self._recent.get(key, (now, 0))
        if now - begin > _HOT_SECONDS:
            begin, count = now, 0
        self._recent[key] = (begin, count + 1)
        if count + 1 == _HOT_REQUESTS:
            self.breach(f"{who} sent {verb} {key[2]} {_HOT_REQUESTS} times in {_HOT_SECONDS:g} s")

    def judge(self, change: Change) -> None:
        """Look at one write."""
        if change.key[0] == "podtasks":
            self._judge_task(change)
        else:
            self._judge_pod(change)

    # ---- PodTasks ----

    def _judge_task(self, change: Change) -> None:
        if change.before is None or change.after is None:
            return
        before, after = change.before.get("status", {}), change.after.get("status", {})
        if before is after:
            return
        old, new = before.get("phase"), after.get("phase")
        uid = change.after["metadata"]["uid"]
        if new in TERMINAL:
            self._over.setdefault(uid, change.at)
        self._recorded.setdefault((uid, after.get("attemptCount", 0)), change.at)
        if old in TERMINAL and new != old:
            self.breach(f"a terminal phase changed from {old} to {new}")
        for name in _COUNTERS:
            if after.get(name, 0) < before.get(name, 0):
                self.breach(f"{name} fell from {before.get(name)} to {after.get(name)}")
        if after.get("attemptCount", 0) > before.get("attemptCount", 0) + 1:
            self.breach("two attempts were counted in one write")

    # ---- Pods ----

    def _judge_pod(self, change: Change) -> None:
        pod = change.after or change.before
        assert pod is not None
        if self._truth.runs[pod["metadata"]["uid"]].is_foreign:
            self._judge_foreign(change)
            return
        if change.before is None:
            self._judge_birth(pod)
        released = _held(change.before) and not _held(change.after)
        if released and not self._may_release(pod):
            self.breach(f"Pod {change.key[2]} was let go before its outcome was recorded")
        if change.after is None and change.before is not None and not _held(change.before):
            self._judge_end(change.before)

    def _judge_birth(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        run = self._truth.runs[uid]
        others = [
            other
            for other in self._etcd.scan("pods")
            if self._truth.runs[other["metadata"]["uid"]].task_uid == run.task_uid
            and other["metadata"]["uid"] != uid
            and _is_live(other)
            and not self._is_out_of_sight(self._truth.runs[other["metadata"]["uid"]])
        ]
        run.overtaken = self._is_overtaken(run)
        if run.overtaken or any(self._truth.runs[other["metadata"]["uid"]].overtaken for other in others):
            return
        if others:
            self.breach(f"two live Pods: {pod['metadata']['name']} beside {others[0]['metadata']['name']}")
        if run.task_uid in self._over and not self._is_name_free(run):
            self.breach(f"Pod {pod['metadata']['name']} was created for a task that was over")
        self._judge_places(run, pod["metadata"]["namespace"])

    def _is_out_of_sight(self, run: Run) -> bool:
        """Whether a user hid a Pod whose attempt is recorded and whose main container is over: others may still run."""
        return run.unmarked and run.ended_at is not None and (run.task_uid, run.attempt) in self._recorded

    def _is_name_free(self, born: Run) -> bool:
        """Whether a user deleted the attempt's finished Pod, whose name would have held off a late create."""
        same = [run for run in self._truth.of(born.task_uid) if run is not born and run.attempt == born.attempt]
        return any("user-delete" in run.disrupted and run.sent_by != born.sent_by for run in same)

    def _judge_foreign(self, change: Change) -> None:
        """A controller stops nothing in a namespace that has none of its tasks; a release is harmless."""
        if not self.sender() or change.key[1] != attacker.NAMESPACE or change.after is None:
            return
        after = change.after
        stopped = "deletionTimestamp" in after["metadata"] or "activeDeadlineSeconds" in after["spec"]
        if stopped and change.before is not None and change.before["spec"] == after["spec"]:
            stopped = "deletionTimestamp" not in change.before["metadata"]
        if stopped:
            self.breach(f"foreign Pod {change.key[1]}/{change.key[2]} was stopped")

    def _judge_places(self, born: Run, namespace: str) -> None:
        """No more Pods at once than the platform allows, as far as the one controller there is could know."""
        pods = [pod for pod in self._etcd.scan("pods", namespace) if _is_live(pod)]
        runs = [self._truth.runs[pod["metadata"]["uid"]] for pod in pods]
        known = [run for run in runs if not (run.is_foreign or self._is_unknown(run, born))]
        if self.running_pods_limit is not None and len(known) > self.running_pods_limit:
            self.breach(f"{len(known)} Pods live, the limit is {self.running_pods_limit}: {[r.name for r in known]}")

    def _is_unknown(self, run: Run, born: Run) -> bool:
        """Whether a Pod may have been on its way unknown: by a controller that died, or of a task called off since."""
        truth = self._truth
        is_called_off = run.task_uid in {*truth.cancels, *truth.suspends, *truth.deletes}
        is_a_legacy = run.sent_by != born.sent_by and run.created_at >= born.sent_at - _UNKNOWN_SECONDS
        return run.overtaken or run.stripped or run.unmarked or is_called_off or is_a_legacy

    def _is_overtaken(self, run: Run) -> bool:
        """A create may be on its way while its attempt ends elsewhere; no client of Kubernetes can call it back.

        The controller has to stop what it made. It is another matter where the end could be known before sending.
        """
        ends = (self._recorded.get((run.task_uid, run.attempt)), self._over.get(run.task_uid))
        return any(at is not None and at >= run.sent_at - _IN_FLIGHT_SECONDS for at in ends)

    def _judge_end(self, pod: Object) -> None:
        meta = pod["metadata"]
        if not self._truth.runs[meta["uid"]].stripped and not self._may_release(pod):
            self.breach(f"Pod {meta['name']} vanished before its outcome was recorded")

    def _may_release(self, pod: Object) -> bool:
        run = self._truth.runs[pod["metadata"]["uid"]]
        task = next((task for task in self._etcd.scan("podtasks") if task["metadata"]["uid"] == run.task_uid), None)
        if task is None or "deletionTimestamp" in task["metadata"] or run.stripped:
            return True
        status = task.get("status", {})
        return bool(status.get("attemptCount", 0) >= run.attempt or status.get("phase") in TERMINAL)


class Watcher:
    """Looks at the machines rather than at the API: which main containers run at one moment."""

    def __init__(self, truth: Truth, laws: Laws) -> None:
        self._truth = truth
        self._laws = laws

    def judge(self, run: Run) -> None:
        """A main container is about to run."""
        if run.is_foreign:
            return
        same = [other for other in self._truth.of(run.task_uid) if other is not run]
        beside = next((other for other in same if other.runs), None)
        # A node that is silent may begin or go on with what was given up by force.
        if beside is not None and not any(r.forced or r.overtaken for r in (beside, run)):
            self._laws.breach(f"{run.name} began to run while {beside.name} ran")
        again = next((o for o in same if o.attempt == run.attempt and o.started_at is not None), None)
        if again is None or again.forced or run.forced:
            return
        if not (run.overtaken or self._was_let_go_by_another(again, run)):
            self._laws.breach(f"attempt {run.attempt} ran twice")

    def _was_let_go_by_another(self, first: Run, second: Run) -> bool:
        """Whether the task was deleted with a create on its way that its first Pod's controller could not know of."""
        deleted_at = self._truth.deletes.get(second.task_uid)
        was_under_way = deleted_at is not None and second.sent_at <= deleted_at + _IN_FLIGHT_SECONDS
        return was_under_way and first.released_by != second.sent_by


def _held(pod: Object | None) -> bool:
    return pod is not None and names.FINALIZER in pod["metadata"].get("finalizers", [])


def _is_live(pod: dict[str, Any]) -> bool:
    meta = pod["metadata"]
    if pod["status"].get("phase") in {"Succeeded", "Failed"}:
        return False
    going = "deletionTimestamp" in meta
    return not (going and (not pod["spec"].get("nodeName") or not meta["deletionGracePeriodSeconds"]))
