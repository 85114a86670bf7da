"""Kubernetes' own small types, as the convenience fields of `spec` use them.

What a person writes often is typed, so that a slip is refused at admission. What grows with each Kubernetes release
(security contexts) keeps unknown fields; the API server judges those when the Pod is created.
"""

import enum
from typing import Annotated

from pydantic import Field

from ..types import (
    DISTINCT_NAMES,
    DISTINCT_PATHS,
    Annotations,
    DnsLabel,
    Flag,
    Int,
    Labels,
    LongText,
    Model,
    Name,
    Opaque,
    OpenModel,
    Path,
    Quantity,
    ShortText,
    Text,
    Timestamp,
    map_by,
)

Image = Annotated[str, Field(min_length=1, max_length=1024)]


class EnvVar(Model):
    """One environment variable."""

    name: Annotated[str, Field(min_length=1, max_length=1024)]
    """name of the variable."""
    value: LongText | None = None
    """value of the variable; Kubernetes expands `$(NAME)` from the variables before."""
    value_from: Opaque | None = None
    """valueFrom takes the value from a Secret, a ConfigMap, a field of the Pod or a resource, as in a Pod."""


class ObjectSelector(Model):
    """A ConfigMap or Secret whose keys become environment variables."""

    name: Name
    """name of the ConfigMap or Secret in the task's namespace."""
    optional: Flag | None = None
    """optional lets the container start where the object is missing."""


class EnvFrom(Model):
    """A source of many environment variables."""

    prefix: ShortText | None = None
    """prefix is put before each variable's name."""
    config_map_ref: ObjectSelector | None = None
    """configMapRef names a ConfigMap."""
    secret_ref: ObjectSelector | None = None
    """secretRef names a Secret."""


class ResourceClaim(Model):
    """A claim of the Pod that this container uses (dynamic resource allocation)."""

    name: DnsLabel
    """name of the entry in the Pod's resourceClaims."""
    request: ShortText | None = None
    """request picks one request of the claim."""


Quantities = Annotated[dict[str, Quantity], Field(max_length=32)]


class Resources(Model):
    """What a container asks for and may use at most."""

    limits: Quantities | None = None
    """limits by resource name, `memory: 512Mi`, `nvidia.com/gpu: 1`."""
    requests: Quantities | None = None
    """requests by resource name; they decide where the Pod fits."""
    claims: Annotated[list[ResourceClaim], Field(max_length=16)] | None = None
    """claims of the Pod that the container uses."""


class VolumeMount(Model):
    """Where a volume appears in the container."""

    name: DnsLabel
    """name of the volume."""
    mount_path: Path
    """mountPath in the container."""
    sub_path: Text | None = None
    """subPath within the volume."""
    sub_path_expr: Text | None = None
    """subPathExpr within the volume, with `$(NAME)` expanded."""
    read_only: Flag | None = None
    """readOnly mounts without write access."""
    recursive_read_only: ShortText | None = None
    """recursiveReadOnly is Disabled, IfPossible or Enabled."""
    mount_propagation: ShortText | None = None
    """mountPropagation is None, HostToContainer or Bidirectional."""


VolumeMounts = Annotated[
    list[VolumeMount], Field(max_length=128, json_schema_extra=map_by("mountPath")), DISTINCT_PATHS
]


class Volume(OpenModel):
    """A volume of the Pod; its source is kept as it is."""

    name: DnsLabel
    """name of the volume, by which it is mounted."""


Volumes = Annotated[list[Volume], Field(max_length=128, json_schema_extra=map_by("name")), DISTINCT_NAMES]


class ContainerPort(Model):
    """A port that the container listens on; for information, it opens nothing."""

    container_port: Annotated[Int, Field(ge=1, le=65_535)]
    """containerPort is the port's number."""
    name: ShortText | None = None
    """name of the port."""
    protocol: ShortText | None = None
    """protocol is TCP, UDP or SCTP."""
    host_port: Annotated[Int, Field(ge=1, le=65_535)] | None = None
    """hostPort opens the port on the node."""
    host_ip: Annotated[ShortText | None, Field(alias="hostIP")] = None
    """hostIP binds hostPort to one address."""


class ContainerSecurityContext(OpenModel):
    """Security settings of one container."""

    run_as_user: Annotated[Int, Field(ge=0, le=4_294_967_295)] | None = None
    """runAsUser is the numeric user id of the process."""
    run_as_group: Annotated[Int, Field(ge=0, le=4_294_967_295)] | None = None
    """runAsGroup is the numeric group id of the process."""
    run_as_non_root: Flag | None = None
    """runAsNonRoot refuses to start the container as user 0."""
    read_only_root_filesystem: Flag | None = None
    """readOnlyRootFilesystem mounts the image without write access."""
    allow_privilege_escalation: Flag | None = None
    """allowPrivilegeEscalation lets a process gain more rights than its parent."""
    privileged: Flag | None = None
    """privileged gives the container the rights of the node's root."""


class PodSecurityContext(OpenModel):
    """Security settings of the whole Pod."""

    run_as_user: Annotated[Int, Field(ge=0, le=4_294_967_295)] | None = None
    """runAsUser is the numeric user id of every container that sets none itself."""
    run_as_group: Annotated[Int, Field(ge=0, le=4_294_967_295)] | None = None
    """runAsGroup is the numeric group id of every container that sets none itself."""
    run_as_non_root: Flag | None = None
    """runAsNonRoot refuses to start containers as user 0."""
    fs_group: Annotated[Int, Field(ge=0, le=4_294_967_295)] | None = None
    """fsGroup owns the volumes that can be shared by group."""


class LocalObject(Model):
    """An object in the task's namespace, by name."""

    name: Name
    """name of the object."""


class HostAlias(Model):
    """A line of /etc/hosts."""

    ip: ShortText
    """ip is the address."""
    hostnames: Annotated[list[ShortText], Field(max_length=64)] | None = None
    """hostnames of the address."""


class PullPolicy(enum.StrEnum):
    """When the image is pulled."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class MessagePolicy(enum.StrEnum):
    """Where the kubelet takes a container's last words from."""

    FILE = "File"
    FALLBACK_TO_LOGS = "FallbackToLogsOnError"


class NoRestart(enum.StrEnum):
    """What the kubelet does when a container has ended."""

    NEVER = "Never"


class SidecarRestart(enum.StrEnum):
    """What the kubelet does when an init container has ended."""

    ALWAYS = "Always"


NoRules = Annotated[list[Opaque], Field(max_length=0)]


class TemplateContainer(OpenModel):
    """A container of the template; fields that are not listed here are kept as they are."""

    name: DnsLabel
    """name of the container; convenience fields of spec are merged into the one that spec.containerName names."""
    image: Image | None = None
    """image of the container."""
    restart_policy: NoRestart | None = None
    """restartPolicy may only be Never: attempts are counted by spec.backoffLimit."""
    restart_policy_rules: NoRules | None = None
    """restartPolicyRules may not be set: use spec.failurePolicy."""


class TemplateInitContainer(OpenModel):
    """An init container; fields that are not listed here are kept as they are."""

    name: DnsLabel
    """name of the container; those of spec and of the template are merged by it."""
    image: Image | None = None
    """image of the container."""
    restart_policy: SidecarRestart | None = None
    """restartPolicy Always makes it a sidecar, which runs beside the containers; nothing else may be set."""
    restart_policy_rules: NoRules | None = None
    """restartPolicyRules may not be set: use spec.failurePolicy."""


InitContainers = Annotated[
    list[TemplateInitContainer], Field(max_length=32, json_schema_extra=map_by("name")), DISTINCT_NAMES
]


class TemplatePodSpec(OpenModel):
    """A Pod's spec, as Kubernetes has it; fields that are not listed here are kept as they are."""

    containers: (
        Annotated[
            list[TemplateContainer],
            Field(min_length=1, max_length=32, json_schema_extra=map_by("name")),
            DISTINCT_NAMES,
        ]
        | None
    ) = None
    """containers of the Pod, by name."""
    init_containers: InitContainers | None = None
    """initContainers run before the containers, by name; one with restartPolicy Always is a sidecar."""
    restart_policy: ShortText | None = None
    """restartPolicy of the Pod; only Never is accepted, and it is set where absent."""


class TemplateMetadata(Model):
    """What the Pod carries for others to see.

    Other metadata (finalizers, owners, a namespace) is not the template's to set: strict validation refuses it, and
    otherwise it is dropped.
    """

    name: Name | None = None
    """name gives the Pod exactly this name, for every attempt; without it each attempt has a name of its own."""
    labels: Labels | None = None
    """labels of the Pod."""
    annotations: Annotations | None = None
    """annotations of the Pod."""
    creation_timestamp: Timestamp | None = None
    """creationTimestamp has no effect: kubectl and typed clients print it, as null, in what they generate."""


class Template(Model):
    """Any Pod. The convenience fields of spec are merged over it, lists by name, and win."""

    metadata: TemplateMetadata | None = None
    """metadata of the Pod: name, labels, annotations."""
    spec: TemplatePodSpec | None = None
    """spec of the Pod; every field of the cluster's own version is kept."""
