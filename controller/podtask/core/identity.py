"""The names and marks by which a task and its Pods know each other.

A Pod's name is a function of the task's name, its uid and the number of the attempt: a create that is repeated, by
this process or another, meets the Pod that the first one made.
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
"""Fields of spec that may change while the task lives; what a Pod is made from is not among them."""

_HASH_BYTES = 5
"""Eight characters of base 32."""
_NAME_LIMIT = 63
"""A Pod's name is also its hostname, which is a DNS label."""


def task_key(namespace: str, uid: str) -> str:
    """Give the key of a task, "namespace/uid", by which the queue, the Pods' index and the slots know it.

    The uid alone would do among tasks. But it also stands in a label, which anyone may put on a Pod of their own
    namespace; with the namespace in the key such a Pod is not found among the task's.
    """
    return f"{namespace}/{uid}"


def split_task_key(key: str) -> tuple[str, str]:
    """Give namespace and uid of a task's key."""
    namespace, _, uid = key.partition("/")
    return namespace, uid


def pod_name(task_name: str, task_uid: str, attempt: int) -> str:
    """Name the Pod of an attempt: readable stem, hash of the uid, number; a DNS label of at most 63 characters."""
    termination = f"-{_short_hash(task_uid)}-{attempt}"
    stem = task_name.replace(".", "-")[: _NAME_LIMIT - len(termination)].rstrip("-")
    return f"{stem}{termination}"


@functools.lru_cache(maxsize=256)  # a task is looked at some six times within a second or two
def _short_hash(uid: str) -> str:
    return base64.b32encode(hashlib.sha256(uid.encode()).digest()[:_HASH_BYTES]).decode().lower()


def spec_hash(spec: dict[str, Any]) -> str:
    """Digest what Pods are made from: every field of spec but the mutable ones, in canonical JSON."""
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
    """Give the reference that makes the garbage collector remove the Pod after its task."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": task_name,
        "uid": task_uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
