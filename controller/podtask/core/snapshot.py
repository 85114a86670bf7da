"""What is known about one task: the PodTask, its Pods, and what requests have shown. Only fields that decisions need.

A contract test compares the structs of the PodTask with the pydantic models of the API.
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
    """spec.xcom, as far as decisions need it."""

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
    """spec.template.metadata, as far as decisions need it."""

    name: str | None = None


class TemplateSpec(View, frozen=True):
    """spec.template, as far as decisions need it."""

    metadata: TemplateMetadata | None = None


class TaskSpec(View, frozen=True):
    """spec of a PodTask, as far as decisions need it. `Task.raw_spec` has the rest, for the Pod."""

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
    """A factory, because a plain default is omitted from the write: a return to Pending would remove the phase."""
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
        """Whether the task has finished; its phase does not change again."""
        return self.phase in TERMINAL


class Task(View, frozen=True):
    """One PodTask."""

    metadata: Metadata
    spec: TaskSpec = TaskSpec()
    status: TaskStatus = TaskStatus()
    raw_spec: bytes = b""
    """The whole spec as JSON. Empty if no Pod will be built from it."""
    spec_bytes: int = 0
    """The length of the spec as JSON, also where `raw_spec` is empty."""
    problem: str = ""
    """Why the object could not be decoded, or empty. If set, spec and status are the defaults."""

    @property
    def key(self) -> str:
        """Its key (`identity.task_key`)."""
        return identity.task_key(self.metadata.namespace, self.metadata.uid)

    @property
    def exact_pod_name(self) -> str | None:
        """The name of every attempt's Pod, if the user fixed it in the template."""
        metadata = self.spec.template.metadata if self.spec.template else None
        return metadata.name if metadata else None


# ---- results of requests ----


class CreateError(View, frozen=True):
    """The error of the last create of a Pod."""

    attempt: int
    code: int
    reason: str
    message: str
    at: datetime
    count: int = 1
    """How many creates in a row have failed."""


class Relabelled(View, frozen=True):
    """How often our labels were restored on a Pod, and when last."""

    pod_uid: str
    at: datetime
    count: int


class ResultLog(View, frozen=True):
    """The sidecar's log, or why it cannot be read."""

    pod_uid: str
    content: bytes = b""
    error: str = ""


class PodEvent(View, frozen=True):
    """An Event about a Pod."""

    reason: str = ""
    message: str = ""
    last_timestamp: datetime | None = None


class PodEvents(View, frozen=True):
    """The Events of a Pod as last read; empty if the read failed."""

    pod_uid: str
    again_at: datetime
    """Not to be read again before."""
    events: tuple[PodEvent, ...] = ()


class TaskSnapshot(View, frozen=True):
    """Everything about one task at one moment."""

    task: Task
    pods: tuple[Pod, ...] = ()
    create_error: CreateError | None = None
    conflicting_pod: Pod | None = None
    """The Pod that has the attempt's name and is not the task's, as read after our create conflicted with it."""
    conflicting_task: Task | None = None
    """The PodTask that `conflicting_pod` names as its own, if the cache has it."""
    gone_pods: frozenset[str] = frozenset()
    """Uids of Pods that a live read did not find."""
    unlabelled_pod: Pod | None = None
    """The Pod that a live read found by the attempt's name, and that the watch misses for lack of our labels."""
    lost_pod: str = ""
    """Uid of the last Pod whose deletion the watch reported while it still had our finalizer."""
    relabelled: Relabelled | None = None
    live_version: str = ""
    """The resourceVersion of the Pod at the last live read."""
    pod_events: PodEvents | None = None
    result_log: ResultLog | None = None
    result_refused: bool = False
    """The API server has refused a status with the result, because the object would exceed its size limit."""
    log_failures: int = 0
    """How often in a row the read of the sidecar's log has failed."""
    diagnosed_at: datetime | None = None
    """When a waiting reason was last written to the status."""
    unknown_create_deadline: datetime | None = None
    """Until then a create whose reply was lost may still be carried out."""
    slots_used: int = 0
    """Slots of the namespace that this task cannot have: running Pods, creates in progress, and older waiting tasks."""


def spec_as_dict(task: Task) -> dict[str, Any]:
    """Return the whole spec as new dicts, to build a Pod from."""
    decoded: dict[str, Any] = msgspec.json.decode(task.raw_spec) if task.raw_spec else {}
    return decoded


def spec_hash(task: Task) -> str:
    """Return the digest of the whole spec as it is now."""
    return identity.spec_hash(spec_as_dict(task))
