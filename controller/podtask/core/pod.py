"""A Pod as the controller sees it: frozen views with only the fields that are judged.

The views have the wire's own shape, so that a watch line is decoded straight into them (4 us and 1.5 KiB for a Pod).
Times are aware datetimes. What is absent on the wire has a default here, so that judging needs no special cases.
"""

from datetime import datetime

import msgspec

from ..api import names
from . import identity
from .wire import Metadata, View

STOP_DEADLINE_SECONDS = 1
"""activeDeadlineSeconds of a Pod that is to stop."""

_ATTEMPT_DIGITS = 7


class Owned(View, frozen=True):
    """A field that a manager owns; what lies below it is not looked at."""


class OwnedStatus(View, frozen=True):
    """What a manager owns of a Pod's status, as far as it is judged."""

    container_statuses: Owned | None = msgspec.field(default=None, name="f:containerStatuses")


class OwnedFields(View, frozen=True):
    """What a manager owns of a Pod, as far as it is judged."""

    status: OwnedStatus | None = msgspec.field(default=None, name="f:status")


class Written(View, frozen=True):
    """What one manager wrote of an object, and when it last changed it: the API server's own note, by its own clock."""

    subresource: str = ""
    time: datetime | None = None
    fields_v1: OwnedFields | None = None

    @property
    def is_kubelet(self) -> bool:
        """Whether a kubelet wrote it, by what it owns: its name is that of the program it is a part of (k3s, kubelite).

        A readiness gate's controller owns its own condition alone, and may change it at any time.
        """
        owned = self.fields_v1.status if self.fields_v1 else None
        return self.subresource == "status" and owned is not None and owned.container_statuses is not None


class PodMetadata(Metadata, frozen=True):
    """Of Pods it also matters when the kubelet spoke."""

    managed_fields: tuple[Written, ...] = ()


class Waiting(View, frozen=True):
    """A container that has not started."""

    reason: str = ""
    message: str = ""


class Running(View, frozen=True):
    """A container that runs."""

    started_at: datetime | None = None


class Terminated(View, frozen=True):
    """A container that has ended."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(View, frozen=True):
    """Exactly one of the three is set, or none before the kubelet has spoken."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(View, frozen=True):
    """One container as the kubelet reports it."""

    name: str
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()
    image_id: str = msgspec.field(default="", name="imageID")
    restart_count: int = 0


class Condition(View, frozen=True):
    """A condition of a Pod."""

    type: str
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class PodStatus(View, frozen=True):
    """What the kubelet and the scheduler say."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    start_time: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Gate(View, frozen=True):
    """A scheduling gate."""

    name: str


class ContainerSpec(View, frozen=True):
    """A container of the Pod's spec; of its settings only these matter once it exists."""

    name: str
    restart_policy: str = ""
    termination_message_path: str = ""


class PodSpec(View, frozen=True):
    """What was asked for."""

    node_name: str = ""
    active_deadline_seconds: int | None = None
    termination_grace_period_seconds: int = 30
    scheduling_gates: tuple[Gate, ...] = ()
    containers: tuple[ContainerSpec, ...] = ()
    init_containers: tuple[ContainerSpec, ...] = ()
    ephemeral_containers: tuple[ContainerSpec, ...] = ()


class Pod(View, frozen=True):
    """One Pod."""

    metadata: PodMetadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    def container(self, name: str) -> ContainerStatus | None:
        """The status of a container or init container, if the kubelet has given one."""
        for status in self.status.container_statuses + self.status.init_container_statuses:
            if status.name == name:
                return status
        return None

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return next((c for c in self.status.conditions if c.type == kind), None)

    @property
    def kubelet_status_time(self) -> datetime | None:
        """When the kubelet last changed the status, by the API server's clock; None where no kubelet is known."""
        return max((w.time for w in self.kubelet_managed_fields if w.time is not None), default=None)

    @property
    def kubelet_managed_fields(self) -> tuple[Written, ...]:
        """The API server's notes of the kubelet's writes."""
        return tuple(w for w in self.metadata.managed_fields if w.is_kubelet)

    @property
    def attempt(self) -> int:
        """The number of the attempt, or 0 where the label is not a number."""
        text = self.metadata.labels.get(names.LABEL_ATTEMPT, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= _ATTEMPT_DIGITS else 0

    @property
    def task_key(self) -> str | None:
        """The key (`identity.task_key`) of the PodTask that its label names, None without the label.

        A PodTask and its Pods share a namespace, so a label cannot name a PodTask of another one.
        """
        uid = self.metadata.labels.get(names.LABEL_TASK_UID)
        return None if uid is None else identity.task_key(self.metadata.namespace, uid)

    @property
    def task_name(self) -> str:
        """The name of the PodTask that it says it belongs to."""
        return self.metadata.annotations.get(names.ANNOTATION_TASK, "")

    @property
    def stop_reason(self) -> str:
        """Why the controller stopped this Pod, or nothing."""
        return self.metadata.annotations.get(names.ANNOTATION_STOP, "")

    @property
    def stop_time(self) -> datetime | None:
        """When the kubelet was asked to stop this Pod, by the controller's clock; None where no such time is noted."""
        try:
            noted = datetime.fromisoformat(self.metadata.annotations.get(names.ANNOTATION_STOP_TIME, ""))
        except ValueError:
            return None
        return noted if noted.tzinfo is not None else None

    @property
    def is_stopping(self) -> bool:
        """Whether a request to stop it has arrived. The reason alone is no request: a DELETE notes it beforehand."""
        if self.metadata.deletion_timestamp is not None:
            return True
        return bool(self.stop_reason) and self.spec.active_deadline_seconds == STOP_DEADLINE_SECONDS

    @property
    def is_terminal(self) -> bool:
        """Whether nothing of it runs and nothing will."""
        if self.status.phase in {"Succeeded", "Failed"}:
            return True
        deleted = self.metadata.deletion_timestamp is not None
        return deleted and (not self.spec.node_name or self.metadata.deletion_grace_period_seconds == 0)

    @property
    def has_finalizer(self) -> bool:
        """Whether our finalizer is still on it."""
        return names.FINALIZER in self.metadata.finalizers

    def is_owned_by(self, task_uid: str) -> bool:
        """Whether its controller reference, which users cannot forge without owning the task, names this task."""
        return any(o.controller and o.uid == task_uid for o in self.metadata.owner_references)
