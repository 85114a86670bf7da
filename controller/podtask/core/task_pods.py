"""Which Pods belong to a task, and which of them is the current attempt's."""

import msgspec

from . import identity, status
from .pod import Pod
from .snapshot import Task, TaskSnapshot


def in_namespace(snapshot: TaskSnapshot) -> TaskSnapshot:
    """Drop the Pods of other namespaces. They are not the task's, whatever labels and owner references they have."""
    namespace = snapshot.task.metadata.namespace
    pods = tuple(p for p in snapshot.pods if p.metadata.namespace == namespace)
    return snapshot if len(pods) == len(snapshot.pods) else msgspec.structs.replace(snapshot, pods=pods)


def owned_pods(snapshot: TaskSnapshot) -> tuple[Pod, ...]:
    """Return the Pods whose controller owner reference names the task."""
    uid = snapshot.task.metadata.uid
    return tuple(p for p in snapshot.pods if p.is_owned_by(uid))


def attempt_pods(snapshot: TaskSnapshot) -> tuple[Pod, ...]:
    """Return the owned Pods that are attempts: those with an attempt's number and the name that belongs to it."""
    task = snapshot.task
    return tuple(p for p in owned_pods(snapshot) if p.attempt and p.metadata.name == pod_name(task, p.attempt))


def current_pod(task: Task, pods: tuple[Pod, ...]) -> Pod | None:
    """Return the current attempt's Pod: the one that the status names, where the cache has two."""
    attempt = status.current_attempt(task)
    current = [p for p in pods if p.attempt == status.current_attempt_number(task)]
    named = (p for p in current if attempt is not None and p.metadata.uid == attempt.pod_uid)
    return next(named, current[0] if current else None)


def is_unconfirmed(snapshot: TaskSnapshot, pod: Pod) -> bool:
    """Whether the status names another Pod for this attempt, and no live read has confirmed this one yet.

    A Pod whose finalizer was removed by force is created again under the same name. A controller whose cache still
    has the old Pod would write it over the new one, which another leader has recorded.
    """
    attempt = status.current_attempt(snapshot.task)
    is_named = attempt is None or attempt.pod_uid in {"", pod.metadata.uid}
    return not is_named and snapshot.live_version != pod.metadata.resource_version


def pod_name(task: Task, attempt: int) -> str:
    """Return the name of an attempt's Pod."""
    return task.exact_pod_name or identity.pod_name(task.metadata.name, task.metadata.uid, attempt)
