"""What is known about one task: frozen views of the PodTask and its Pods (`pod`), with only the fields that are judged.

A contract test proves that the task's half agrees with the pydantic models.
"""

from datetime import datetime
from typing import Any

import msgspec

from ..api import names
from ..api.v1alpha1.values import TERMINAL
from . import identity
from .pod import Pod
from .wire import Metadata, View

# ---- the PodTask ----


class XComSpec(View, frozen=True):
    """spec.xcom, as far as it is judged."""

    path: str | None = None
    required: bool = False
    max_bytes: int | None = None
    on_failure: str = "Drop"
    on_lost: str = "Fail"
    mode: str = "Auto"


class BackoffSpec(View, frozen=True):
    """spec.backoff."""

    initial_seconds: int = 10
    max_seconds: int = 360
    factor: int = 2


class ExitCodesSpec(View, frozen=True):
    """A rule's exit codes."""

    operator: str
    values: tuple[int, ...]
    container_name: str | None = None


class ReasonsSpec(View, frozen=True):
    """A rule's reasons."""

    values: tuple[str, ...]


class PodConditionSpec(View, frozen=True):
    """A rule's Pod condition."""

    type: str
    status: str = "True"


class RuleSpec(View, frozen=True):
    """One rule of the failure policy."""

    action: str
    on_exit_codes: ExitCodesSpec | None = None
    on_reasons: ReasonsSpec | None = None
    on_pod_conditions: tuple[PodConditionSpec, ...] = ()


class FailurePolicySpec(View, frozen=True):
    """spec.failurePolicy."""

    rules: tuple[RuleSpec, ...] = ()


class DeadlinesSpec(View, frozen=True):
    """spec.deadlines, in seconds."""

    schedule_seconds: int | None = None
    image_pull_seconds: int | None = None
    start_seconds: int | None = None
    run_seconds: int | None = None
    total_seconds: int | None = None


class TemplateMetadata(View, frozen=True):
    """spec.template.metadata, as far as it is judged."""

    name: str | None = None


class TemplateSpec(View, frozen=True):
    """spec.template, as far as it is judged."""

    metadata: TemplateMetadata | None = None


class TaskSpec(View, frozen=True):
    """spec of a PodTask, as far as it is judged. The rest is in `Task.raw_spec`, for the Pod."""

    container_name: str = names.DEFAULT_CONTAINER
    xcom: XComSpec | None = None
    backoff_limit: int = 0
    backoff: BackoffSpec = BackoffSpec()
    disruption_limit: int = 3
    failure_policy: FailurePolicySpec = FailurePolicySpec()
    deadlines: DeadlinesSpec = DeadlinesSpec()
    suspend: bool = False
    cancel: bool = False
    cancel_time: datetime | None = None
    managed_by: str = names.CONTROLLER
    ttl_seconds_after_finished: int | None = None
    ttl_seconds_after_succeeded: int | None = None
    ttl_seconds_after_failed: int | None = None
    pod_retention: str = "Delete"
    pod_ttl_seconds_after_finished: int | None = msgspec.field(default=None, name="podTTLSecondsAfterFinished")
    force_delete_pod_after_seconds: int | None = None
    template: TemplateSpec | None = None


class TaskCondition(View, frozen=True):
    """A condition of a PodTask."""

    type: str
    status: str
    reason: str
    last_transition_time: datetime
    message: str = msgspec.field(default_factory=str)
    """A factory, because a default would be left out of the write, and the schema requires it."""
    observed_generation: int | None = None


class Attempt(View, frozen=True):
    """An entry of status.attempts."""

    number: int
    pod_name: str
    pod_uid: str = msgspec.field(default="", name="podUID")
    node_name: str = ""
    image_id: str = msgspec.field(default="", name="imageID")
    creation_time: datetime | None = None
    admission_time: datetime | None = None
    start_time: datetime | None = None
    completion_time: datetime | None = None
    outcome: str = ""
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    log_tail: str = ""


class XComStatus(View, frozen=True):
    """status.xcom."""

    state: str
    value: str | None = None
    size_bytes: int | None = None
    sha256: str = ""
    reason: str = ""
    message: str = ""
    attempt: int | None = None


class TaskStatus(View, frozen=True):
    """status of a PodTask."""

    observed_generation: int = 0
    phase: str = msgspec.field(default_factory=lambda: "Pending")
    """A factory, because a default would be left out of the write: back to Pending would remove the phase."""
    reason: str = ""
    message: str = ""
    start_time: datetime | None = None
    completion_time: datetime | None = None
    exit_code: int | None = None
    attempt_count: int = 0
    failure_count: int = 0
    disruption_count: int = 0
    next_attempt_time: datetime | None = None
    suspended_seconds: int = 0
    spec_hash: str = ""
    conditions: tuple[TaskCondition, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    xcom: XComStatus | None = None

    def condition(self, kind: str) -> TaskCondition | None:
        """The condition of that type."""
        return next((c for c in self.conditions if c.type == kind), None)

    @property
    def phase_is_terminal(self) -> bool:
        """Whether the task is over for ever."""
        return self.phase in TERMINAL


class Task(View, frozen=True):
    """One PodTask."""

    metadata: Metadata
    spec: TaskSpec = TaskSpec()
    status: TaskStatus = TaskStatus()
    raw_spec: bytes = b""
    """The whole spec as JSON. Empty where nothing is built from it any more, or ever."""
    spec_bytes: int = 0
    """How long that is, or was."""
    problem: str = ""
    """Why the object could not be understood, where it could not; spec and status are then the defaults."""

    @property
    def key(self) -> str:
        """Its key: see `identity.task_key`."""
        return identity.task_key(self.metadata.namespace, self.metadata.uid)

    @property
    def exact_pod_name(self) -> str | None:
        """The name that every attempt's Pod must have, where the user fixed it."""
        metadata = self.spec.template.metadata if self.spec.template else None
        return metadata.name if metadata else None


# ---- what only a request could tell ----


class Refusal(View, frozen=True):
    """The API server's answer to the last create of a Pod."""

    attempt: int
    code: int
    reason: str
    message: str
    at: datetime
    count: int = 1
    """How many creates in a row were refused."""


class Relabelled(View, frozen=True):
    """How often a Pod was given our labels back, and when last."""

    pod_uid: str
    at: datetime
    count: int


class ResultLog(View, frozen=True):
    """What reading the sidecar's log gave: the log, or why it could not be had."""

    pod_uid: str
    content: bytes = b""
    error: str = ""


class PodEvent(View, frozen=True):
    """What somebody reported about a Pod."""

    reason: str = ""
    message: str = ""
    last_timestamp: datetime | None = None


class PodEvents(View, frozen=True):
    """The Events of a Pod as they were read last; none where they could not be read."""

    pod_uid: str
    again_at: datetime
    """Not to be asked for before."""
    events: tuple[PodEvent, ...] = ()


class TaskSnapshot(View, frozen=True):
    """Everything about one task at one moment."""

    task: Task
    pods: tuple[Pod, ...] = ()
    refusal: Refusal | None = None
    conflicting_pod: Pod | None = None
    """The Pod that has the next attempt's name and is not ours, as it was when our create met it."""
    conflicting_task: Task | None = None
    """The PodTask that it says it belongs to, where that is known."""
    gone_pods: frozenset[str] = frozenset()
    """Uids of Pods that a live read has shown to be gone."""
    unlabelled_pod: Pod | None = None
    """What a live read has found under the attempt's name, and the watch does not follow: it lacks our labels."""
    lost_pod: str = ""
    """Uid of the Pod of which the watch said last that it is gone, while our finalizer was still on it."""
    relabelled: Relabelled | None = None
    live_version: str = ""
    """The resourceVersion that the last live read of a Pod has given."""
    pod_events: PodEvents | None = None
    result_log: ResultLog | None = None
    result_refused: bool = False
    """The API server has refused a status with the result in it: the object would be larger than it stores."""
    log_failures: int = 0
    """How often in a row the sidecar's log could not be read."""
    diagnosed_at: datetime | None = None
    """When a diagnosis was last written."""
    unknown_create_deadline: datetime | None = None
    """Until then a create of ours, whose reply was lost, may still be carried out."""
    slots_used: int = 0
    """How much of the platform's limit is used up for this task: by live Pods of its namespace, by creates under way,
    and by older tasks that wait."""


def spec_as_dict(task: Task) -> dict[str, Any]:
    """Decode the whole spec, for building a Pod."""
    decoded: dict[str, Any] = msgspec.json.decode(task.raw_spec) if task.raw_spec else {}
    return decoded
