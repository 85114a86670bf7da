"""Decodes Pods and PodTasks from JSON into the core's views, and encodes the status.

Of a PodTask's spec two forms are kept: the few fields that decisions depend on, and the raw bytes from which the next
Pod is built. The raw bytes are dropped if no Pod will be built from them, and so are the result and the texts of a
finished task, so that memory grows with the unfinished tasks only. The store keeps objects packed (msgpack), without
the fields that no decision uses.
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


MAX_DEPTH = 100
"""Deepest nesting of a spec. A Pod needs some twenty levels; the code that merges, hashes and encodes handles 250."""
_TOO_DEEP = f"spec is nested deeper than {MAX_DEPTH} levels"


def decode_task(raw: bytes, max_spec_bytes: int | None = None) -> Task:
    """Decode a PodTask. If its spec does not fit the types, `Task.problem` says why; nothing is raised.

    `raw_spec` is empty if the spec is longer than `max_spec_bytes`, has another `managedBy`, or if the task is
    finished. The status of a finished task has no texts and no result.
    """
    try:
        wire = _decode_task(raw)
    except RecursionError:
        wire = _decode_task(json_depth.cut(raw))
    raw_spec = bytes(wire.spec)
    spec, problem = _read_spec(raw_spec)
    is_finished = wire.status.phase_is_terminal
    fits = max_spec_bytes is None or len(raw_spec) <= max_spec_bytes
    return Task(
        metadata=_used_metadata(wire.metadata),
        spec=_replace(spec, failure_policy=FailurePolicySpec()) if is_finished else spec,
        status=_without_texts(wire.status) if is_finished else wire.status,
        raw_spec=raw_spec if fits and not is_finished and not problem and spec.managed_by == names.CONTROLLER else b"",
        spec_bytes=len(raw_spec),
        problem=problem,
    )


def _read_spec(raw: bytes) -> tuple[TaskSpec, str]:
    """Return the fields of a spec that are used, and the problem ("" if there is none)."""
    if json_depth.is_deeper(raw, MAX_DEPTH):
        return TaskSpec(managed_by=_managed_by(json_depth.cut(raw))), _TOO_DEEP
    try:
        return _decode_spec(raw), ""
    except (msgspec.DecodeError, RecursionError) as error:
        return TaskSpec(managed_by=_managed_by(raw)), f"spec cannot be understood: {error}"


def _used_metadata(metadata: Metadata) -> Metadata:
    """Drop the labels, annotations and owners that are not used: usually a kilobyte, and up to a megabyte."""
    annotations = {key: "" for key in metadata.annotations if key == names.ANNOTATION_ACKNOWLEDGED}
    return _replace(metadata, labels={}, annotations=annotations, finalizers=(), owner_references=())


def _without_texts(status: TaskStatus) -> TaskStatus:
    """Drop the texts, up to half a megabyte. A later write patches only what differs from this status, so they stay."""
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
    """Return `managedBy` of a spec that cannot be decoded: a task of another controller must not be failed by us."""
    try:
        return _decode_manager(raw).managed_by
    except (msgspec.DecodeError, RecursionError):
        return names.CONTROLLER


decode_event = msgspec.json.Decoder(PodEvent).decode


_encode = msgspec.msgpack.Encoder().encode
_PREFIX = f"{names.GROUP}/"


def _pack_pod(pod: Pod) -> bytes:
    """Encode a Pod without other labels and annotations than ours: a Pod of an Airflow task has a kilobyte of them."""
    metadata = _replace(
        pod.metadata,
        labels=_own_keys(pod.metadata.labels),
        annotations=_own_keys(pod.metadata.annotations),
        managed_fields=pod.kubelet_managed_fields,
    )
    return _encode(_replace(pod, metadata=metadata))


def _own_keys(pairs: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in pairs.items() if key.startswith(_PREFIX)}


POD_CODEC = Codec(_pack_pod, msgspec.msgpack.Decoder(Pod).decode)
TASK_CODEC: Codec[Task] = Codec(_encode, msgspec.msgpack.Decoder(Task).decode)


def pod_meta(pod: Pod) -> Meta:
    """Return the metadata that the informer needs."""
    return _meta(pod.metadata)


def task_meta(task: Task) -> Meta:
    """Return the metadata that the informer needs."""
    return _meta(task.metadata)


def status_to_wire(status: TaskStatus) -> dict[str, Any]:
    """Return the status as a dict in the API's form (camelCase), without fields that are not set."""
    wire: dict[str, Any] = msgspec.to_builtins(status)
    return wire


def _meta(metadata: Metadata) -> Meta:
    return Meta(metadata.namespace, metadata.name, metadata.uid, metadata.resource_version)
