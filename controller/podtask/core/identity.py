"""Keys, names, labels and references that connect a task and its Pods.

A Pod's name is a function of the task's name, its uid and the number of the attempt. A repeated create, by this
process or another, therefore conflicts with the Pod that the first one created.
"""

import base64
import functools
import hashlib
from typing import Any

import msgspec

from ..api import names

MUTABLE_FIELDS = frozenset(
    {
        "suspend",
        "cancel",
        "cancelTime",
        "ttlSecondsAfterFinished",
        "ttlSecondsAfterSucceeded",
        "ttlSecondsAfterFailed",
        "podRetention",
        "podTTLSecondsAfterFinished",
        "forceDeletePodAfterSeconds",
    }
)
"""Fields of spec that may change until the task finishes. Pods are not built from them."""

_HASH_BYTES = 5
"""Eight characters in base 32."""
_NAME_LIMIT = 63
"""A Pod's name is also its hostname, which is a DNS label."""


def task_key(namespace: str, uid: str) -> str:
    """Return the key of a task in the queue, the index of Pods and the slots: "namespace/uid".

    The uid is also the value of a label that users of any namespace can set on their own Pods. With the namespace in
    the key, such a Pod is not found as a Pod of the task.
    """
    return f"{namespace}/{uid}"


def split_task_key(key: str) -> tuple[str, str]:
    """Return namespace and uid of a task's key."""
    namespace, _, uid = key.partition("/")
    return namespace, uid


def pod_name(task_name: str, task_uid: str, attempt: int) -> str:
    """Return the name of an attempt's Pod, "<task>-<hash of uid>-<attempt>": a DNS label of at most 63 characters."""
    suffix = f"-{_short_hash(task_uid)}-{attempt}"
    stem = task_name.replace(".", "-")[: _NAME_LIMIT - len(suffix)].rstrip("-")
    return f"{stem}{suffix}"


@functools.lru_cache(maxsize=256)  # a task is decided about six times within two seconds
def _short_hash(uid: str) -> str:
    return base64.b32encode(hashlib.sha256(uid.encode()).digest()[:_HASH_BYTES]).decode().lower()


def spec_hash(spec: dict[str, Any]) -> str:
    """Return the SHA-256 of what Pods are built from: spec without its mutable fields, as canonical JSON."""
    kept = {key: value for key, value in spec.items() if key not in MUTABLE_FIELDS}
    return hashlib.sha256(msgspec.json.encode(kept, order="deterministic")).hexdigest()


def pod_labels(task_name: str, task_uid: str, attempt: int) -> dict[str, str]:
    """Give the labels by which the Pod is found."""
    return {
        names.LABEL_TASK_UID: task_uid,
        names.LABEL_ATTEMPT: str(attempt),
        names.LABEL_TASK_NAME: task_name[:_NAME_LIMIT].rstrip("-."),
    }


def owner_reference(task_name: str, task_uid: str) -> dict[str, Any]:
    """Return the controller owner reference to the task: the garbage collector deletes the Pod with it."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": task_name,
        "uid": task_uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
