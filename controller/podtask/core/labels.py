"""The labels by which the watch finds a Pod and its attempt. Anyone who may edit the Pod may take them off.

Such a Pod is still known: by the name that only we give, its namespace, and the controller reference to the task.
"""

from ..api import names
from . import status
from .pod import Pod
from .snapshot import Task, TaskSnapshot


def lost(snapshot: TaskSnapshot, name: str) -> Pod | None:
    """Give the Pod that has the name of the attempt that is due, belongs to the task and lacks its labels."""
    task, stray = snapshot.task, snapshot.unlabelled_pod
    known = {} if stray is None else {stray.metadata.uid: stray}
    known |= {pod.metadata.uid: pod for pod in snapshot.pods}  # what is watched is newer than what was read
    return next((pod for pod in known.values() if _is_ours(task, pod, name) and not _has_labels(task, pod)), None)


def lost_last(snapshot: TaskSnapshot) -> Pod | None:
    """Give the Pod of the last recorded attempt, where a live read has found it without its labels.

    Its other containers may still run: who recorded the attempt had no time to stop them.
    """
    task, stray = snapshot.task, snapshot.unlabelled_pod
    last = task.status.attempts[-1] if task.status.attempts else None
    if stray is None or last is None or stray.metadata.uid != last.pod_uid:
        return None
    is_seen = any(pod.metadata.uid == last.pod_uid and pod.attempt == last.number for pod in snapshot.pods)
    return None if is_seen or not stray.is_owned_by(task.metadata.uid) else stray


def attempt_of(task: Task, pod: Pod) -> int:
    """Give the number of the attempt that a Pod with the name of the one that is due was made for."""
    due = status.current_attempt_number(task)
    recorded = next((a.number for a in task.status.attempts if a.pod_uid == pod.metadata.uid), 0)
    if not task.exact_pod_name:
        return recorded or due  # the name has the number
    return recorded or (pod.attempt if 0 < pod.attempt <= due else due)


def _is_ours(task: Task, pod: Pod, name: str) -> bool:
    meta = pod.metadata
    return (meta.namespace, meta.name) == (task.metadata.namespace, name) and pod.is_owned_by(task.metadata.uid)


def _has_labels(task: Task, pod: Pod) -> bool:
    uid = pod.metadata.labels.get(names.LABEL_TASK_UID)
    return (uid, pod.attempt) == (task.metadata.uid, attempt_of(task, pod))
