"""What is: `status` of a PodTask. The whole story of the task, written by the controller alone."""

from typing import Annotated

from pydantic import ConfigDict, Field

from ..types import (
    DISTINCT_NUMBERS,
    DISTINCT_TYPES,
    Bytes,
    ExitCode,
    Int,
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

Generation = Annotated[Int, Field(ge=0, le=9_007_199_254_740_991)]
Tally = Annotated[Int, Field(ge=0, le=1_000_000)]
"""Larger than any limit of spec: attempts that a rule ignores are counted here and limited nowhere."""
Number = Annotated[Int, Field(ge=1, le=1_000_000)]


class Condition(Model):
    """A condition as in KEP-1623. Finished carries no observedGeneration, or `kubectl wait` hung after an edit."""

    type: ShortText
    """type is Finished, Succeeded or Suspended."""
    status: ConditionStatus
    """status True, False or Unknown."""
    reason: ShortText
    """reason in one word."""
    message: Text | None = None
    """message for people."""
    last_transition_time: Timestamp
    """lastTransitionTime is when status changed last."""
    observed_generation: Generation | None = None
    """observedGeneration of the spec that this condition speaks of."""


class Attempt(Model):
    """One Pod of the task."""

    number: Number
    """number of the attempt, from 1."""
    pod_name: Name
    """podName of the attempt."""
    pod_uid: Annotated[ShortText | None, Field(alias="podUID")] = None
    """podUID of the attempt."""
    node_name: Name | None = None
    """nodeName where it ran."""
    image_id: Annotated[Annotated[str, Field(max_length=1024)] | None, Field(alias="imageID")] = None
    """imageID that ran, by digest."""
    create_time: Timestamp | None = None
    """createTime of the Pod, by the API server's clock."""
    admitted_time: Timestamp | None = None
    """admittedTime is when the Pod's scheduling gates were lifted, where it had any."""
    start_time: Timestamp | None = None
    """startTime of the task's container."""
    finish_time: Timestamp | None = None
    """finishTime of the attempt."""
    outcome: AttemptOutcome | None = None
    """outcome says whose budget the end counts against; absent while the attempt lives."""
    exit_code: ExitCode | None = None
    """exitCode of the task's container."""
    reason: ShortText | None = None
    """reason of the end, in one word (docs/reference/reasons.md)."""
    message: Text | None = None
    """message of the end, for people."""
    log_tail: Annotated[str, Field(max_length=MAX_LOG_TAIL)] | None = None
    """logTail is the last of what a failed container wrote."""


class XComStatus(Model):
    """The result."""

    state: ResultState
    """state is Collected, Empty (no file, or a blank one), Failed (see reason) or Dropped (the task failed)."""
    value: Annotated[str, Field(max_length=MAX_RESULT_BYTES)] | None = None
    """value is the file's content: JSON, as a string, to the byte."""
    size_bytes: Bytes | None = None
    """sizeBytes of the file."""
    sha256: Annotated[str, Field(max_length=64)] | None = None
    """sha256 of the file, in hex."""
    reason: ShortText | None = None
    """reason where there is no value."""
    message: Text | None = None
    """message where there is no value."""
    attempt: Number | None = None
    """attempt that wrote it."""


class PodTaskStatus(Model):
    """The whole story of the task."""

    # Only the controller writes it, and a note of who wrote each single field is a quarter of a finished task.
    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    observed_generation: Generation | None = None
    """observedGeneration is the newest spec that the controller has acted on."""
    phase: Phase | None = None
    """phase of the task: Suspended, Pending, Running; Succeeded, Failed, Cancelled and Skipped are terminal."""
    reason: ShortText | None = None
    """reason of the phase, in one word (docs/reference/reasons.md)."""
    message: Text | None = None
    """message of the phase, for people."""
    start_time: Timestamp | None = None
    """startTime is when the controller took the task up."""
    completion_time: Timestamp | None = None
    """completionTime is when the task ended, however it ended."""
    exit_code: ExitCode | None = None
    """exitCode of the task's container in the last attempt."""
    attempt_count: Tally | None = None
    """attemptCount is how many attempts have ended."""
    failure_count: Tally | None = None
    """failureCount is how many counted against backoffLimit."""
    disruption_count: Tally | None = None
    """disruptionCount is how many counted against disruptionLimit."""
    next_attempt_time: Timestamp | None = None
    """nextAttemptTime is when the next attempt may begin."""
    suspended_seconds: Annotated[Int, Field(ge=0, le=9_007_199_254_740_991)] | None = None
    """suspendedSeconds spent suspended so far; clocks leave them out."""
    spec_hash: Annotated[str, Field(max_length=64)] | None = None
    """specHash of what the first attempt was made from; another one later is Failed/SpecChanged."""
    conditions: (
        Annotated[list[Condition], Field(max_length=16, json_schema_extra=map_by("type")), DISTINCT_TYPES] | None
    ) = None
    """conditions of the task: Finished is True after every end, Succeeded says whether it was a success, Suspended
    whether it is suspended."""
    attempts: (
        Annotated[
            list[Attempt], Field(max_length=MAX_ATTEMPTS_KEPT, json_schema_extra=map_by("number")), DISTINCT_NUMBERS
        ]
        | None
    ) = None
    """attempts are the last 20 attempts, each with its evidence."""
    xcom: XComStatus | None = None
    """xcom is the result."""
