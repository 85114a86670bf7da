"""What to do about one task: a value that `decide` makes, tests compare and `apply` carries out.

Steps are carried out in order, and the first that fails ends the plan; whatever was not done is decided again from
what is then snapshot. So a plan never needs undoing.
"""

from datetime import datetime
from typing import Any

import msgspec

from .policy import Policy
from .snapshot import TaskStatus


class Action(msgspec.Struct, frozen=True, tag=True):
    """One thing to do."""


class CreatePod(Action, frozen=True):
    """Create the Pod of an attempt; a Pod of that name that is ours is adopted."""

    attempt: int
    name: str


class WriteStatus(Action, frozen=True):
    """Write the status, against the resourceVersion that was judged."""

    status: TaskStatus


class StopPod(Action, frozen=True):
    """Have the kubelet stop a started Pod by an activeDeadlineSeconds of 1: result, log and Pod stay."""

    name: str
    uid: str
    reason: str


class DeletePod(Action, frozen=True):
    """Delete a Pod. With a reason the reason is noted on the Pod first, so that it survives a restart."""

    name: str
    uid: str
    reason: str = ""
    grace_seconds: int | None = None


class RemoveFinalizer(Action, frozen=True):
    """Take our finalizer off a Pod, and no one else's."""

    name: str
    uid: str


class RestoreLabels(Action, frozen=True):
    """Put our labels back on the Pod of an attempt: the watch follows only what has them."""

    attempt: int
    name: str
    uid: str


class VerifyDeleted(Action, frozen=True):
    """Read a Pod live: a cache that does not have it is no proof that it is gone."""

    name: str
    uid: str


class ReadPod(Action, frozen=True):
    """Read a Pod live, whose state in the cache is too old to give something up by a clock."""

    name: str
    uid: str


class ReadPodEvents(Action, frozen=True):
    """Read the Events of a Pod that does not start: of volumes the kubelet speaks there and nowhere else."""

    name: str
    uid: str


class ReadResultLog(Action, frozen=True):
    """Read the sidecar's log, which holds a result that is too large for its message."""

    name: str
    uid: str


class DeleteTask(Action, frozen=True):
    """Delete the PodTask, whose time to live is over."""


class Event(msgspec.Struct, frozen=True):
    """A Kubernetes Event, recorded after the actions succeeded."""

    kind: str
    """Warning or Normal."""
    reason: str
    message: str


class Plan(msgspec.Struct, frozen=True):
    """What to do now, and when to look again if nothing happens before."""

    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    wake_at: datetime | None = None
    waits_for_slot: bool = False
    """The namespace runs as many Pods as it may: look again when one of them ends."""
    reserves_slot: bool = False
    """An earlier create may still be carried out: the place that was taken for it is not free, whatever is done now."""


class Settings(msgspec.Struct, frozen=True):
    """What the platform team decides, as far as `decide` needs it."""

    sidecar_image: str = "podtask-sidecar"
    sidecar_requests: dict[str, Any] = msgspec.field(default_factory=lambda: {"cpu": "5m", "memory": "16Mi"})
    sidecar_limits: dict[str, Any] = msgspec.field(default_factory=lambda: {"cpu": "100m", "memory": "64Mi"})
    sidecar_security_context: str = "auto"
    """auto: as the user of the task's container, or as root where that is not known; none: no user is set but the one
    that the task's container names."""
    pod_hold_seconds: int = 60
    """A finished Pod stays this long at least: longer than a Lease and a request, so no stale leader repeats it."""
    diagnosis_seconds: int = 5
    """A problem is written once it has lasted this long, and not more often than this."""
    progress_seconds: int = 20
    """How far a Pod has come that nothing holds up is written once its start has taken this long."""
    running_seconds: float = 1.0
    """That a task runs is written once it has run this long, and up to a second more."""
    result_seconds: int = 60
    """How long after its container's end a Pod may take to deliver the result, beyond its grace period."""
    image_pull_policy: str = ""
    """Of the sidecar's image; empty leaves it to Kubernetes."""
    policy: Policy = Policy()


def json_merge_patch(status: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """Give the smallest merge patch (RFC 7386) that turns `current` into `status`; neither has nulls."""
    changes: dict[str, Any] = {key: None for key in current if key not in status}
    for key, value in status.items():
        before = current.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            # An object in a patch is merged into what is there, not put in its place.
            inner = json_merge_patch(value, before)
            if inner:
                changes[key] = inner
        elif value != before:
            changes[key] = value
    return changes
