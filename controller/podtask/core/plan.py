"""What to do about one task: a value that `decide` makes, tests compare and `apply` carries out.

Steps are carried out in order, and the first that fails ends the plan; whatever was not done is decided again from
what is then snapshot. So a plan never needs undoing.
"""

from datetime import datetime

import msgspec

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
