"""The rest of the cluster: kubelets for all Pods, disasters, the garbage collector, and containers' logs."""

import asyncio
import random
from collections.abc import Callable

from podtask.api import names
from podtask.kube import errors
from podtask.kube.client import PODS
from podtask.runtime.decode import PODTASKS

from . import attacker, fate
from .conditions import mark
from .etcd import Change, Key, Object
from .fate import Habits
from .kubelet import PodLife
from .model import Server
from .truth import Run, Truth

_TAINT_SECONDS = 20.0
"""From a node's silence to the deletion of its Pods (300 s by default; shorter, so that more happens in a life)."""


class Nodes:
    """Gives every Pod a machine and a fate."""

    def __init__(
        self,
        server: Server,
        truth: Truth,
        rng: random.Random,
        habits: Callable[[str], Habits],
        until: float,
        on_start: Callable[[Run], None],
    ) -> None:
        self._server = server
        self._truth = truth
        self._rng = rng
        self._habits = habits
        self._until = until
        self._on_start = on_start
        self._loop = asyncio.get_running_loop()
        self.lives: dict[str, PodLife] = {}
        server.etcd.observers.append(self._changed)
        server.admit = self._admit

    def read(self, namespace: str, pod: str, container: str) -> bytes:
        """See `client.Logs.read`."""
        found = self._server.find(PODS, namespace, pod)
        if found is None:
            raise errors.NotFound(f'pods "{pod}" not found', reason="NotFound")
        life = self.lives[found["metadata"]["uid"]]
        if life.silent:
            raise errors.ServerError("dial tcp: i/o timeout", reason="InternalError", code=500)
        if life.fate.log_lost:
            life.run.log_lost = True
            return b""
        return life.log

    def note_failure(self, namespace: str, pod: str) -> None:
        """See `client.Logs.note_failure`."""
        found = self._server.find(PODS, namespace, pod)
        if found is not None:
            self._truth.runs[found["metadata"]["uid"]].log_failures += 1

    def _admit(self, plural: str, obj: Object) -> None:
        if not self._server.sender:
            return
        habits = self._habits(obj["metadata"].get("labels", {}).get(names.LABEL_TASK_UID, ""))
        name = obj["metadata"]["name"]
        if plural == "pods" and habits.denied:
            text = f'pods "{name}" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
            raise errors.Forbidden(text, reason="Forbidden")
        if plural == "pods" and self._server.now() < habits.quota_until:
            raise errors.Forbidden(
                f'pods "{name}" is forbidden: exceeded quota: q, requested: pods=1', reason="Forbidden"
            )

    def _changed(self, change: Change) -> None:
        if change.key[0] == "podtasks":
            if change.after is None and change.before is not None:
                self._loop.call_later(
                    self._rng.uniform(0.05, 2), self._collect, change.key[1], change.before["metadata"]["uid"]
                )
                return
            if change.after is not None and "deletionTimestamp" in change.after["metadata"]:
                self._loop.call_later(self._rng.uniform(0.05, 2), self._propagate, change.key)
            return
        if change.before is None and change.after is not None:
            self._born(change.key, change.after)
            return
        uid = (change.after or change.before or {})["metadata"]["uid"]
        run = self._truth.runs[uid]
        if change.after is None:
            run.gone_at = change.at
        else:
            if _owner(change.before or {"metadata": {}}) != _owner(change.after):
                self._look_for_owner(change.key[1], change.after)
            _note_stop(run, change.after, change.at)
            if _is_held(change.before) and not _is_held(change.after):
                run.released_by = self._server.sender
            run.deleted_for_good |= change.after["metadata"].get("deletionGracePeriodSeconds") == 0
            # A grace of nothing, be it asked for or the Pod's own: the API then says nothing about the machine.
            run.forced = run.forced or (_is_forced(change.after) and not _is_forced(change.before))
        if not self.lives[uid].over:
            self.lives[uid].notice(change.after)

    def _born(self, key: Key, pod: Object) -> None:
        meta = pod["metadata"]
        labels = meta.get("labels", {})
        foreign = not self._server.sender
        task_uid = "" if foreign else labels[names.LABEL_TASK_UID]
        number = 0 if foreign else int(labels[names.LABEL_ATTEMPT])
        run = Run(meta["uid"], meta["name"], task_uid, number, self._server.now(), foreign)
        run.sent_at, run.sent_by = self._server.sent_at, self._server.sender
        self._truth.runs[run.uid] = run
        habits = attacker.HABITS if foreign else self._habits(task_uid)
        calm = self._server.now() >= self._until
        drawn = fate.draw(self._rng, habits, run.attempt, calm=calm)
        task = self._server.find(PODTASKS, key[1], meta.get("annotations", {}).get(names.ANNOTATION_TASK, ""))
        main = (task or {}).get("spec", {}).get("containerName", names.DEFAULT_CONTAINER)
        life = PodLife(self._server, run, drawn, habits, key, main, self._rng, self._on_start)
        self.lives[run.uid] = life
        life.begin()
        if drawn.disaster:
            self._loop.call_later(drawn.disaster_at, self._strike, key, run.uid, drawn.disaster)
        self._look_for_owner(key[1], pod)

    # ---- disasters ----

    def _strike(self, key: Key, uid: str, disaster: str) -> None:
        life = self.lives[uid]
        pod = self._server.etcd.get(key)
        if pod is None or pod["metadata"]["uid"] != uid or pod["status"]["phase"] in {"Succeeded", "Failed"}:
            return
        needs_node = disaster in {"evict", "taint", "node-gone", "node-back", "shutdown", "preempt", "api-evict"}
        if (needs_node and not life.is_bound) or life.silent:
            return
        if disaster in {"taint", "node-gone", "node-back"}:
            self._cut_off(key, uid, disaster)
            return
        life.run.disrupted[disaster] = self._server.now()
        if disaster in {"evict", "shutdown"}:
            life.stop(disaster)
            return
        condition = {
            "preempt": ("DisruptionTarget", "PreemptionByScheduler"),
            "api-evict": ("DisruptionTarget", "EvictionByEvictionAPI"),
            "queue-evict": ("TerminationTarget", "StoppedByKueue"),
        }.get(disaster)
        if condition is not None:
            mark(self._server, key, uid, condition[0], "True", condition[1], disaster)
        if disaster == "user-force":
            life.run.forced = True
        self._delete(key, uid, 0 if disaster == "user-force" else None)

    def _cut_off(self, key: Key, uid: str, disaster: str) -> None:
        life = self.lives[uid]
        life.fall_silent(dead=disaster == "node-gone")
        if disaster == "node-back":
            self._loop.call_later(life.fate.disaster_lasts / 10, life.come_back)
            return
        self._loop.call_later(_TAINT_SECONDS, self._taint, key, uid)
        after = _TAINT_SECONDS + life.fate.disaster_lasts
        if disaster == "taint":
            self._loop.call_later(after, life.come_back)
        else:
            self._loop.call_later(after, self._collect_from_lost_node, key, uid)

    def _taint(self, key: Key, uid: str) -> None:
        self.lives[uid].run.disrupted["taint"] = self._server.now()
        mark(self._server, key, uid, "DisruptionTarget", "True", "DeletionByTaintManager", "node not ready")
        self._delete(key, uid, None)

    def _collect_from_lost_node(self, key: Key, uid: str) -> None:
        """What the Pod garbage collector does once the Node object is gone."""
        pod = self._server.etcd.get(key)
        if pod is None or pod["metadata"]["uid"] != uid:
            return
        self.lives[uid].run.disrupted["node-gone"] = self._server.now()
        mark(self._server, key, uid, "DisruptionTarget", "True", "DeletionByPodGC", "node is gone")
        pod = self._server.etcd.objects[key]
        if pod["status"]["phase"] not in {"Succeeded", "Failed"}:
            self._server.update(key, {**pod, "status": {**pod["status"], "phase": "Failed"}}, "status")
        self._delete(key, uid, 0)

    # ---- garbage collection ----

    def _look_for_owner(self, namespace: str, pod: Object) -> None:
        """A Pod whose owner does not exist in its namespace is collected, whether or not it exists in another."""
        owner = _owner(pod)
        tasks = self._server.etcd.scan("podtasks", namespace)
        if owner and all(task["metadata"]["uid"] != owner for task in tasks):
            self._loop.call_later(self._rng.uniform(0.5, 3), self._collect, namespace, owner)

    def _collect(self, namespace: str, owner: str) -> None:
        """Delete the Pods of a namespace whose owner is not there, be it gone or in another namespace."""
        for pod in self._server.etcd.scan("pods", namespace):
            if _owner(pod) == owner:
                meta = pod["metadata"]
                self._delete(("pods", meta["namespace"], meta["name"]), meta["uid"], None)

    def _propagate(self, key: Key) -> None:
        """Foreground: the dependents go first. Orphan: they lose their owner."""
        task = self._server.etcd.get(key)
        if task is None:
            return
        meta = task["metadata"]
        finalizers = meta.get("finalizers", [])
        mine = [pod for pod in self._server.etcd.scan("pods", key[1]) if _owner(pod) == meta["uid"]]
        for pod in mine:
            where = ("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
            if "orphan" in finalizers:
                bare = {k: v for k, v in pod["metadata"].items() if k != "ownerReferences"}
                self._server.update(where, {**pod, "metadata": bare})
            else:
                self._delete(where, pod["metadata"]["uid"], None)
        if mine and "orphan" not in finalizers:
            self._loop.call_later(1.0, self._propagate, key)
            return
        left = [f for f in finalizers if f not in {"orphan", "foregroundDeletion"}]
        self._server.update(key, {**task, "metadata": {**meta, "finalizers": left}})

    def _delete(self, key: Key, uid: str, grace: int | None) -> None:
        try:
            self._server.delete(PODS, key[1], key[2], uid=uid, grace_seconds=grace)
        except (errors.NotFound, errors.Conflict):
            return


def _note_stop(run: Run, pod: Object, at: float) -> None:
    reason = pod["metadata"].get("annotations", {}).get(names.ANNOTATION_STOP, "")
    if not reason or reason == "MainContainerEnded" or reason in run.stop_reasons:
        return
    run.stop_reasons.add(reason)
    if run.stopped_at is None:
        run.stopped_at = at


def _is_held(pod: Object | None) -> bool:
    return pod is not None and names.FINALIZER in pod["metadata"].get("finalizers", [])


def _is_forced(pod: Object | None) -> bool:
    if pod is None or pod["status"]["phase"] in {"Succeeded", "Failed"} or not pod["spec"].get("nodeName"):
        return False
    return pod["metadata"].get("deletionGracePeriodSeconds") == 0


def _owner(pod: Object) -> str:
    return next((o["uid"] for o in pod["metadata"].get("ownerReferences", []) if o.get("controller")), "")
