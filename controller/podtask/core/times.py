"""Times from other machines, and arithmetic that cannot overflow.

The clocks of the API server, the scheduler and the controller are assumed to agree. A kubelet's clock may be ahead or
behind. Its times are clamped to the interval from the Pod's creation to now. If its startTime is before the scheduler's
condition PodScheduled, the clock is behind by at least the difference, which is added. The true skew may be larger,
because a kubelet may start its Pods late. So no result is given up by a kubelet's times alone: timeouts count from the
API server's time of the kubelet's last status write (`Pod.kubelet_status_time`).
"""

import zlib
from datetime import UTC, datetime, timedelta

from .pod import Pod

_LAST = datetime.max.replace(tzinfo=UTC)
_MAX_RETRY_SECONDS = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def add_saturating(moment: datetime, seconds: float) -> datetime:
    """Add seconds, at most to the year 9999: users may set a grace period of 2**63 seconds."""
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return _LAST


def retry_at(last: datetime, count: int) -> datetime:
    """Return when a request that was made `count` times, last at `last`, is repeated: after 2, 4, 8 ... 60 s."""
    return add_saturating(last, min(2 ** min(count, 6), _MAX_RETRY_SECONDS))


def sub_saturating(moment: datetime, seconds: float) -> datetime:
    """Subtract seconds, with 1970 as the result of an overflow."""
    try:
        return moment - timedelta(seconds=seconds)
    except OverflowError:
        return _EPOCH


def spread_seconds(uid: str) -> float:
    """Return a fraction of a second, at least 0 and below 1, that depends only on the uid.

    Times in statuses are whole seconds. Without this spread all tasks that ended within one second would be due at
    once, and delay the events after them (docs/design/0010).
    """
    return zlib.crc32(uid.encode()) / 2**32


def nonzero(moment: datetime | None) -> datetime | None:
    """Return a kubelet's time, or None for 1970 and the year 1, which it writes for events that never happened."""
    return moment if moment is not None and moment > _EPOCH else None


def min_clock_skew(pod: Pod) -> timedelta:
    """Lower bound of the kubelet's clock skew: PodScheduled.lastTransitionTime minus status.startTime, at least 0."""
    scheduled = pod.condition("PodScheduled")
    started_at = pod.status.start_time
    if scheduled is None or scheduled.status != "True" or scheduled.last_transition_time is None or started_at is None:
        return timedelta(0)
    return max(scheduled.last_transition_time - started_at, timedelta(0))


def to_server_time(moment: datetime, pod: Pod) -> datetime:
    """Return a kubelet's time by the API server's clock, as far as the skew is known."""
    return add_saturating(moment, min_clock_skew(pod).total_seconds())


def clamp(moment: datetime | None, pod: Pod, now: datetime) -> datetime:
    """Clamp a time to the interval from the Pod's creation to now. None becomes the Pod's creation."""
    created = pod.metadata.creation_timestamp or now
    return min(max(moment or created, created), max(now, created))


def to_server_time_within(moment: datetime | None, pod: Pod, now: datetime) -> datetime:
    """Return a kubelet's time by the API server's clock, clamped to the time of its last status write."""
    at = clamp(to_server_time(moment, pod) if moment else None, pod, now)
    return min(at, pod.kubelet_status_time or at)
