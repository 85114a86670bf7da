"""The message of a stop: which limit or field of the spec caused it, and what had held the Pod up until then."""

from ..api.reasons import Reason
from . import diagnosis
from .pod import Pod
from .snapshot import Task

UNEXPLAINED = "the controller stopped the Pod"
"""Of a stop whose cause is not known: the reason on the Pod is none of those below."""

_CAUSES: dict[str, str] = {
    Reason.SCHEDULE_DEADLINE_EXCEEDED: "the Pod was not scheduled within deadlines.scheduleSeconds"
    " ({0.deadlines.schedule_seconds} s)",
    Reason.IMAGE_PULL_DEADLINE_EXCEEDED: "the images were not pulled within deadlines.imagePullSeconds"
    " ({0.deadlines.image_pull_seconds} s)",
    Reason.START_DEADLINE_EXCEEDED: "container {0.container_name} did not start within deadlines.startSeconds"
    " ({0.deadlines.start_seconds} s)",
    Reason.RUN_DEADLINE_EXCEEDED: "container {0.container_name} ran longer than deadlines.runSeconds"
    " ({0.deadlines.run_seconds} s)",
    Reason.TOTAL_DEADLINE_EXCEEDED: "the task took longer than deadlines.totalSeconds"
    " ({0.deadlines.total_seconds} s) over all attempts",
    Reason.CANCELLED: "spec.cancel was set",
    Reason.CANCEL_TIME_REACHED: "spec.cancelTime ({0.cancel_time}) was reached",
    Reason.SUSPENDED: "spec.suspend was set",
    Reason.NODE_LOST: "the node did not stop the Pod within forceDeletePodAfterSeconds"
    " ({0.force_delete_pod_after_seconds} s), so it was deleted without grace",
}


def message_for(task: Task, reason: str) -> str:
    """Name the limit or field of the spec behind a reason, with its value. Empty where the spec did not cause it."""
    return _CAUSES.get(reason, "").format(task.spec)


def while_stopping(task: Task, pod: Pod) -> str:
    """Return the message while a Pod is being stopped. Empty where the spec did not cause the stop."""
    cause = message_for(task, pod.stop_reason)
    grace = pod.spec.termination_grace_period_seconds
    return f"{cause}; Pod {pod.metadata.name} is being stopped (grace period {grace} s)" if cause else ""


def after_stop(task: Task, reason: str, *, has_started: bool) -> str:
    """Return the message of an attempt that was stopped for `reason`. Empty where nothing is known of the cause.

    The status may name what held up a Pod that never started. It was written before the stop, because a deleted Pod
    does not report it any more. If that reason is itself the reason of the stop, it is the whole message.
    """
    cause, last = message_for(task, reason), task.status
    if has_started or last.reason not in diagnosis.REASONS:
        return cause
    return with_obstacle(cause, "" if last.reason == reason else last.reason, last.message)


def with_obstacle(cause: str, reason: str, message: str) -> str:
    """Join the cause of a stop and what held the attempt up."""
    return "; ".join(part for part in (cause, f"{reason}: {message}" if reason else message) if part)
