"""Collection of an ended attempt's result (its XCom value) from the Pod.

A task is finished when its main container has ended and the result was read, or is known to be missing or lost. The
phase of the Pod is not awaited.
"""

from datetime import datetime

import msgspec

from ..api import names
from ..api.reasons import Reason
from ..api.v1alpha1.values import AttemptOutcome, ResultState
from . import times, xcom_envelope, xcom_injection
from .plan import Action, ReadPod, ReadResultLog
from .pod import Pod, Terminated
from .settings import Settings
from .snapshot import TaskSnapshot, XComSpec, XComStatus
from .termination import Termination
from .xcom_envelope import Envelope, XComError, XComMissing

_REPLACEMENT = "\ufffd"
"""The kubelet replaces invalid UTF-8 by it, without an error."""

LOG_READS = 5
"""Failed reads after which the log counts as lost: about 30 s with the queue's backoff."""


class Pending(msgspec.Struct, frozen=True):
    """The result is not there yet. `actions` read what is missing; `until` is when it counts as lost."""

    actions: tuple[Action, ...] = ()
    until: datetime | None = None


class Done(msgspec.Struct, frozen=True):
    """The collection has ended. With a `failure` the task fails because its result is missing."""

    xcom: XComStatus | None = None
    failure: XComStatus | None = None


def collect(
    snapshot: TaskSnapshot, pod: Pod, termination: Termination, settings: Settings, now: datetime
) -> Pending | Done:
    """Return the result of an ended attempt as a status, or what it waits for."""
    xcom = snapshot.task.spec.xcom
    if xcom is None:
        return Done()
    attempt = pod.attempt
    if termination.outcome is not AttemptOutcome.SUCCEEDED and xcom.on_failure != "Keep":
        return Done(XComStatus(state=ResultState.DROPPED, reason=Reason.XCOM_DROPPED, attempt=attempt))
    try:
        content = _read(snapshot, pod, termination, xcom, settings, now)
        if isinstance(content, Pending):
            return content
        return Done(_to_status(snapshot, content, xcom, attempt))
    except XComMissing:
        status = xcom_envelope.empty_status(attempt)
        return Done(status, status if xcom.required else None)
    except XComError as error:
        status = xcom_envelope.failed_status(error, attempt)
        tolerated = error.reason is Reason.XCOM_LOST and xcom.on_lost == "Drop"
        return Done(status, None if tolerated else status)


def _to_status(snapshot: TaskSnapshot, content: bytes, xcom: XComSpec, attempt: int) -> XComStatus:
    status = xcom_envelope.to_status(content, xcom_injection.max_bytes(xcom), attempt)
    if snapshot.result_refused:
        raise XComError(
            Reason.XCOM_TOO_LARGE,
            f"with the result of {len(content)} bytes the PodTask exceeds the API server's size limit; make spec or"
            " result smaller",
        )
    return status


def _read(
    snapshot: TaskSnapshot, pod: Pod, termination: Termination, xcom: XComSpec, settings: Settings, now: datetime
) -> bytes | Pending:
    if xcom_injection.is_direct(pod):
        return _read_message(pod, snapshot.task.spec.container_name, xcom)
    sidecar = pod.container(names.RESULT_CONTAINER)
    terminated = sidecar.state.terminated if sidecar else None
    is_killed = terminated is not None and terminated.exit_code != 0 and pod.is_terminal
    # The times are whole seconds, so two ends within one second have no order. In an ended Pod nothing is restarted.
    if terminated is None or (_was_early(terminated, termination) and not is_killed):
        return _await_sidecar(snapshot, pod, termination, settings, now)
    if terminated.exit_code != 0 or not terminated.message:
        raise XComError(
            Reason.XCOM_SIDECAR_FAILED,
            f"the sidecar ended with exit code {terminated.exit_code} ({terminated.reason or 'no reason'})"
            " and no envelope",
        )
    envelope = xcom_envelope.parse_envelope(terminated.message)
    if envelope.state != "log":
        return xcom_envelope.open_envelope(envelope, xcom_injection.max_bytes(xcom))
    if envelope.size > xcom_injection.max_bytes(xcom):
        raise xcom_envelope.too_large(envelope.size, xcom_injection.max_bytes(xcom))
    return _read_log(snapshot, pod, envelope, xcom)


def _was_early(sidecar: Terminated, termination: Termination) -> bool:
    """Whether the sidecar ended before the task. The kubelet restarts it then, and it did not read the result."""
    if sidecar.finished_at is None or termination.finished_at is None:
        return False
    return sidecar.finished_at < termination.finished_at


def _read_message(pod: Pod, container: str, xcom: XComSpec) -> bytes:
    main = pod.container(container)
    terminated = main.state.terminated if main else None
    if terminated is None:
        raise XComError(Reason.XCOM_LOST, "the Pod was gone before its result could be read")
    if _REPLACEMENT in terminated.message:
        raise XComError(
            Reason.XCOM_INVALID,
            "the result is not UTF-8, or holds U+FFFD, which a termination message does not distinguish; "
            "write \\ufffd, or set xcom.maxBytes to 4096 or more",
        )
    content = terminated.message.encode()
    if len(content) >= min(xcom_injection.direct_limit(pod), xcom_injection.max_bytes(xcom) + 1):
        raise XComError(
            Reason.XCOM_TOO_LARGE,
            f"a result of {len(content)} bytes or more does not fit into a termination message; use mode Auto",
        )
    return content


def _await_sidecar(
    snapshot: TaskSnapshot, pod: Pod, termination: Termination, settings: Settings, now: datetime
) -> Pending:
    if pod.is_terminal:
        raise XComError(Reason.XCOM_LOST, "the Pod was gone before its result could be read")
    if any(other.state.terminated is None for other in pod.status.container_statuses):
        return _await_others(snapshot, pod, settings, now)
    timeout = pod.spec.termination_grace_period_seconds + settings.result_seconds
    ends = [termination.finished_at] + [
        c.state.terminated.finished_at for c in pod.status.container_statuses if c.state.terminated
    ]
    ended_at = times.to_server_time_within(max((end for end in ends if end is not None), default=None), pod, now)
    # From the report of the end, by the API server's clock: the node's may be behind by more than the timeout.
    until = times.add_saturating(max(ended_at, pod.kubelet_status_time or ended_at), timeout)
    lost = XComError(
        Reason.XCOM_SIDECAR_FAILED,
        f"the result sidecar did not deliver the result within {timeout} s after the task's end",
    )
    return _wait_or_lose(snapshot, pod, until, now, lost)


def _await_others(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Pending:
    """Wait for the other containers. The kubelet stops the sidecar after them, and their end re-queues this task."""
    deleted_at = pod.metadata.deletion_timestamp
    if deleted_at is None:
        return Pending()
    until = times.add_saturating(deleted_at, settings.result_seconds)
    lost = XComError(Reason.XCOM_LOST, f"the Pod has not ended; node {pod.spec.node_name} may be unreachable")
    return _wait_or_lose(snapshot, pod, until, now, lost)


def _wait_or_lose(snapshot: TaskSnapshot, pod: Pod, until: datetime, now: datetime, lost: XComError) -> Pending:
    """Wait until then. Raise `lost` only after a live read, because the cache may be minutes behind."""
    if now < until:
        return Pending(until=until)
    if snapshot.live_version != pod.metadata.resource_version:
        return Pending(actions=(ReadPod(name=pod.metadata.name, uid=pod.metadata.uid),))
    raise lost


def _read_log(snapshot: TaskSnapshot, pod: Pod, envelope: Envelope, xcom: XComSpec) -> bytes | Pending:
    log = snapshot.result_log
    if log is None or log.pod_uid != pod.metadata.uid:
        if snapshot.log_failures >= LOG_READS:
            raise XComError(Reason.XCOM_LOST, "the sidecar's log could not be read")
        return Pending(actions=(ReadResultLog(name=pod.metadata.name, uid=pod.metadata.uid),))
    if log.error:
        raise XComError(Reason.XCOM_LOST, f"the sidecar's log could not be read: {log.error}")
    return xcom_envelope.open_log(log.content, envelope, xcom_injection.max_bytes(xcom))
