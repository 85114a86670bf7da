"""The desired state: `spec` of a PodTask.

A default is in the schema, so that the API server writes it into the object, if it decides whether a task is run again
or its Pod is kept. It must be constant, and the field not merged over the template, where "set to the default" differs
from "not set". Each docstring states the default, and `core/snapshot.py` has the same ones for objects without. A
default is never added, changed or removed within a version: stored objects would read as another spec, and end as
SpecChanged (docs/design/0018).
"""

from typing import Annotated

from pydantic import Field

from ..types import (
    DAY,
    DISTINCT,
    DOMAIN_PATH,
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
from .values import (
    MAX_RESULT_BYTES,
    ConditionStatus,
    FailurePolicyAction,
    OnFailure,
    OnLost,
    Operator,
    PodRetention,
    ResultMode,
)


class Sidecar(Model):
    """Settings of the container that delivers the result."""

    resources: Resources | None = None
    """Resources of the container; `{}` sets none. Default: requests of 5m CPU and 16Mi memory and limits of 100m and
    64Mi (as requests too in a Guaranteed Pod), or the controller's own setting."""
    security_context: ContainerSecurityContext | None = None
    """Security context of the container; `{}` sets none. Default: the restricted Pod Security Standard with the user of
    the task's container, or the controller's own setting."""


class XCom(Model):
    """The result of the task: one JSON file. If this is not set, no result is collected."""

    path: Path | None = None
    """Absolute path of the file in the task's container. Its directory is an empty volume. Default:
    /airflow/xcom/return.json."""
    required: Flag | None = None
    """If true, the task fails if the file is missing or blank. Default: false."""
    max_bytes: Annotated[Int, Field(ge=1, le=MAX_RESULT_BYTES)] | None = None
    """Size limit of the file in bytes. A larger file fails the task; it is never truncated. Default: 65536, and 4095
    with mode Direct."""
    on_failure: OnFailure | None = None
    """Whether the file of a failed task is kept (Keep) or not (Drop). Default: Drop."""
    on_lost: OnLost | None = None
    """What happens if the task succeeded and its node was lost with the file: the task fails (Fail), succeeds without a
    result (Drop) or runs again (Retry). Default: Fail."""
    mode: ResultMode | None = None
    """How the file leaves the Pod. Direct reads it as the container's termination message, without a sidecar, and is
    limited to 4095 bytes. Auto uses Direct if maxBytes is within that limit, and a sidecar otherwise. Default: Auto."""
    sidecar: Sidecar | None = None
    """Settings of the sidecar that delivers the result."""


class Backoff(Model):
    """The delay before the next attempt after a failure."""

    initial_seconds: PositiveSeconds = 10
    """Delay after the first failure, in seconds. Default: 10."""
    max_seconds: PositiveSeconds = 360
    """Longest delay, in seconds. Default: 360."""
    factor: Annotated[Int, Field(ge=1, le=10)] = 2
    """Factor by which the delay grows with each failure. Default: 2."""


class OnExitCodes(Model):
    """Matches the exit code of a container that failed."""

    container_name: DnsLabel | None = None
    """Name of the container whose exit code is matched. Default: the task's container."""
    operator: Operator
    """Whether the exit code has to be one of the values (In) or none of them (NotIn)."""
    values: Annotated[list[ExitCode], Field(min_length=1, max_length=255, json_schema_extra=SET), DISTINCT]
    """Exit codes. With operator In, 0 is not accepted."""


class OnReasons(Model):
    """Matches the reason of an attempt."""

    values: Annotated[list[ShortText], Field(min_length=1, max_length=32, json_schema_extra=SET), DISTINCT]
    """Reasons as in status.attempts[].reason, such as OOMKilled or Evicted."""


class PodCondition(Model):
    """Matches a condition of the Pod."""

    type: ShortText
    """Type of the condition, such as DisruptionTarget."""
    status: ConditionStatus = ConditionStatus.TRUE
    """Status of the condition. Default: True."""


class FailurePolicyRule(Model):
    """A rule of the failure policy: exactly one of onExitCodes, onReasons and onPodConditions, and an action."""

    on_exit_codes: OnExitCodes | None = None
    """Matches the exit code of a container."""
    on_reasons: OnReasons | None = None
    """Matches the reason of the attempt."""
    on_pod_conditions: Annotated[list[PodCondition], Field(min_length=1, max_length=16)] | None = None
    """Matches if the Pod has any of these conditions."""
    action: FailurePolicyAction
    """What a match does. Fail fails the task; Retry counts against backoffLimit; Ignore starts another attempt without
    counting this one; Skip ends the task as Skipped."""


class FailurePolicy(Model):
    """Ordered rules that decide what the end of an attempt means. The first rule that matches applies."""

    rules: Annotated[list[FailurePolicyRule], Field(min_length=1, max_length=20)]
    """Rules in the order in which they are tried."""


class Deadlines(Model):
    """Time limits in seconds. No limit is set by default. None of the clocks runs while the task is suspended, and each
    limit has its own reason.
    """

    schedule_seconds: PositiveSeconds | None = None
    """Limit from the creation of the Pod, or the removal of its scheduling gates, until it has a node. Default:
    none."""
    image_pull_seconds: PositiveSeconds | None = None
    """Limit from the assignment of a node until the images are present; it applies while a pull fails or waits.
    Default: none."""
    start_seconds: PositiveSeconds | None = None
    """Limit from the assignment of a node until the task's container starts, including image pulls and init containers.
    Default: none."""
    run_seconds: PositiveSeconds | None = None
    """Limit on the run time of the task's container, for each attempt. Default: none."""
    total_seconds: PositiveSeconds | None = None
    """Limit on the whole task, from its start over all attempts and delays. Default: none."""


class PodTaskSpec(Model):
    """The desired state: what to run, when to retry, time limits, and what is kept after the end."""

    image: Image | None = None
    """Image of the task's container, such as python:3.13-slim. Required here or in the template."""
    command: Annotated[list[LongText], Field(max_length=1024)] | None = None
    """Entrypoint of the container, without a shell. `$(NAME)` is replaced by environment variables. Default: the
    entrypoint of the image."""
    args: Annotated[list[LongText], Field(max_length=1024)] | None = None
    """Arguments of the entrypoint. `$(NAME)` is replaced by environment variables. Default: the arguments of the image,
    unless command is set."""
    working_dir: Path | None = None
    """Working directory of the process. Default: that of the image."""
    env: Annotated[list[EnvVar], Field(max_length=1024)] | None = None
    """Environment variables of the task's container. A variable replaces one of the same name in the template;
    `$(NAME)` in its own value is the value that it replaces."""
    env_from: Annotated[list[EnvFrom], Field(max_length=128)] | None = None
    """ConfigMaps and Secrets whose keys become environment variables."""
    resources: Resources | None = None
    """Resource requests and limits of the task's container."""
    volume_mounts: VolumeMounts | None = None
    """Volume mounts of the task's container. They are merged with the template's by mountPath."""
    ports: Annotated[list[ContainerPort], Field(max_length=64)] | None = None
    """Ports of the task's container. They are informational and open nothing."""
    image_pull_policy: PullPolicy | None = None
    """When the image of the task's container is pulled: Always, IfNotPresent or Never. Default: Always for the tag
    latest or no tag, otherwise IfNotPresent."""
    container_security_context: ContainerSecurityContext | None = None
    """Security context of the task's container. For the Pod, use securityContext."""
    termination_message_policy: MessagePolicy | None = None
    """Where the kubelet reads the termination message of the task's container: File, or FallbackToLogsOnError for the
    end of the log of a failed container without a message. Default: FallbackToLogsOnError."""

    volumes: Volumes | None = None
    """Volumes of the Pod. They are merged with the template's by name."""
    init_containers: InitContainers | None = None
    """Containers that run one after another before the task's container. They are merged with the template's by
    name."""
    affinity: Opaque | None = None
    """Affinity of the Pod to nodes and other Pods. It can be changed while the task is suspended and has had no
    attempt."""
    tolerations: Annotated[list[Opaque], Field(max_length=128)] | None = None
    """Tolerations of the Pod for tainted nodes. They can be changed while the task is suspended and has had no
    attempt."""
    node_selector: Labels | None = None
    """Labels that a node must have to run the Pod. They can be changed while the task is suspended and has had no
    attempt."""
    service_account_name: Name | None = None
    """ServiceAccount of the Pod. Default: default."""
    automount_service_account_token: Flag | None = None
    """Whether the containers get a token of the ServiceAccount. Default: the setting of the ServiceAccount."""
    image_pull_secrets: Annotated[list[LocalObject], Field(max_length=32)] | None = None
    """Secrets with the credentials of image registries."""
    security_context: PodSecurityContext | None = None
    """Security context of the Pod. For the task's container alone, use containerSecurityContext."""
    priority_class_name: Name | None = None
    """PriorityClass of the Pod, which decides on preemption. Default: the cluster's."""
    runtime_class_name: Name | None = None
    """RuntimeClass of the Pod, such as a sandboxed runtime. Default: the node's own runtime."""
    scheduler_name: Name | None = None
    """Scheduler of the Pod. Default: default-scheduler."""
    host_network: Flag | None = None
    """If true, the Pod uses the network of its node. Default: false."""
    host_aliases: Annotated[list[HostAlias], Field(max_length=64)] | None = None
    """Lines that are added to /etc/hosts of the Pod."""
    hostname: DnsLabel | None = None
    """Host name of the Pod. Default: the name of the Pod."""
    subdomain: DnsLabel | None = None
    """Subdomain of the Pod: a headless Service of this name makes its host name resolvable."""
    dns_policy: ShortText | None = None
    """DNS policy of the Pod: ClusterFirst, ClusterFirstWithHostNet, Default or None. Default: ClusterFirst."""
    dns_config: Opaque | None = None
    """Name servers, search domains and resolver options that are added to those of dnsPolicy."""
    termination_grace_period_seconds: Annotated[Int, Field(ge=0, le=7 * DAY)] | None = None
    """Seconds between the signal to stop and the kill. 0 counts as 1. Default: 30."""

    container_name: DnsLabel | None = None
    """Name of the container that is the task. Other containers are sidecars. Default: base."""
    template: Template | None = None
    """Any Pod. The other fields of spec are merged over it, lists by name, and take precedence."""
    xcom: XCom | None = None
    """Collects a JSON file as the result of the task. If it is not set, no result is collected."""

    backoff_limit: Count = 0
    """Number of further attempts after failures of the task itself. Default: 0."""
    backoff: Backoff | None = None
    """Delay before the next attempt after a failure."""
    disruption_limit: Count = 3
    """Number of further attempts after eviction, preemption, loss of the node or deletion of the Pod, which are no
    failures of the task. Default: 3."""
    failure_policy: FailurePolicy | None = None
    """Ordered rules that decide what the end of an attempt means. Default: the exit code decides."""
    deadlines: Deadlines | None = None
    """Time limits of the task."""

    suspend: Flag | None = None
    """If true, the Pod is removed and none is created until this is false again. Can be changed. Default: false."""
    cancel: Flag | None = None
    """If true, the Pod is stopped with its grace period and the task ends as Cancelled. It can be set at any time and
    cannot be reset. Default: false."""
    cancel_time: Timestamp | None = None
    """Time at which the task is cancelled, unless it is changed or removed before. Can be changed. Default: none."""
    managed_by: Annotated[str, Field(min_length=1, max_length=63, pattern=DOMAIN_PATH)] | None = None
    """Controller that runs the task, as a domain and a path. The creator of the task sets it; PodTask's own controller
    ignores a task with another value. Default: podtask.dev/controller."""
    queue_name: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Kueue LocalQueue of the Pod. It sets the Pod's label kueue.x-k8s.io/queue-name."""

    ttl_seconds_after_finished: Seconds | None = None
    """Seconds from the end of the task until the PodTask is deleted. Can be changed. Default: it is not deleted."""
    ttl_seconds_after_succeeded: Seconds | None = None
    """Replaces ttlSecondsAfterFinished for a task that is Succeeded or Skipped. Can be changed. Default:
    ttlSecondsAfterFinished."""
    ttl_seconds_after_failed: Seconds | None = None
    """Replaces ttlSecondsAfterFinished for a task that is Failed or Cancelled. Can be changed. Default:
    ttlSecondsAfterFinished."""
    pod_retention: PodRetention = PodRetention.DELETE
    """Which finished Pods are deleted: all (Delete), those that succeeded (DeleteSucceeded) or none (Keep). Can be
    changed. Default: Delete."""
    pod_ttl_seconds_after_finished: Annotated[Seconds | None, Field(alias="podTTLSecondsAfterFinished")] = None
    """Seconds from the end of a Pod until it is deleted with its log. The Airflow operator can have it deleted earlier.
    Less than 60 counts as 60. Can be changed. Default: 60."""
    force_delete_pod_after_seconds: PositiveSeconds | None = None
    """Seconds until a Pod on an unreachable node is deleted by force. Two Pods of the task may then run at the same
    time. Can be changed. Default: never."""
