"""From the end of the main container to its result: what is known, what is still on the way, and what is lost.

A task is finished when its main container has ended and the envelope, or the proof that there is none, has been seen.
Nobody waits for the Pod's phase.
"""

from datetime import datetime

import msgspec

from ..api import names
from ..api.reasons import Reason
from ..api.v1alpha1.values import AttemptOutcome, ResultState
from . import clock, result, transport
from .ending import Ending
from .observed import Observed, Pod, Terminated, XComSpec, XComStatus
from .plan import ReadPod, ReadResultLog, Settings, Step

_REPLACEMENT = "\ufffd"
"""What the kubelet puts in the place of bytes that are no UTF-8, without a word."""

LOG_READS = 5
"""A log that could not be read so often is given up; with the queue's backoff that is about half a minute."""


class Waiting(msgspec.Struct, frozen=True):
    """The result is on the way."""

    steps: tuple[Step, ...] = ()
    until: datetime | None = None


class Settled(msgspec.Struct, frozen=True):
    """There is nothing more to wait for. With a `failure` the task failed for want of its result."""

    xcom: XComStatus | None = None
    failure: XComStatus | None = None


def collect(observed: Observed, pod: Pod, ending: Ending, settings: Settings, now: datetime) -> Waiting | Settled:
    """Say where the result of an ended attempt is."""
    xcom = observed.task.spec.xcom
    if xcom is None:
        return Settled()
    attempt = pod.attempt
    if ending.outcome is not AttemptOutcome.SUCCEEDED and xcom.on_failure != "Keep":
        return Settled(XComStatus(state=ResultState.DROPPED, reason=Reason.XCOM_DROPPED, attempt=attempt))
    try:
        content = _content(observed, pod, ending, xcom, settings, now)
        if isinstance(content, Waiting):
            return content
        return _judged(observed, content, xcom, attempt)
    except result.Missing:
        status = result.empty(attempt)
        return Settled(status, status if xcom.required else None)
    except result.ResultError as error:
        status = result.failed(error, attempt)
        tolerated = error.reason is Reason.XCOM_LOST and xcom.on_lost == "Drop"
        return Settled(status, None if tolerated else status)


def _judged(observed: Observed, content: bytes, xcom: XComSpec, attempt: int) -> Settled:
    judged = result.judge(content, transport.max_bytes(xcom), attempt)
    if observed.result_refused:
        raise result.ResultError(
            Reason.XCOM_TOO_LARGE,
            f"the result of {len(content)} bytes and the rest of the object are together more than the API server"
            " stores; make spec or result smaller",
        )
    return Settled(judged)


def _content(
    observed: Observed, pod: Pod, ending: Ending, xcom: XComSpec, settings: Settings, now: datetime
) -> bytes | Waiting:
    if transport.is_direct(pod):
        return _direct(pod, observed.task.spec.container_name, xcom)
    sidecar = pod.container(names.RESULT_CONTAINER)
    ended = sidecar.state.terminated if sidecar else None
    is_killed = ended is not None and ended.exit_code != 0 and pod.is_terminal
    # Two containers that end within one second are reported in any order, and in a Pod that is over none is restarted.
    if ended is None or (_was_early(ended, ending) and not is_killed):
        return _await_sidecar(observed, pod, ending, settings, now)
    if ended.exit_code != 0 or not ended.message:
        raise result.ResultError(
            Reason.XCOM_SIDECAR_FAILED,
            f"the sidecar ended with exit code {ended.exit_code} ({ended.reason or 'no reason'}) and no envelope",
        )
    envelope = result.parse_envelope(ended.message)
    if envelope.state != "log":
        return result.open_envelope(envelope, transport.max_bytes(xcom))
    if envelope.size > transport.max_bytes(xcom):
        raise result.too_large(envelope.size, transport.max_bytes(xcom))
    return _from_log(observed, pod, envelope, xcom)


def _was_early(sidecar: Terminated, ending: Ending) -> bool:
    """Whether the sidecar ended before the task: it is restarted then, and what it read was not the result yet."""
    if sidecar.finished_at is None or ending.finished_at is None:
        return False
    return sidecar.finished_at < ending.finished_at


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
    if len(content) >= min(transport.direct_limit(pod), transport.max_bytes(xcom) + 1):
        raise result.ResultError(
            Reason.XCOM_TOO_LARGE,
            f"a result of {len(content)} bytes or more does not fit into a termination message; use mode Auto",
        )
    return content


def _await_sidecar(observed: Observed, pod: Pod, ending: Ending, settings: Settings, now: datetime) -> Waiting:
    if pod.is_terminal:
        raise result.ResultError(Reason.XCOM_LOST, "the Pod went away before its result could be read")
    if any(other.state.terminated is None for other in pod.status.container_statuses):
        return _await_others(observed, pod, settings, now)
    patience = pod.spec.termination_grace_period_seconds + settings.result_seconds
    ends = [ending.finished_at] + [
        c.state.terminated.finished_at for c in pod.status.container_statuses if c.state.terminated
    ]
    ended = clock.by_kubelet_within(max((end for end in ends if end is not None), default=None), pod, now)
    # From when the end was told, by the server's clock: the node's may be behind by more than all this patience.
    until = clock.later(max(ended, pod.told_at or ended), patience)
    lost = result.ResultError(
        Reason.XCOM_SIDECAR_FAILED, f"the result sidecar did not deliver within {patience} s of the task's end"
    )
    return _wait_or_lose(observed, pod, until, now, lost)


def _await_others(observed: Observed, pod: Pod, settings: Settings, now: datetime) -> Waiting:
    """The sidecar is told to stop once every ordinary container has ended, and that end wakes this task."""
    gone_at = pod.metadata.deletion_timestamp
    if gone_at is None:
        return Waiting()
    until = clock.later(gone_at, settings.result_seconds)
    lost = result.ResultError(Reason.XCOM_LOST, f"the Pod does not end; node {pod.spec.node_name} may be unreachable")
    return _wait_or_lose(observed, pod, until, now, lost)


def _wait_or_lose(observed: Observed, pod: Pod, until: datetime, now: datetime, lost: result.ResultError) -> Waiting:
    """Wait until then. A result is given up by what the server has, never by a cache that may be minutes behind it."""
    if now < until:
        return Waiting(until=until)
    if observed.live_version != pod.metadata.resource_version:
        return Waiting(steps=(ReadPod(name=pod.metadata.name, uid=pod.metadata.uid),))
    raise lost


def _from_log(observed: Observed, pod: Pod, envelope: result.Envelope, xcom: XComSpec) -> bytes | Waiting:
    log = observed.result_log
    if log is None or log.pod_uid != pod.metadata.uid:
        if observed.log_failures >= LOG_READS:
            raise result.ResultError(Reason.XCOM_LOST, "the sidecar's log could not be read")
        return Waiting(steps=(ReadResultLog(name=pod.metadata.name, uid=pod.metadata.uid),))
    if log.error:
        raise result.ResultError(Reason.XCOM_LOST, f"the sidecar's log could not be read: {log.error}")
    return result.open_log(log.content, envelope, transport.max_bytes(xcom))
