"""People and programs beside the controller: they create tasks, change their minds, delete things, and look away."""

import asyncio
import random
from dataclasses import dataclass

import orjson

from podtask.kube import errors
from podtask.kube.client import PODS, PatchType
from podtask.runtime.decode import PODTASKS

from .etcd import Object
from .model import Server
from .truth import Truth

NAMESPACE = "ns"
SECOND_NAMESPACE = "second"


@dataclass(frozen=True)
class Act:
    """What one user does to one task, and when."""

    at: float
    kind: str
    """cancel, suspend, resume, delete, delete-foreground, delete-orphan, edit-ttl, strip, delete-pods."""


class Users:
    """Carries out the acts of one life."""

    def __init__(self, server: Server, truth: Truth) -> None:
        self._server = server
        self._truth = truth
        self._loop = asyncio.get_running_loop()

    def submit(self, name: str, spec: Object, namespace: str = NAMESPACE) -> str:
        """Create a task; gives its uid."""
        body = {"metadata": {"name": name}, "spec": spec}
        raw = self._server.create(PODTASKS, namespace, orjson.dumps(body))
        uid: str = orjson.loads(raw)["metadata"]["uid"]
        return uid

    def run_stranger(self, name: str) -> None:
        """Create a Pod that belongs to no task."""
        body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "base", "image": "x"}]}}
        self._server.create(PODS, NAMESPACE, orjson.dumps(body))

    def plan(self, name: str, acts: tuple[Act, ...], namespace: str = NAMESPACE) -> None:
        """Do each act at its time."""
        for act in acts:
            self._loop.call_at(act.at, self._do, namespace, name, act.kind)

    def _do(self, namespace: str, name: str, kind: str) -> None:
        task = self._server.find(PODTASKS, namespace, name)
        if task is None:
            return
        uid = task["metadata"]["uid"]
        try:
            self._carry_out(namespace, name, uid, kind)
        except errors.ApiError:
            return

    def _carry_out(self, namespace: str, name: str, uid: str, kind: str) -> None:
        match kind:
            case "cancel":
                self._truth.cancels.setdefault(uid, self._loop.time())
                self._patch(namespace, name, cancel=True)
            case "suspend":
                self._truth.suspends.add(uid)
                self._patch(namespace, name, suspend=True)
            case "resume":
                self._patch(namespace, name, suspend=False)
            case "edit-ttl":
                self._patch(namespace, name, podTTLSecondsAfterFinished=90)
            case "delete" | "delete-foreground" | "delete-orphan":
                self._truth.deletes.setdefault(uid, self._loop.time())
                finalizer = {"delete-foreground": "foregroundDeletion", "delete-orphan": "orphan"}.get(kind, "")
                self._server.delete(PODTASKS, namespace, name, uid=uid, finalizer=finalizer)
            case "delete-pods":
                self._delete_pods(namespace, uid)
            case "strip":
                self._strip(namespace, uid)

    def _patch(self, namespace: str, name: str, **spec: object) -> None:
        self._server.patch(PODTASKS, namespace, name, orjson.dumps({"spec": spec}), PatchType.MERGE)

    def _delete_pods(self, namespace: str, task_uid: str) -> None:
        for run in self._truth.of(task_uid):
            pod = self._server.find(PODS, namespace, run.name)
            if pod is None or pod["metadata"]["uid"] != run.uid:
                continue
            run.disrupted.setdefault("user-delete", self._loop.time())
            self._server.delete(PODS, namespace, run.name, uid=run.uid)

    def _strip(self, namespace: str, task_uid: str) -> None:
        """Take all finalizers off and delete without grace, as people do with what will not go."""
        for run in self._truth.of(task_uid):
            pod = self._server.find(PODS, namespace, run.name)
            if pod is None or pod["metadata"]["uid"] != run.uid:
                continue
            run.forced = run.stripped = True
            run.disrupted.setdefault("user-delete", self._loop.time())
            body = orjson.dumps({"metadata": {"finalizers": None}})
            self._server.patch(PODS, namespace, run.name, body, PatchType.MERGE)
            self._server.delete(PODS, namespace, run.name, uid=run.uid, grace_seconds=0)


def draw_acts(rng: random.Random) -> tuple[Act, ...]:
    """Draw what users do to one task; a suspension always ends."""
    acts: list[Act] = []
    if rng.random() < 0.15:
        begin = rng.uniform(0, 20)
        acts += [Act(begin, "suspend"), Act(begin + rng.uniform(0.05, 60), "resume")]
    if rng.random() < 0.12:
        acts.append(Act(rng.uniform(0, 25), "cancel"))
    if rng.random() < 0.1:
        acts.append(Act(rng.uniform(0, 40), rng.choice(("delete", "delete-foreground", "delete-orphan"))))
    if rng.random() < 0.1:
        acts.append(Act(rng.uniform(0, 25), "delete-pods"))
    if rng.random() < 0.1:
        acts.append(Act(rng.uniform(0, 90), "edit-ttl"))
    if rng.random() < 0.05:
        acts.append(Act(rng.uniform(0, 25), "strip"))
    return tuple(acts)
