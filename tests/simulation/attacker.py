"""A user who means harm: foreign Pods with a task's name, labels and owner, and marks put on and taken off.

In a namespace of its own the attacker may do anything to Pods; in the task's it creates Pods of other names only,
because a user who may create Pods there can run one under the task's service account anyway.
"""

import asyncio
import random
from dataclasses import dataclass, replace

import orjson

from podtask.api import names
from podtask.core import identity
from podtask.kube import errors
from podtask.kube.client import PODS, PatchType
from podtask.runtime.decode import PODTASKS

from .etcd import Object
from .fate import Habits
from .model import Server
from .truth import Truth

NAMESPACE = "attacker"
FORGED = b'"FORGED"'
HABITS = Habits(result=FORGED, run=1.0, lumps=0.0)
"""How foreign Pods fare: they end well, and quickly, with a result."""

KINDS = ("forge", "forge", "mark", "impostor", "refinalize", "unmark")
_MARKED_AFTER_SECONDS = 5.0
_MARKS = ("labels", "owner", "finalizer")


@dataclass(frozen=True)
class Attack:
    """What is done to one task, and when."""

    at: float
    kind: str
    attempt: int = 1
    marks: frozenset[str] = frozenset(_MARKS)


def draw(rng: random.Random) -> tuple[Attack, ...]:
    """Draw the attacks on one task."""
    attacks = []
    for _ in range(rng.randint(1, 6)):
        marks = frozenset(mark for mark in _MARKS if rng.random() < 0.75)
        attacks.append(Attack(rng.uniform(0, 40), rng.choice(KINDS), rng.choice((1, 1, 2, 3)), marks))
    return tuple(attacks)


class Attacker:
    """Carries out the attacks of one life."""

    def __init__(self, server: Server, truth: Truth) -> None:
        self._server = server
        self._truth = truth
        self._loop = asyncio.get_running_loop()
        self._made = 0

    def plan(self, namespace: str, name: str, uid: str, attacks: tuple[Attack, ...]) -> None:
        """Do each attack at its time."""
        for attack in attacks:
            self._loop.call_at(attack.at, self._do, namespace, name, uid, attack)

    def _do(self, namespace: str, name: str, uid: str, attack: Attack) -> None:
        try:
            match attack.kind:
                case "forge":
                    self._create(
                        NAMESPACE, self._own_name(namespace, name, uid, attack), self._marks(name, uid, attack)
                    )
                case "mark":
                    self._create(NAMESPACE, identity.pod_name(name, uid, attack.attempt), {})
                    self._loop.call_later(_MARKED_AFTER_SECONDS, self._mark, name, uid, attack)
                case "impostor":
                    self._made += 1
                    # Without labels no controller knows of it, and its finalizer would hold a foreground deletion.
                    marks = attack.marks if "labels" in attack.marks else attack.marks - {"finalizer"}
                    made = replace(attack, marks=marks)
                    self._create(namespace, f"impostor-{self._made}", self._marks(name, uid, made))
                case "refinalize":
                    self._refinalize(namespace, self._own_name(namespace, name, uid, attack))
                case "unmark":
                    self._unmark(namespace, self._own_name(namespace, name, uid, attack), attack)
                case _:
                    raise ValueError(attack.kind)
        except errors.ApiError:
            return

    def _own_name(self, namespace: str, name: str, uid: str, attack: Attack) -> str:
        """Give the name of the task's own Pod of this attempt."""
        task = self._server.find(PODTASKS, namespace, name)
        template = (task or {}).get("spec", {}).get("template", {})
        return str(template.get("metadata", {}).get("name", "")) or identity.pod_name(name, uid, attack.attempt)

    def _marks(self, name: str, uid: str, attack: Attack) -> Object:
        return {
            "labels": identity.pod_labels(name, uid, attack.attempt) if "labels" in attack.marks else {},
            "annotations": {names.ANNOTATION_TASK: name} if "labels" in attack.marks else {},
            "ownerReferences": [identity.owner_reference(name, uid)] if "owner" in attack.marks else [],
            "finalizers": [names.FINALIZER] if "finalizer" in attack.marks else [],
        }

    def _create(self, namespace: str, name: str, marks: Object) -> None:
        container = {"name": names.DEFAULT_CONTAINER, "image": "x", "terminationMessagePath": "/result"}
        spec = {"containers": [container], "terminationGracePeriodSeconds": 1, "restartPolicy": "Never"}
        self._server.create(PODS, namespace, orjson.dumps({"metadata": {"name": name, **marks}, "spec": spec}))

    def _mark(self, name: str, uid: str, attack: Attack) -> None:
        """Put all marks on a Pod of the attempt's name, which was made and run without them."""
        pod_name = identity.pod_name(name, uid, attack.attempt)
        if self._server.find(PODS, NAMESPACE, pod_name) is not None:
            marks = self._marks(name, uid, replace(attack, marks=frozenset(_MARKS)))
            self._server.patch(PODS, NAMESPACE, pod_name, orjson.dumps({"metadata": marks}), PatchType.MERGE)

    def _unmark(self, namespace: str, pod_name: str, attack: Attack) -> None:
        """Take labels of ours off a task's own Pod."""
        pod = self._server.find(PODS, namespace, pod_name)
        if pod is None or "labels" not in pod["metadata"]:
            return
        gone = (names.LABEL_TASK_UID, names.LABEL_ATTEMPT) if "labels" in attack.marks else (names.LABEL_ATTEMPT,)
        self._truth.runs[pod["metadata"]["uid"]].unmarked = True
        body = orjson.dumps({"metadata": {"labels": dict.fromkeys(gone)}})
        self._server.patch(PODS, namespace, pod_name, body, PatchType.MERGE)

    def _refinalize(self, namespace: str, pod_name: str) -> None:
        """Put our finalizer back on a task's own Pod."""
        pod = self._server.find(PODS, namespace, pod_name)
        if pod is not None and not pod["metadata"].get("finalizers"):
            body = orjson.dumps({"metadata": {"finalizers": [names.FINALIZER]}})
            self._server.patch(PODS, namespace, pod_name, body, PatchType.MERGE)
