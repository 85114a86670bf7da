"""From the wire inward: bytes of Pods and PodTasks to the core's views, and the status back to bytes.

A PodTask's spec is decoded twice: the few fields that are judged, and the raw bytes that the next Pod is built from.
The raw bytes of a finished task are dropped, so that memory follows the tasks that still have something to do. What is
held of an object between two looks is packed, without what is never judged.
"""

from typing import Any, TypeVar

import msgspec

from ..api import names
from ..core.observed import Metadata, Pod, PodEvent, Task, TaskSpec, TaskStatus
from ..kube import nesting
from ..kube.client import Resource
from ..kube.store import Codec, Meta

M = TypeVar("M", bound=Metadata)

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


def decode_task(raw: bytes) -> Task:
    """Decode a PodTask. One whose spec does not fit the types carries the problem instead of failing."""
    try:
        wire = _decode_task(raw)
    except RecursionError:
        wire = _decode_task(nesting.cut(raw))
    if nesting.is_deeper(bytes(wire.spec), MOST_LEVELS):
        spec = TaskSpec(managed_by=_managed_by(nesting.cut(bytes(wire.spec))))
        return Task(metadata=wire.metadata, spec=spec, status=wire.status, problem=_TOO_DEEP)
    kept = b"" if wire.status.phase_is_terminal else bytes(wire.spec)
    try:
        spec, problem = _decode_spec(wire.spec), ""
    except (msgspec.DecodeError, RecursionError) as error:
        spec, problem = TaskSpec(managed_by=_managed_by(wire.spec)), f"spec cannot be understood: {error}"
    return Task(metadata=wire.metadata, spec=spec, status=wire.status, raw_spec=kept, problem=problem)


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
    metadata = msgspec.structs.replace(_judged(pod.metadata), managed_fields=pod.written_by_kubelet)
    return _encode(msgspec.structs.replace(pod, metadata=metadata))


def _pack_task(task: Task) -> bytes:
    return _encode(msgspec.structs.replace(task, metadata=_judged(task.metadata)))


def _judged(metadata: M) -> M:
    """Leave out the labels and annotations of others: an Airflow task has a kilobyte of them, and so has its Pod."""
    return msgspec.structs.replace(metadata, labels=_ours(metadata.labels), annotations=_ours(metadata.annotations))


def _ours(pairs: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in pairs.items() if key.startswith(_PREFIX)}


PODS_HELD = Codec(_pack_pod, msgspec.msgpack.Decoder(Pod).decode)
TASKS_HELD = Codec(_pack_task, msgspec.msgpack.Decoder(Task).decode)


def pod_meta(pod: Pod) -> Meta:
    """Give what the informer needs to know of a Pod."""
    return _meta(pod.metadata)


def task_meta(task: Task) -> Meta:
    """Give what the informer needs to know of a PodTask."""
    return _meta(task.metadata)


def pod_task_key(pod: Pod) -> str | None:
    """Give the key of the task that a Pod says it belongs to."""
    return pod.task_key


def status_to_wire(status: TaskStatus) -> dict[str, Any]:
    """Give the status as the API writes it, without what is not set."""
    wire: dict[str, Any] = msgspec.to_builtins(status)
    return wire


def _meta(metadata: Metadata) -> Meta:
    return Meta(metadata.namespace, metadata.name, metadata.uid, metadata.resource_version)
