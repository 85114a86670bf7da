"""What to do about one task: a value that `decide` returns and `runtime.apply` carries out.

Actions are carried out in order until one fails. The rest is decided again from a new snapshot, so no action is ever
rolled back.
"""

from datetime import datetime

import msgspec

from .snapshot import TaskStatus


class Action(msgspec.Struct, frozen=True, tag=True):
    """One request to the API server."""


class CreatePod(Action, frozen=True):
    """Create the Pod of an attempt. If a Pod of that name exists and is the attempt's, it is adopted."""

    attempt: int
    name: str


class WriteStatus(Action, frozen=True):
    """Write the status, with the resourceVersion of the snapshot as the precondition."""

    status: TaskStatus


class StopPod(Action, frozen=True):
    """Stop a started Pod by an activeDeadlineSeconds of 1. The kubelet stops it; result, log and Pod stay."""

    name: str
    uid: str
    reason: str


class DeletePod(Action, frozen=True):
    """Delete a Pod. A reason is first written to the Pod as an annotation, so that it survives a restart."""

    name: str
    uid: str
    reason: str = ""
    grace_seconds: int | None = None


class RemoveFinalizer(Action, frozen=True):
    """Remove our finalizer from a Pod. Finalizers of others stay."""

    name: str
    uid: str


class RestoreLabels(Action, frozen=True):
    """Write our labels to the Pod of an attempt again. The watch selects Pods by them."""

    attempt: int
    name: str
    uid: str


class VerifyDeleted(Action, frozen=True):
    """Read a Pod from the API server, because its absence from the cache does not prove that it is gone."""

    name: str
    uid: str


class ReadPod(Action, frozen=True):
    """Read a Pod from the API server, because its state in the cache may be too old for the decision."""

    name: str
    uid: str


class ReadPodEvents(Action, frozen=True):
    """Read the Events of a Pod that does not start. The kubelet reports missing volumes only there."""

    name: str
    uid: str


class ReadResultLog(Action, frozen=True):
    """Read the sidecar's log, which has the result if that is too large for a termination message."""

    name: str
    uid: str


class DeleteTask(Action, frozen=True):
    """Delete the PodTask, whose time to live has passed."""


class Event(msgspec.Struct, frozen=True):
    """A Kubernetes Event, recorded after the actions succeeded."""

    kind: str
    """Warning or Normal."""
    reason: str
    message: str


class Plan(msgspec.Struct, frozen=True):
    """The actions to take now, and the time at which to decide again if no event comes before."""

    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    wake_at: datetime | None = None
    waits_for_slot: bool = False
    """The namespace has no free slot. The task is re-queued when one becomes free."""
    reserves_slot: bool = False
    """An earlier create may still be carried out, so its slot stays reserved whatever the actions are."""


def join(*plans: Plan) -> Plan:
    """Return one plan with the actions and events of all, in order, and the earliest wake_at."""
    wakes = [plan.wake_at for plan in plans if plan.wake_at is not None]
    return Plan(
        actions=tuple(action for plan in plans for action in plan.actions),
        events=tuple(event for plan in plans for event in plan.events),
        wake_at=min(wakes, default=None),
        waits_for_slot=any(plan.waits_for_slot for plan in plans),
        reserves_slot=any(plan.reserves_slot for plan in plans),
    )
