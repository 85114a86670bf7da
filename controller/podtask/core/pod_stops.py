"""Stop requests for Pods, and their escalation.

A started Pod is stopped by a PATCH of activeDeadlineSeconds to 1: the kubelet then ends every container with its grace
period, the sidecar delivers the result, and the Pod and its log stay. A DELETE would lose the log. It is used for Pods
that never started, are lost, or have to go (suspend).
"""

from datetime import datetime

from ..api.reasons import Reason
from . import times
from .plan import Action, DeletePod, Plan, StopPod
from .pod import Pod
from .snapshot import Task

_IGNORED_STOP_SECONDS = 60
"""A Pod that still runs this long after its stop request and its grace period has a kubelet that does not act on it."""


def stop_others(pod: Pod, container: str) -> tuple[Action, ...]:
    """Return the stop of a Pod whose main container has ended while other ordinary containers run.

    The kubelet itself stops native sidecars. A stop reason that the Pod already has is kept, because the attempt is
    classified by it again at every change.
    """
    if pod.is_terminal or pod.is_stopping:
        return ()
    others = [s for s in pod.status.container_statuses if s.name != container and s.state.terminated is None]
    if not others:
        return ()
    reason = pod.stop_reason or Reason.MAIN_CONTAINER_ENDED
    return (StopPod(name=pod.metadata.name, uid=pod.metadata.uid, reason=reason),)


def escalate(pod: Pod, now: datetime) -> Plan:
    """Delete a Pod that ignores a stop request, 60 s after its grace period. Its stop reason stays.

    The time of the request is an annotation of the Pod, so every controller can read it. A Pod that an older
    controller stopped has no such annotation, and gets it now.
    """
    name, uid, reason = pod.metadata.name, pod.metadata.uid, pod.stop_reason
    if pod.stop_time is None:
        return Plan(actions=(StopPod(name=name, uid=uid, reason=reason),))
    at = times.add_saturating(pod.stop_time, pod.spec.termination_grace_period_seconds + _IGNORED_STOP_SECONDS)
    return Plan(actions=(DeletePod(name=name, uid=uid, reason=reason),)) if at <= now else Plan(wake_at=at)


def force_delete(task: Task, pod: Pod, now: datetime) -> Plan:
    """Delete a terminating Pod without grace, spec.forceDeletePodAfterSeconds after its deletionTimestamp."""
    deleted_at, seconds = pod.metadata.deletion_timestamp, task.spec.force_delete_pod_after_seconds
    if deleted_at is None or seconds is None or pod.is_terminal:
        return Plan()
    at = times.add_saturating(deleted_at, seconds)
    if at > now:
        return Plan(wake_at=at)
    return Plan(
        actions=(DeletePod(name=pod.metadata.name, uid=pod.metadata.uid, reason=Reason.NODE_LOST, grace_seconds=0),)
    )
