"""Recovery of Pods that lost our labels. The watch finds Pods by these labels, and any editor can remove them.

Such a Pod is recognized by its namespace, the name that only we give, and its controller owner reference.
"""

from datetime import datetime

from ..api import names
from . import status, times
from .plan import Plan, RestoreLabels
from .pod import Pod
from .snapshot import Task, TaskSnapshot


def find_unlabelled(snapshot: TaskSnapshot, name: str) -> Pod | None:
    """Return the task's Pod that has this name and lacks our labels, or None."""
    task, read = snapshot.task, snapshot.unlabelled_pod
    known = {} if read is None else {read.metadata.uid: read}
    known |= {pod.metadata.uid: pod for pod in snapshot.pods}  # the watch is newer than the live read
    return next((pod for pod in known.values() if _has_name(task, pod, name) and not _has_labels(task, pod)), None)


def find_unlabelled_past(snapshot: TaskSnapshot) -> Pod | None:
    """Return the Pod of the last recorded attempt, where a live read has found it without our labels, or None.

    Its other containers may still run: they could not be stopped when the attempt was recorded.
    """
    task, read = snapshot.task, snapshot.unlabelled_pod
    last = task.status.attempts[-1] if task.status.attempts else None
    if read is None or last is None or read.metadata.uid != last.pod_uid:
        return None
    is_watched = any(pod.metadata.uid == last.pod_uid and pod.attempt == last.number for pod in snapshot.pods)
    return None if is_watched or not read.is_owned_by(task.metadata.uid) else read


def attempt_number(task: Task, pod: Pod) -> int:
    """Return the number of the attempt that a Pod with the current attempt's name was created for."""
    current = status.current_attempt_number(task)
    recorded = next((a.number for a in task.status.attempts if a.pod_uid == pod.metadata.uid), 0)
    if not task.exact_pod_name:
        return recorded or current  # the name contains the number
    return recorded or (pod.attempt if 0 < pod.attempt <= current else current)


def restore(snapshot: TaskSnapshot, pod: Pod, now: datetime) -> Plan:
    """Return the plan that writes our labels to the Pod again, after a delay that doubles with each time."""
    before, uid = snapshot.relabelled, pod.metadata.uid
    if before is not None and before.pod_uid == uid:
        at = times.retry_at(before.at, before.count)
        if at > now:
            return Plan(wake_at=at)
    number = attempt_number(snapshot.task, pod)
    return Plan(actions=(RestoreLabels(attempt=number, name=pod.metadata.name, uid=uid),))


def _has_name(task: Task, pod: Pod, name: str) -> bool:
    meta = pod.metadata
    return (meta.namespace, meta.name) == (task.metadata.namespace, name) and pod.is_owned_by(task.metadata.uid)


def _has_labels(task: Task, pod: Pod) -> bool:
    uid = pod.metadata.labels.get(names.LABEL_TASK_UID)
    return (uid, pod.attempt) == (task.metadata.uid, attempt_number(task, pod))
