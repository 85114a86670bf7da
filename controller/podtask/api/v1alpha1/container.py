"""Types of Kubernetes that fields of `spec` use.

Fields that are written often are typed, so that a mistake is refused when the PodTask is created. Types that grow with
Kubernetes (security contexts) keep unknown fields, which the API server validates when the Pod is created.
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
    """Name of the variable."""
    value: LongText | None = None
    """Value of the variable. Kubernetes replaces `$(NAME)` by the value of a variable that is defined before."""
    value_from: Opaque | None = None
    """Source of the value: a key of a Secret or a ConfigMap, a field of the Pod, or a resource of a container, as in a
    Pod."""


class ObjectSelector(Model):
    """A ConfigMap or Secret whose keys become environment variables."""

    name: Name
    """Name of the ConfigMap or Secret in the namespace of the PodTask."""
    optional: Flag | None = None
    """If true, the container starts also if the object does not exist. Default: false."""


class EnvFrom(Model):
    """A source of many environment variables."""

    prefix: ShortText | None = None
    """Text that is put before the name of each variable. Default: none."""
    config_map_ref: ObjectSelector | None = None
    """ConfigMap whose keys become variables."""
    secret_ref: ObjectSelector | None = None
    """Secret whose keys become variables."""


class ResourceClaim(Model):
    """A claim of the Pod that this container uses (dynamic resource allocation)."""

    name: DnsLabel
    """Name of an entry in `resourceClaims` of the Pod."""
    request: ShortText | None = None
    """Name of one request of the claim. Default: all of its requests."""


Quantities = Annotated[dict[str, Quantity], Field(max_length=32)]


class Resources(Model):
    """The compute resources of a container."""

    limits: Quantities | None = None
    """The most that the container may use, by resource name, such as `memory: 512Mi` or `nvidia.com/gpu: 1`."""
    requests: Quantities | None = None
    """What the scheduler reserves for the container, by resource name. Default: the limits."""
    claims: Annotated[list[ResourceClaim], Field(max_length=16)] | None = None
    """Claims of the Pod that the container uses."""


class VolumeMount(Model):
    """A volume as the container sees it."""

    name: DnsLabel
    """Name of the volume."""
    mount_path: Path
    """Directory or file in the container at which the volume is mounted."""
    sub_path: Text | None = None
    """Path within the volume that is mounted. Default: the root of the volume."""
    sub_path_expr: Text | None = None
    """Like subPath, with `$(NAME)` replaced by environment variables. Set at most one of the two."""
    read_only: Flag | None = None
    """If true, the container cannot write to the volume. Default: false."""
    recursive_read_only: ShortText | None = None
    """Whether mounts below this one are read-only too: Disabled, IfPossible or Enabled. Default: Disabled."""
    mount_propagation: ShortText | None = None
    """Whether mounts made later are shared with the node: None, HostToContainer or Bidirectional. Default: None."""


VolumeMounts = Annotated[
    list[VolumeMount], Field(max_length=128, json_schema_extra=map_by("mountPath")), DISTINCT_PATHS
]


class Volume(OpenModel):
    """A volume of the Pod. The fields of its source are those of Kubernetes."""

    name: DnsLabel
    """Name of the volume, to which volumeMounts refer."""


Volumes = Annotated[list[Volume], Field(max_length=128, json_schema_extra=map_by("name")), DISTINCT_NAMES]


class ContainerPort(Model):
    """A port on which the container listens. It is informational and opens nothing."""

    container_port: Annotated[Int, Field(ge=1, le=65_535)]
    """Number of the port in the container."""
    name: ShortText | None = None
    """Name of the port, to which Services can refer."""
    protocol: ShortText | None = None
    """Protocol of the port: TCP, UDP or SCTP. Default: TCP."""
    host_port: Annotated[Int, Field(ge=1, le=65_535)] | None = None
    """Number of a port of the node that leads to this one. Default: none."""
    host_ip: Annotated[ShortText | None, Field(alias="hostIP")] = None
    """Address of the node to which hostPort is bound. Default: all addresses."""


class ContainerSecurityContext(OpenModel):
    """Security settings of one container. Fields that are not listed are those of Kubernetes."""

    run_as_user: Annotated[Int, Field(ge=0, le=4_294_967_295)] | None = None
    """Numeric user ID of the process. Default: the user of the image."""
    run_as_group: Annotated[Int, Field(ge=0, le=4_294_967_295)] | None = None
    """Numeric group ID of the process. Default: the group of the image."""
    run_as_non_root: Flag | None = None
    """If true, the kubelet does not start the container as user 0. Default: false."""
    read_only_root_filesystem: Flag | None = None
    """If true, the container cannot write to its root file system. Default: false."""
    allow_privilege_escalation: Flag | None = None
    """Whether a process can gain more privileges than its parent. Default: true."""
    privileged: Flag | None = None
    """If true, processes in the container have the rights of root on the node. Default: false."""


class PodSecurityContext(OpenModel):
    """Security settings of the Pod. Fields that are not listed are those of Kubernetes."""

    run_as_user: Annotated[Int, Field(ge=0, le=4_294_967_295)] | None = None
    """Numeric user ID of containers that do not set runAsUser. Default: the user of each image."""
    run_as_group: Annotated[Int, Field(ge=0, le=4_294_967_295)] | None = None
    """Numeric group ID of containers that do not set runAsGroup. Default: the group of each image."""
    run_as_non_root: Flag | None = None
    """If true, the kubelet starts no container as user 0. Default: false."""
    fs_group: Annotated[Int, Field(ge=0, le=4_294_967_295)] | None = None
    """Numeric group ID that owns the volumes of the Pod. Default: none."""


class LocalObject(Model):
    """An object in the namespace of the PodTask."""

    name: Name
    """Name of the object."""


class HostAlias(Model):
    """A line of /etc/hosts."""

    ip: ShortText
    """IP address of the line."""
    hostnames: Annotated[list[ShortText], Field(max_length=64)] | None = None
    """Host names of the address."""


class PullPolicy(enum.StrEnum):
    """When an image is pulled."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class MessagePolicy(enum.StrEnum):
    """Where the kubelet reads the termination message of a container."""

    FILE = "File"
    FALLBACK_TO_LOGS = "FallbackToLogsOnError"


class NoRestart(enum.StrEnum):
    """The restart policy of a container."""

    NEVER = "Never"


class SidecarRestart(enum.StrEnum):
    """The restart policy of a sidecar."""

    ALWAYS = "Always"


NoRules = Annotated[list[Opaque], Field(max_length=0)]


class TemplateContainer(OpenModel):
    """A container of the template. Fields that are not listed are those of Kubernetes."""

    name: DnsLabel
    """Name of the container. The fields of spec are merged into the container that spec.containerName names."""
    image: Image | None = None
    """Image of the container."""
    restart_policy: NoRestart | None = None
    """Only Never is accepted: attempts are counted by spec.backoffLimit."""
    restart_policy_rules: NoRules | None = None
    """No rule is accepted: use spec.failurePolicy."""


class TemplateInitContainer(OpenModel):
    """An init container. Fields that are not listed are those of Kubernetes."""

    name: DnsLabel
    """Name of the container. The lists of spec and of the template are merged by name."""
    image: Image | None = None
    """Image of the container."""
    restart_policy: SidecarRestart | None = None
    """Only Always is accepted. It makes the container a sidecar, which runs beside the containers."""
    restart_policy_rules: NoRules | None = None
    """No rule is accepted: use spec.failurePolicy."""


InitContainers = Annotated[
    list[TemplateInitContainer], Field(max_length=32, json_schema_extra=map_by("name")), DISTINCT_NAMES
]


class TemplatePodSpec(OpenModel):
    """The spec of a Pod. Fields that are not listed are those of Kubernetes."""

    containers: (
        Annotated[
            list[TemplateContainer],
            Field(min_length=1, max_length=32, json_schema_extra=map_by("name")),
            DISTINCT_NAMES,
        ]
        | None
    ) = None
    """Containers of the Pod, by name."""
    init_containers: InitContainers | None = None
    """Containers that run before the others, by name. One with restartPolicy Always is a sidecar."""
    restart_policy: ShortText | None = None
    """Only Never is accepted. Default: Never."""


class TemplateMetadata(Model):
    """Labels, annotations and name of the Pod. Strict validation refuses other metadata (finalizers, owners, a
    namespace); without it, the API server drops them.
    """

    name: Name | None = None
    """Name of the Pod of every attempt. Default: a unique name for each attempt."""
    labels: Labels | None = None
    """Labels of the Pod."""
    annotations: Annotations | None = None
    """Annotations of the Pod."""
    creation_timestamp: Timestamp | None = None
    """This has no effect. It is accepted because typed clients write it as null."""


class Template(Model):
    """A Pod. The other fields of spec are merged over it, lists by name, and take precedence."""

    metadata: TemplateMetadata | None = None
    """Name, labels and annotations of the Pod."""
    spec: TemplatePodSpec | None = None
    """Spec of the Pod, with all fields that the cluster knows."""
