"""What the user wants: `spec` of a PodTask.

No field has a default in the schema, because "set to the default" and "not set" differ where a template is merged.
The defaults are in each docstring, and in code at the one place that uses them.
"""

from typing import Annotated

from pydantic import Field

from ..types import (
    DAY,
    DISTINCT,
    SET,
    Count,
    DnsLabel,
    ExitCode,
    Flag,
    Int,
    Labels,
    LongText,
    Model,
    Name,
    Opaque,
    Path,
    PositiveSeconds,
    Seconds,
    ShortText,
    Timestamp,
)
from .container import (
    ContainerPort,
    ContainerSecurityContext,
    EnvFrom,
    EnvVar,
    HostAlias,
    Image,
    InitContainers,
    LocalObject,
    MessagePolicy,
    PodSecurityContext,
    PullPolicy,
    Resources,
    Template,
    VolumeMounts,
    Volumes,
)
from .values import MAX_RESULT_BYTES, FailurePolicyAction, OnFailure, OnLost, Operator, PodRetention, ResultMode


class Sidecar(Model):
    """Settings of the container that delivers the result."""

    resources: Resources | None = None
    """resources of the sidecar; {} sets none. Default: requests of 5m and 16Mi, limits of 100m and 64Mi (as requests
    too where the Pod is Guaranteed), or what the controller is set to."""
    security_context: ContainerSecurityContext | None = None
    """securityContext of the sidecar; {} sets none. Default: restricted, with the user of the task's container, or what
    the controller is set to."""


class XCom(Model):
    """The result of the task: one JSON file. Without this, no result is collected."""

    path: Path | None = None
    """path of the file in the task's container; its directory is an empty volume of its own.
    Default: /airflow/xcom/return.json."""
    required: Flag | None = None
    """required fails the task where the file is missing or blank. Default: false."""
    max_bytes: Annotated[Int, Field(ge=1, le=MAX_RESULT_BYTES)] | None = None
    """maxBytes is the largest file that is accepted; more is an error and never cut. Default: 65536, and 4095
    with mode Direct."""
    on_failure: OnFailure | None = None
    """onFailure keeps or drops the file of a task that failed. Default: Drop."""
    on_lost: OnLost | None = None
    """onLost says what to do when the task succeeded but its node went away with the file. Default: Fail."""
    mode: ResultMode | None = None
    """mode Direct reads the file as the container's termination message: faster, without a sidecar, at most 4 kB.
    Auto takes Direct where maxBytes fits into it, and a sidecar otherwise. Default: Auto."""
    sidecar: Sidecar | None = None
    """sidecar changes the container that delivers the result."""


class Backoff(Model):
    """How long to wait before the next attempt."""

    initial_seconds: PositiveSeconds | None = None
    """initialSeconds is the wait after the first failure. Default: 10."""
    max_seconds: PositiveSeconds | None = None
    """maxSeconds is the longest wait. Default: 360."""
    factor: Annotated[Int, Field(ge=1, le=10)] | None = None
    """factor by which the wait grows with each failure. Default: 2."""


class OnExitCodes(Model):
    """Matches the exit code of a container that failed."""

    container_name: DnsLabel | None = None
    """containerName limits the rule to one container. Default: the task's container."""
    operator: Operator
    """operator In or NotIn."""
    values: Annotated[list[ExitCode], Field(min_length=1, max_length=255, json_schema_extra=SET), DISTINCT]
    """values are the exit codes."""


class OnReasons(Model):
    """Matches the reason of the attempt's end."""

    values: Annotated[list[ShortText], Field(min_length=1, max_length=32, json_schema_extra=SET), DISTINCT]
    """values are reasons as in status.attempts[].reason, such as OOMKilled or Evicted."""


class PodCondition(Model):
    """One condition of a Pod."""

    type: ShortText
    """type of the condition, such as DisruptionTarget."""
    status: ShortText | None = None
    """status True, False or Unknown. Default: True."""


class OnRetry(Model):
    """Changes for the next attempt. Reserved: refused in this version."""

    memory_percent: Annotated[Int, Field(ge=100, le=1000)] | None = None
    """memoryPercent scales the memory of the next attempt."""
    avoid_node: Flag | None = None
    """avoidNode keeps the next attempt off the node that failed."""


class Rule(Model):
    """One rule: exactly one of onExitCodes, onReasons, onPodConditions, and what to do."""

    on_exit_codes: OnExitCodes | None = None
    """onExitCodes matches an exit code."""
    on_reasons: OnReasons | None = None
    """onReasons matches the reason of the attempt's end."""
    on_pod_conditions: Annotated[list[PodCondition], Field(min_length=1, max_length=16)] | None = None
    """onPodConditions matches when any of these conditions is on the Pod."""
    action: FailurePolicyAction
    """action Fail ends the task, Retry counts against backoffLimit, Ignore retries without counting, Skip ends the
    task as Skipped."""
    on_retry: OnRetry | None = None
    """onRetry is reserved: refused in this version."""


class FailurePolicy(Model):
    """Ordered rules over the end of an attempt; the first that matches decides."""

    rules: Annotated[list[Rule], Field(min_length=1, max_length=20)]
    """rules in order."""


class Deadlines(Model):
    """Clocks of the controller. Each has its own reason, and none runs while the task is suspended."""

    schedule_seconds: PositiveSeconds | None = None
    """scheduleSeconds from the Pod's creation (or the lifting of its scheduling gates) to a node."""
    image_pull_seconds: PositiveSeconds | None = None
    """imagePullSeconds from the node to the image being there, counted while a pull fails or waits."""
    start_seconds: PositiveSeconds | None = None
    """startSeconds from the node to the start of the task's container, pulls and init containers included."""
    run_seconds: PositiveSeconds | None = None
    """runSeconds of the task's container, for each attempt."""
    total_seconds: PositiveSeconds | None = None
    """totalSeconds from the start of the task over all attempts and waits."""


class PodTaskSpec(Model):
    """What to run, how it may fail, how it is run and what stays of it."""

    image: Image | None = None
    """image of the task's container, such as python:3.13-slim. Needed here or in the template."""
    command: Annotated[list[LongText], Field(max_length=1024)] | None = None
    """command replaces the image's entrypoint; no shell is involved. `$(NAME)` is expanded from env."""
    args: Annotated[list[LongText], Field(max_length=1024)] | None = None
    """args replace the image's arguments, or follow command. `$(NAME)` is expanded from env."""
    working_dir: Path | None = None
    """workingDir of the process. Default: the image's own."""
    env: Annotated[list[EnvVar], Field(max_length=1024)] | None = None
    """env of the task's container. A variable with the name of one of the template's takes its place, or extends it:
    `$(NAME)` in its own value is what was there before."""
    env_from: Annotated[list[EnvFrom], Field(max_length=128)] | None = None
    """envFrom takes all keys of ConfigMaps and Secrets."""
    resources: Resources | None = None
    """resources of the task's container: requests and limits."""
    volume_mounts: VolumeMounts | None = None
    """volumeMounts of the task's container: where which of the volumes appears; merged by mountPath with the
    template's."""
    ports: Annotated[list[ContainerPort], Field(max_length=64)] | None = None
    """ports of the task's container; for information, they open nothing."""
    image_pull_policy: PullPolicy | None = None
    """imagePullPolicy of the task's container. Default: Always for the tag latest and for none, else IfNotPresent."""
    container_security_context: ContainerSecurityContext | None = None
    """containerSecurityContext of the task's container; securityContext is the Pod's."""
    termination_message_policy: MessagePolicy | None = None
    """terminationMessagePolicy of the task's container. Default: FallbackToLogsOnError, which gives the log's tail."""

    volumes: Volumes | None = None
    """volumes of the Pod, as Kubernetes has them; merged by name with the template's."""
    init_containers: InitContainers | None = None
    """initContainers run to their end, in order, before the task's container; merged by name with the template's."""
    affinity: Opaque | None = None
    """affinity of the Pod to nodes and other Pods, as Kubernetes has it. May be changed while suspended, before the
    first attempt."""
    tolerations: Annotated[list[Opaque], Field(max_length=128)] | None = None
    """tolerations of the Pod for tainted nodes, as Kubernetes has them. May be changed while suspended, before
    the first attempt."""
    node_selector: Labels | None = None
    """nodeSelector lists labels that the Pod's node must have. May be changed while suspended, before the first
    attempt."""
    service_account_name: Name | None = None
    """serviceAccountName is what the task is to the API server. Default: default."""
    automount_service_account_token: Flag | None = None
    """automountServiceAccountToken puts the service account's token into the containers."""
    image_pull_secrets: Annotated[list[LocalObject], Field(max_length=32)] | None = None
    """imagePullSecrets name the Secrets with the registries' credentials."""
    security_context: PodSecurityContext | None = None
    """securityContext of the whole Pod; containerSecurityContext is the task's container's."""
    priority_class_name: Name | None = None
    """priorityClassName says which Pods give way to this one."""
    runtime_class_name: Name | None = None
    """runtimeClassName picks the container runtime, such as one with a sandbox."""
    scheduler_name: Name | None = None
    """schedulerName of the scheduler that places the Pod. Default: default-scheduler."""
    host_network: Flag | None = None
    """hostNetwork puts the Pod into the node's network. Default: false."""
    host_aliases: Annotated[list[HostAlias], Field(max_length=64)] | None = None
    """hostAliases are lines of the Pod's /etc/hosts."""
    hostname: DnsLabel | None = None
    """hostname inside the Pod. Default: the Pod's name."""
    subdomain: DnsLabel | None = None
    """subdomain of the Pod, below which its hostname is found through a headless Service."""
    dns_policy: ShortText | None = None
    """dnsPolicy is ClusterFirst, ClusterFirstWithHostNet, Default or None. Default: ClusterFirst."""
    dns_config: Opaque | None = None
    """dnsConfig adds name servers, search domains and options, as Kubernetes has it."""
    termination_grace_period_seconds: Annotated[Int, Field(ge=0, le=7 * DAY)] | None = None
    """terminationGracePeriodSeconds between the stop and the kill; 0 counts as 1. Default: 30, Kubernetes' own."""

    container_name: DnsLabel | None = None
    """containerName is the container that is the task; the others are sidecars. Default: base."""
    template: Template | None = None
    """template is any Pod; the fields above are merged over it and win, lists by name."""
    xcom: XCom | None = None
    """xcom collects one JSON file as the result."""

    backoff_limit: Count | None = None
    """backoffLimit is how many further attempts the task's own failures get. Default: 0."""
    backoff: Backoff | None = None
    """backoff is how long to wait before a further attempt."""
    disruption_limit: Count | None = None
    """disruptionLimit is how many further attempts follow eviction, preemption, node loss or deletion, which are not
    the task's fault. Default: 3."""
    failure_policy: FailurePolicy | None = None
    """failurePolicy decides by ordered rules what the end of an attempt means."""
    deadlines: Deadlines | None = None
    """deadlines stop what takes too long."""

    suspend: Flag | None = None
    """suspend removes the Pod and creates none until it is false again; clocks stop. May be changed. Default: false."""
    cancel: Flag | None = None
    """cancel stops the Pod with its grace and ends the task as Cancelled. May be set, not taken back.
    Default: false."""
    cancel_after: Timestamp | None = None
    """cancelAfter cancels the task at this time unless it is moved or removed before. May be changed."""
    managed_by: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """managedBy names the controller of this task; any other than podtask.dev/controller is left alone."""
    queue_name: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """queueName is the Kueue LocalQueue; it becomes the Pod's label."""

    ttl_seconds_after_finished: Seconds | None = None
    """ttlSecondsAfterFinished deletes the PodTask this long after its end. May be changed. Default: never."""
    ttl_seconds_after_succeeded: Seconds | None = None
    """ttlSecondsAfterSucceeded is used for success (and skip) instead, where set. May be changed."""
    ttl_seconds_after_failed: Seconds | None = None
    """ttlSecondsAfterFailed is used for failure and cancellation instead, where set. May be changed."""
    pod_retention: PodRetention | None = None
    """podRetention says which finished Pods stay. May be changed. Default: Delete."""
    pod_ttl_seconds_after_finished: Annotated[Seconds | None, Field(alias="podTTLSecondsAfterFinished")] = None
    """podTTLSecondsAfterFinished keeps a finished Pod (and its log) this long, or until the task is acknowledged; under
    60 counts as 60. May be changed. Default: 60."""
    force_delete_pod_after_seconds: PositiveSeconds | None = None
    """forceDeletePodAfterSeconds gives a Pod on an unreachable node up after this time. Two Pods of the task may then
    run at once. Default: never."""
