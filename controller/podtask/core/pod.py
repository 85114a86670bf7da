"""A Pod as the controller sees it: frozen structs with only the fields that decisions need.

They have the shape of the API server's JSON and are decoded directly from it (4 us and 1.5 KiB for a Pod). Times are
datetimes with a time zone. A field that is absent in the JSON has a default here.
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
    """A field that a manager owns. Its subfields are not decoded."""


class OwnedStatus(View, frozen=True):
    """The fields of a Pod's status that a manager owns, as far as decisions need them."""

    container_statuses: Owned | None = msgspec.field(default=None, name="f:containerStatuses")


class OwnedFields(View, frozen=True):
    """The fields of a Pod that a manager owns, as far as decisions need them."""

    status: OwnedStatus | None = msgspec.field(default=None, name="f:status")


class ManagedFieldsEntry(View, frozen=True):
    """An entry of metadata.managedFields: the fields of one manager, and when it last changed them.

    The API server writes it, by its own clock.
    """

    subresource: str = ""
    time: datetime | None = None
    fields_v1: OwnedFields | None = None

    @property
    def is_kubelet(self) -> bool:
        """Whether the manager is a kubelet: it owns status.containerStatuses.

        Its name does not show that, because it is that of the program (k3s, kubelite). The controller of a readiness
        gate owns only its own condition.
        """
        owned = self.fields_v1.status if self.fields_v1 else None
        return self.subresource == "status" and owned is not None and owned.container_statuses is not None


class PodMetadata(Metadata, frozen=True):
    """Metadata of a Pod, with the managed fields that show when the kubelet wrote last."""

    managed_fields: tuple[ManagedFieldsEntry, ...] = ()


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
    """At most one of the three is set; none before the kubelet has reported."""

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
    """The status that the kubelet and the scheduler report."""

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
    """A container of the Pod's spec, with the fields that decisions need."""

    name: str
    restart_policy: str = ""
    termination_message_path: str = ""


class PodSpec(View, frozen=True):
    """The spec of a Pod, with the fields that decisions need."""

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
        """The status of a container or init container, or None before the kubelet has reported it."""
        for status in self.status.container_statuses + self.status.init_container_statuses:
            if status.name == name:
                return status
        return None

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return next((c for c in self.status.conditions if c.type == kind), None)

    @property
    def kubelet_status_time(self) -> datetime | None:
        """When a kubelet last changed the status, by the API server's clock; None if none has."""
        return max((w.time for w in self.kubelet_managed_fields if w.time is not None), default=None)

    @property
    def kubelet_managed_fields(self) -> tuple[ManagedFieldsEntry, ...]:
        """The entries of metadata.managedFields that belong to a kubelet."""
        return tuple(w for w in self.metadata.managed_fields if w.is_kubelet)

    @property
    def attempt(self) -> int:
        """The number of the attempt, or 0 if the label is not a number."""
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
        """The name of the PodTask in its annotation, or an empty string."""
        return self.metadata.annotations.get(names.ANNOTATION_TASK, "")

    @property
    def stop_reason(self) -> str:
        """Why the controller stopped this Pod, or an empty string."""
        return self.metadata.annotations.get(names.ANNOTATION_STOP, "")

    @property
    def stop_time(self) -> datetime | None:
        """When the controller requested the stop, by the controller's clock; None without the annotation."""
        try:
            value = datetime.fromisoformat(self.metadata.annotations.get(names.ANNOTATION_STOP_TIME, ""))
        except ValueError:
            return None
        return value if value.tzinfo is not None else None

    @property
    def is_stopping(self) -> bool:
        """Whether the API server has a stop request. The reason alone is none: it is written before a DELETE."""
        if self.metadata.deletion_timestamp is not None:
            return True
        return bool(self.stop_reason) and self.spec.active_deadline_seconds == STOP_DEADLINE_SECONDS

    @property
    def is_terminal(self) -> bool:
        """Whether no container runs, and none will."""
        if self.status.phase in {"Succeeded", "Failed"}:
            return True
        deleted = self.metadata.deletion_timestamp is not None
        return deleted and (not self.spec.node_name or self.metadata.deletion_grace_period_seconds == 0)

    @property
    def has_finalizer(self) -> bool:
        """Whether our finalizer is still on it."""
        return names.FINALIZER in self.metadata.finalizers

    def is_owned_by(self, task_uid: str) -> bool:
        """Whether its controller owner reference names this task."""
        return any(o.controller and o.uid == task_uid for o in self.metadata.owner_references)
