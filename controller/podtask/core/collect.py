"""From the end of the main container to its result: what is known, what is still on the way, and what is lost.

A task is finished when its main container has ended and the envelope, or the proof that there is none, has been seen.
Nobody waits for the Pod's phase.
"""

from datetime import datetime

import msgspec

from ..api import names
from ..api.reasons import Reason
from ..api.v1alpha1.values import AttemptOutcome, ResultState
from . import result, times, xcom_injection
from .plan import Action, ReadPod, ReadResultLog
from .pod import Pod, Terminated
from .settings import Settings
from .snapshot import TaskSnapshot, XComSpec, XComStatus
from .termination import Termination

_REPLACEMENT = "\ufffd"
"""What the kubelet puts in the place of bytes that are no UTF-8, without a word."""

LOG_READS = 5
"""A log that could not be read so often is given up; with the queue's backoff that is about half a minute."""


class Pending(msgspec.Struct, frozen=True):
    """The result is on the way."""

    actions: tuple[Action, ...] = ()
    until: datetime | None = None


class Done(msgspec.Struct, frozen=True):
    """There is nothing more to wait for. With a `failure` the task failed for want of its result."""

    xcom: XComStatus | None = None
    failure: XComStatus | None = None


def collect(
    snapshot: TaskSnapshot, pod: Pod, termination: Termination, settings: Settings, now: datetime
) -> Pending | Done:
    """Say where the result of an ended attempt is."""
    xcom = snapshot.task.spec.xcom
    if xcom is None:
        return Done()
    attempt = pod.attempt
    if termination.outcome is not AttemptOutcome.SUCCEEDED and xcom.on_failure != "Keep":
        return Done(XComStatus(state=ResultState.DROPPED, reason=Reason.XCOM_DROPPED, attempt=attempt))
    try:
        content = _content(snapshot, pod, termination, xcom, settings, now)
        if isinstance(content, Pending):
            return content
        return _judged(snapshot, content, xcom, attempt)
    except result.Missing:
        status = result.empty(attempt)
        return Done(status, status if xcom.required else None)
    except result.ResultError as error:
        status = result.failed(error, attempt)
        tolerated = error.reason is Reason.XCOM_LOST and xcom.on_lost == "Drop"
        return Done(status, None if tolerated else status)


def _judged(snapshot: TaskSnapshot, content: bytes, xcom: XComSpec, attempt: int) -> Done:
    judged = result.judge(content, xcom_injection.max_bytes(xcom), attempt)
    if snapshot.result_refused:
        raise result.ResultError(
            Reason.XCOM_TOO_LARGE,
            f"the result of {len(content)} bytes and the rest of the object are together more than the API server"
            " stores; make spec or result smaller",
        )
    return Done(judged)


def _content(
    snapshot: TaskSnapshot, pod: Pod, termination: Termination, xcom: XComSpec, settings: Settings, now: datetime
) -> bytes | Pending:
    if xcom_injection.is_direct(pod):
        return _direct(pod, snapshot.task.spec.container_name, xcom)
    sidecar = pod.container(names.RESULT_CONTAINER)
    ended = sidecar.state.terminated if sidecar else None
    is_killed = ended is not None and ended.exit_code != 0 and pod.is_terminal
    # Two containers that end within one second are reported in any order, and in a Pod that is over none is restarted.
    if ended is None or (_was_early(ended, termination) and not is_killed):
        return _await_sidecar(snapshot, pod, termination, settings, now)
    if ended.exit_code != 0 or not ended.message:
        raise result.ResultError(
            Reason.XCOM_SIDECAR_FAILED,
            f"the sidecar ended with exit code {ended.exit_code} ({ended.reason or 'no reason'}) and no envelope",
        )
    envelope = result.parse_envelope(ended.message)
    if envelope.state != "log":
        return result.open_envelope(envelope, xcom_injection.max_bytes(xcom))
    if envelope.size > xcom_injection.max_bytes(xcom):
        raise result.too_large(envelope.size, xcom_injection.max_bytes(xcom))
    return _from_log(snapshot, pod, envelope, xcom)


def _was_early(sidecar: Terminated, termination: Termination) -> bool:
    """Whether the sidecar ended before the task: it is restarted then, and what it read was not the result yet."""
    if sidecar.finished_at is None or termination.finished_at is None:
        return False
    return sidecar.finished_at < termination.finished_at


def _direct(pod: Pod, container: str, xcom: XComSpec) -> bytes:
    main = pod.container(container)
    ended = main.state.terminated if main else None
    if ended is None:
        raise result.ResultError(Reason.XCOM_LOST, "the Pod went away before its result could be read")
    if _REPLACEMENT in ended.message:
        raise result.ResultError(
            Reason.XCOM_INVALID,
            "the result is not UTF-8, or holds U+FFFD, which a termination message cannot tell from it; "
            "write \\ufffd, or set xcom.maxBytes to 4096 or more",
        )
    content = ended.message.encode()
    if len(content) >= min(xcom_injection.direct_limit(pod), xcom_injection.max_bytes(xcom) + 1):
        raise result.ResultError(
            Reason.XCOM_TOO_LARGE,
            f"a result of {len(content)} bytes or more does not fit into a termination message; use mode Auto",
        )
    return content


def _await_sidecar(
    snapshot: TaskSnapshot, pod: Pod, termination: Termination, settings: Settings, now: datetime
) -> Pending:
    if pod.is_terminal:
        raise result.ResultError(Reason.XCOM_LOST, "the Pod went away before its result could be read")
    if any(other.state.terminated is None for other in pod.status.container_statuses):
        return _await_others(snapshot, pod, settings, now)
    patience = pod.spec.termination_grace_period_seconds + settings.result_seconds
    ends = [termination.finished_at] + [
        c.state.terminated.finished_at for c in pod.status.container_statuses if c.state.terminated
    ]
    ended = times.to_server_time_within(max((end for end in ends if end is not None), default=None), pod, now)
    # From when the end was told, by the server's clock: the node's may be behind by more than all this patience.
    until = times.add_saturating(max(ended, pod.kubelet_status_time or ended), patience)
    lost = result.ResultError(
        Reason.XCOM_SIDECAR_FAILED, f"the result sidecar did not deliver within {patience} s of the task's end"
    )
    return _wait_or_lose(snapshot, pod, until, now, lost)


def _await_others(snapshot: TaskSnapshot, pod: Pod, settings: Settings, now: datetime) -> Pending:
    """The sidecar is told to stop once every ordinary container has ended, and that end wakes this task."""
    gone_at = pod.metadata.deletion_timestamp
    if gone_at is None:
        return Pending()
    until = times.add_saturating(gone_at, settings.result_seconds)
    lost = result.ResultError(Reason.XCOM_LOST, f"the Pod does not end; node {pod.spec.node_name} may be unreachable")
    return _wait_or_lose(snapshot, pod, until, now, lost)


def _wait_or_lose(
    snapshot: TaskSnapshot, pod: Pod, until: datetime, now: datetime, lost: result.ResultError
) -> Pending:
    """Wait until then. A result is given up by what the server has, never by a cache that may be minutes behind it."""
    if now < until:
        return Pending(until=until)
    if snapshot.live_version != pod.metadata.resource_version:
        return Pending(actions=(ReadPod(name=pod.metadata.name, uid=pod.metadata.uid),))
    raise lost


def _from_log(snapshot: TaskSnapshot, pod: Pod, envelope: result.Envelope, xcom: XComSpec) -> bytes | Pending:
    log = snapshot.result_log
    if log is None or log.pod_uid != pod.metadata.uid:
        if snapshot.log_failures >= LOG_READS:
            raise result.ResultError(Reason.XCOM_LOST, "the sidecar's log could not be read")
        return Pending(actions=(ReadResultLog(name=pod.metadata.name, uid=pod.metadata.uid),))
    if log.error:
        raise result.ResultError(Reason.XCOM_LOST, f"the sidecar's log could not be read: {log.error}")
    return result.open_log(log.content, envelope, xcom_injection.max_bytes(xcom))
