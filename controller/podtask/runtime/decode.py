"""From the wire inward: bytes of Pods and PodTasks to the core's views, and the status back to bytes.

A PodTask's spec is decoded twice: the few fields that are judged, and the raw bytes that the next Pod is built from.
These are dropped where no Pod will be built from them, and so are the result and the words of a finished task: memory
follows the tasks that still have something to do. What is held of an object between two looks is packed, without what
is never judged.
"""

from typing import Any

import msgspec

from ..api import names
from ..core.pod import Pod
from ..core.snapshot import FailurePolicySpec, PodEvent, Task, TaskSpec, TaskStatus
from ..core.wire import Metadata
from ..kube import json_depth
from ..kube.client import Resource
from ..kube.store import Codec, Meta

_replace = msgspec.structs.replace

PODTASKS = Resource(f"/apis/{names.API_VERSION}", names.PLURAL)


class _WireTask(msgspec.Struct):
    metadata: Metadata
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: TaskStatus = TaskStatus()


class _Managed(msgspec.Struct, rename="camel"):
    managed_by: str = names.CONTROLLER


_decode_manager = msgspec.json.Decoder(_Managed).decode
_decode_task = msgspec.json.Decoder(_WireTask).decode
_decode_spec = msgspec.json.Decoder(TaskSpec).decode
decode_pod = msgspec.json.Decoder(Pod).decode


MOST_LEVELS = 100
"""Of nesting in a spec. A Pod's fields need some twenty; what merges, hashes and writes them goes on to 250."""
_TOO_DEEP = f"spec is nested deeper than {MOST_LEVELS} levels"


def decode_task(raw: bytes, max_spec_bytes: int | None = None) -> Task:
    """Decode a PodTask. One whose spec does not fit the types carries the problem instead of failing.

    What nothing is decided by any more is left out: the raw bytes of a spec that is longer than `max_spec_bytes`, is
    another controller's, or whose task is over; and of a task that is over every text of the status, the result too.
    """
    try:
        wire = _decode_task(raw)
    except RecursionError:
        wire = _decode_task(json_depth.cut(raw))
    raw_spec = bytes(wire.spec)
    spec, problem = _read_spec(raw_spec)
    is_over = wire.status.phase_is_terminal
    fits = max_spec_bytes is None or len(raw_spec) <= max_spec_bytes
    return Task(
        metadata=_identity(wire.metadata),
        spec=_replace(spec, failure_policy=FailurePolicySpec()) if is_over else spec,
        status=_outline(wire.status) if is_over else wire.status,
        raw_spec=raw_spec if fits and not is_over and not problem and spec.managed_by == names.CONTROLLER else b"",
        spec_bytes=len(raw_spec),
        problem=problem,
    )


def _read_spec(raw: bytes) -> tuple[TaskSpec, str]:
    """Give what is judged of a spec, and why it could not be understood."""
    if json_depth.is_deeper(raw, MOST_LEVELS):
        return TaskSpec(managed_by=_managed_by(json_depth.cut(raw))), _TOO_DEEP
    try:
        return _decode_spec(raw), ""
    except (msgspec.DecodeError, RecursionError) as error:
        return TaskSpec(managed_by=_managed_by(raw)), f"spec cannot be understood: {error}"


def _identity(metadata: Metadata) -> Metadata:
    """Leave out what others note about a task: of an Airflow task it is a kilobyte, and may be a megabyte."""
    read = {key: "" for key in metadata.annotations if key == names.ANNOTATION_ACKNOWLEDGED}
    return _replace(metadata, labels={}, annotations=read, finalizers=(), owner_references=())


def _outline(status: TaskStatus) -> TaskStatus:
    """Leave the texts out, which may be half a megabyte. What is written of such a status is what differs from this."""
    xcom = status.xcom
    return _replace(
        status,
        message="",
        conditions=tuple(
            c if c.type == names.CONDITION_STALLED else _replace(c, message="") for c in status.conditions
        ),
        attempts=tuple(_replace(attempt, message="", log_tail="") for attempt in status.attempts),
        xcom=None if xcom is None else _replace(xcom, value=None, message=""),
    )


def _managed_by(raw: bytes) -> str:
    """Say whose task it is even where nothing else can be read: another controller's must not be failed by us."""
    try:
        return _decode_manager(raw).managed_by
    except (msgspec.DecodeError, RecursionError):
        return names.CONTROLLER


decode_event = msgspec.json.Decoder(PodEvent).decode


_encode = msgspec.msgpack.Encoder().encode
_PREFIX = f"{names.GROUP}/"


def _pack_pod(pod: Pod) -> bytes:
    """Leave out the labels and annotations of others: a Pod of an Airflow task has a kilobyte of them."""
    metadata = _replace(
        pod.metadata,
        labels=_ours(pod.metadata.labels),
        annotations=_ours(pod.metadata.annotations),
        managed_fields=pod.kubelet_managed_fields,
    )
    return _encode(_replace(pod, metadata=metadata))


def _ours(pairs: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in pairs.items() if key.startswith(_PREFIX)}


PODS_HELD = Codec(_pack_pod, msgspec.msgpack.Decoder(Pod).decode)
TASKS_HELD: Codec[Task] = Codec(_encode, msgspec.msgpack.Decoder(Task).decode)


def pod_meta(pod: Pod) -> Meta:
    """Give what the informer needs to know of a Pod."""
    return _meta(pod.metadata)


def task_meta(task: Task) -> Meta:
    """Give what the informer needs to know of a PodTask."""
    return _meta(task.metadata)


def status_to_wire(status: TaskStatus) -> dict[str, Any]:
    """Give the status as the API writes it, without what is not set."""
    wire: dict[str, Any] = msgspec.to_builtins(status)
    return wire


def _meta(metadata: Metadata) -> Meta:
    return Meta(metadata.namespace, metadata.name, metadata.uid, metadata.resource_version)
