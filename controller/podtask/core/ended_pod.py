"""The current attempt has ended: collect its result, record the attempt, and only then release its Pod."""

from datetime import datetime

from ..api.reasons import Reason
from . import attempts, pod_stops, status, status_writes, times, xcom_collection
from .plan import Action, Plan, RemoveFinalizer, join
from .pod import Pod
from .settings import Settings
from .snapshot import TaskSnapshot
from .termination import Termination, with_cause, without_xcom


def make_plan(snapshot: TaskSnapshot, pod: Pod, termination: Termination, settings: Settings, now: datetime) -> Plan:
    """Return the plan for an attempt that ended as `termination` says."""
    task = snapshot.task
    termination = with_cause(termination, task, pod)
    collected = xcom_collection.collect(snapshot, pod, termination, settings, now)
    # The kubelet stops the sidecar after the last ordinary container, so the others are stopped in either case.
    stops = pod_stops.stop_others(pod, task.spec.container_name)
    if isinstance(collected, xcom_collection.Pending):
        actions = (*stops, *collected.actions)
        report = Plan() if actions else _report_collecting(snapshot, pod, termination, collected.until, settings, now)
        return join(Plan(actions=actions, wake_at=collected.until), report)
    if collected.failure is not None:
        termination = without_xcom(termination, task, collected.failure)
    attempt = status.attempt_of_pod(task, pod)
    recorded = status_writes.write(attempts.conclude(task, attempt, termination, pod, collected.xcom, now))
    release: tuple[Action, ...] = ()
    if pod.has_finalizer:
        release = (RemoveFinalizer(name=pod.metadata.name, uid=pod.metadata.uid),)
    return join(recorded, Plan(actions=(*stops, *release)))


def _report_collecting(
    snapshot: TaskSnapshot,
    pod: Pod,
    termination: Termination,
    until: datetime | None,
    settings: Settings,
    now: datetime,
) -> Plan:
    """Write the reason CollectingResult if the result is late. Most arrive within two seconds of the end."""
    finished_at = times.to_server_time(termination.finished_at, pod) if termination.finished_at else None
    late_at = times.add_saturating(times.clamp(finished_at, pod, now), settings.diagnosis_seconds)
    if late_at > now:
        return Plan(wake_at=late_at)
    limit = f"; it counts as lost at {until:%Y-%m-%dT%H:%M:%SZ}" if until else ""
    message = (
        f"container {snapshot.task.spec.container_name} has ended, and its result has not been received yet{limit}"
    )
    return status_writes.set_reason_debounced(
        snapshot, snapshot.task.status.phase, Reason.COLLECTING_RESULT, message, pod, settings, now
    )
