"""Times from other machines, and sums that cannot fail.

The kubelet's clock may be wrong in both directions, while the API server's, the scheduler's and ours are taken for
one. What a kubelet says counts only between the Pod's creation and now; and where it claims to have taken the Pod
before the scheduler gave it, it is slow by that much at least, and its times are moved on. How much slower than that
cannot be known (a kubelet may take its Pods late), so nothing is given up by these times alone: the API server notes
by its own clock when the kubelet spoke last (`Pod.kubelet_status_time`), and patience begins there.
"""

import zlib
from datetime import UTC, datetime, timedelta

from .pod import Pod

_LAST = datetime.max.replace(tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def add_saturating(moment: datetime, seconds: float) -> datetime:
    """Add seconds, and stop at the end of time: users may set a grace period of 2**63 seconds."""
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return _LAST


def sub_saturating(moment: datetime, seconds: float) -> datetime:
    """Take seconds away, and stop at the beginning of Unix time."""
    try:
        return moment - timedelta(seconds=seconds)
    except OverflowError:
        return _EPOCH


def spread_seconds(uid: str) -> float:
    """Draw a share of a second from a uid, the same each time.

    Kubelets and statuses tell whole seconds, so all that ended within one would be due at one moment, and what comes
    then waits behind it (docs/design/0010).
    """
    return zlib.crc32(uid.encode()) / 2**32


def nonzero(moment: datetime | None) -> datetime | None:
    """Give a kubelet's time, or None where it writes 1970 (or the year 1) for a thing that never happened."""
    return moment if moment is not None and moment > _EPOCH else None


def min_clock_skew(pod: Pod) -> timedelta:
    """Say how far the kubelet's clock is behind at least."""
    scheduled = pod.condition("PodScheduled")
    taken = pod.status.start_time
    if scheduled is None or scheduled.status != "True" or scheduled.last_transition_time is None or taken is None:
        return timedelta(0)
    return max(scheduled.last_transition_time - taken, timedelta(0))


def to_server_time(moment: datetime, pod: Pod) -> datetime:
    """Give a kubelet's time on our clock, as far as that is known."""
    return add_saturating(moment, min_clock_skew(pod).total_seconds())


def clamp(moment: datetime | None, pod: Pod, now: datetime) -> datetime:
    """Hold a time between the Pod's creation and now."""
    created = pod.metadata.creation_timestamp or now
    return min(max(moment or created, created), max(now, created))


def to_server_time_within(moment: datetime | None, pod: Pod, now: datetime) -> datetime:
    """Hold a kubelet's time between the Pod's creation and when the kubelet said so: it cannot tell the future."""
    at = clamp(to_server_time(moment, pod) if moment else None, pod, now)
    return min(at, pod.kubelet_status_time or at)
