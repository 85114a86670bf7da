"""A Pod of somebody else has the name that an attempt wants: does it go by itself, or do people have to settle it?

Only who fixes the name (`template.metadata.name`) comes to this, such as daily runs that share one name. The Pod of
another PodTask is on its way out: it ends, is kept for its time, and goes. So waiting is enough, and nobody deletes
what is not his.
"""

from ..api import names
from . import retention
from .pod import Pod
from .snapshot import Task


def permanent_conflict_reason(pod: Pod, owner: Task | None) -> str:
    """Say why a Pod keeps its name for good, or nothing where it goes. `owner` is its PodTask, where that is known."""
    name, uid = pod.metadata.name, pod.metadata.labels.get(names.LABEL_TASK_UID, "")
    if not uid or not pod.is_owned_by(uid):
        return f"Pod {name} exists and is not this task's"
    is_over = owner is not None and owner.status.phase_is_terminal and pod.is_terminal
    if owner is not None and is_over and retention.retains_pod(owner, pod):
        return (
            f"Pod {name} of PodTask {pod.task_name} has ended and is kept: podRetention is {owner.spec.pod_retention}"
        )
    return ""
