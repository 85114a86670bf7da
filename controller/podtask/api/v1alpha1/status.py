"""The observed state: `status` of a PodTask. Only the controller writes it."""

from typing import Annotated

from pydantic import ConfigDict, Field

from ..types import (
    DISTINCT_NUMBERS,
    DISTINCT_TYPES,
    Bytes,
    ExitCode,
    Int,
    Int32,
    Int64,
    Model,
    Name,
    ShortText,
    Text,
    Timestamp,
    map_by,
)
from .values import (
    MAX_ATTEMPTS_KEPT,
    MAX_LOG_TAIL,
    MAX_RESULT_BYTES,
    AttemptOutcome,
    ConditionStatus,
    Phase,
    ResultState,
)

Number = Annotated[Int, Field(ge=1, le=2**31 - 1)]
ConditionType = Annotated[
    str,
    Field(
        max_length=316,
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
        r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
    ),
]
ConditionReason = Annotated[
    str, Field(min_length=1, max_length=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
]


class Condition(Model):
    """A condition of the task, with the fields and limits of metav1.Condition."""

    type: ConditionType
    """Type of the condition: Finished, Succeeded or Suspended."""
    status: ConditionStatus
    """Status of the condition: True, False or Unknown."""
    reason: ConditionReason
    """Reason of the last change, in one word."""
    message: Annotated[str, Field(max_length=32_768)]
    """Message about the last change, for people."""
    last_transition_time: Timestamp
    """Time at which the status of the condition changed last."""
    observed_generation: Int64 | None = None
    """Generation of the PodTask that the condition was written for."""


class Attempt(Model):
    """One attempt, which is one Pod."""

    number: Number
    """Number of the attempt, from 1."""
    pod_name: Name
    """Name of the Pod."""
    pod_uid: Annotated[ShortText | None, Field(alias="podUID")] = None
    """UID of the Pod."""
    node_name: Name | None = None
    """Name of the node that ran the Pod."""
    image_id: Annotated[Annotated[str, Field(max_length=1024)] | None, Field(alias="imageID")] = None
    """Image that ran, with its digest."""
    creation_time: Timestamp | None = None
    """Time at which the Pod was created."""
    admission_time: Timestamp | None = None
    """Time at which the scheduling gates of the Pod were removed, if it had any."""
    start_time: Timestamp | None = None
    """Time at which the task's container started."""
    completion_time: Timestamp | None = None
    """Time at which the attempt ended."""
    outcome: AttemptOutcome | None = None
    """What the attempt counts as: Failed counts against backoffLimit, Disrupted against disruptionLimit, the others
    against nothing. It is not set while the attempt runs."""
    exit_code: ExitCode | None = None
    """Exit code of the task's container."""
    reason: ShortText | None = None
    """Reason for the end of the attempt, in one word, such as OOMKilled."""
    message: Text | None = None
    """Message about the end of the attempt, for people."""
    log_tail: Annotated[str, Field(max_length=MAX_LOG_TAIL)] | None = None
    """Last part of the log of a container that failed, up to 2048 characters."""


class XComStatus(Model):
    """The result of the task."""

    state: ResultState
    """Whether the result was read (Collected), there is no file or a blank one (Empty), it could not be read (Failed),
    or it was not kept because the task failed (Dropped)."""
    value: Annotated[str, Field(max_length=MAX_RESULT_BYTES)] | None = None
    """Content of the file: JSON as a string, unchanged."""
    size_bytes: Bytes | None = None
    """Size of the file in bytes."""
    sha256: Annotated[str, Field(max_length=64)] | None = None
    """SHA-256 of the file, in hexadecimal."""
    reason: ShortText | None = None
    """Reason why there is no value, in one word."""
    message: Text | None = None
    """Message about why there is no value, for people."""
    attempt: Number | None = None
    """Number of the attempt that wrote the file."""


class PodTaskStatus(Model):
    """The observed state: phase, attempts and result. Only the controller writes it."""

    # Atomic: managedFields of each single field would be a quarter of the size of a finished task.
    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    observed_generation: Int64 | None = None
    """Generation of the PodTask that the controller has acted on last."""
    phase: Phase
    """Phase of the task. Suspended, Pending and Running can change; Succeeded, Failed, Cancelled and Skipped are
    terminal."""
    reason: ShortText | None = None
    """Reason of the phase, in one word, such as ImagePullFailed. The project's documentation lists all reasons."""
    message: Text | None = None
    """Message about the phase, for people."""
    start_time: Timestamp | None = None
    """Time at which the controller began to work on the task."""
    completion_time: Timestamp | None = None
    """Time at which the task ended, in success or not."""
    exit_code: ExitCode | None = None
    """Exit code of the task's container in the last attempt."""
    attempt_count: Int32 | None = None
    """Number of attempts that have ended."""
    failure_count: Int32 | None = None
    """Number of attempts that counted against backoffLimit."""
    disruption_count: Int32 | None = None
    """Number of attempts that counted against disruptionLimit."""
    next_attempt_time: Timestamp | None = None
    """Earliest time of the next attempt."""
    suspended_seconds: Int64 | None = None
    """Seconds that the task has been suspended in all. Deadlines do not count them."""
    spec_hash: Annotated[str, Field(max_length=64)] | None = None
    """Hash of the spec of the first attempt. The controller compares it to detect edits that the API server cannot."""
    conditions: (
        Annotated[list[Condition], Field(max_length=16, json_schema_extra=map_by("type")), DISTINCT_TYPES] | None
    ) = None
    """Conditions of the task. Finished is True at every end, Succeeded tells success from failure, Suspended is True
    during a suspension."""
    attempts: (
        Annotated[
            list[Attempt], Field(max_length=MAX_ATTEMPTS_KEPT, json_schema_extra=map_by("number")), DISTINCT_NUMBERS
        ]
        | None
    ) = None
    """The last 20 attempts, oldest first."""
    xcom: XComStatus | None = None
    """Result of the task, if spec.xcom asks for one."""
