"""Facts of one PodTask object, and the JSON patches that its owner sends. No I/O.

The owner is the Airflow try that waits for the PodTask, recorded in an annotation. Each patch first tests the uid and
the owner, so the API server rejects it when another try has taken the PodTask over or another object has the name.
"""

from __future__ import annotations

from datetime import datetime

from .. import constants
from ..api_types import Attempt, JsonPatch, JsonPatchOperation, PodTask, PodTaskStatus

TERMINAL_PHASES = frozenset({"Succeeded", "Failed", "Cancelled", "Skipped"})


def qualified_name(task: PodTask) -> str:
    """Return namespace/name, as messages print it."""
    return f"{task['metadata'].get('namespace')}/{task['metadata']['name']}"


def status(task: PodTask) -> PodTaskStatus:
    """Return the status; empty before the controller's first write."""
    return task.get("status") or {}


def phase(task: PodTask) -> str:
    """Return status.phase, "Pending" where there is none."""
    return status(task).get("phase") or "Pending"


def last_attempt(task: PodTask) -> Attempt:
    """Return the newest entry of status.attempts; empty where there is none."""
    attempts = status(task).get("attempts") or []
    return attempts[-1] if attempts else {}


def is_active(task: PodTask) -> bool:
    """Return whether its phase is not terminal, so that its Pod may still run."""
    return phase(task) not in TERMINAL_PHASES


def is_not_reconciled(task: PodTask) -> bool:
    """Return whether no controller has written the status yet."""
    found = status(task)
    return not (found.get("observedGeneration") or found.get("reason") or found.get("attempts"))


def annotation(task: PodTask, key: str) -> str:
    """Return an annotation's value, or an empty string."""
    return (task["metadata"].get("annotations") or {}).get(key, "")


def owner(task: PodTask) -> str:
    """Return the id of the try that waits for the PodTask."""
    return annotation(task, constants.ANNOTATION_OWNER)


def cancel(task: PodTask, ti_id: str) -> JsonPatch:
    """Set spec.cancel."""
    return [*require_owner(task, ti_id), CANCEL]


def set_cancel_time(task: PodTask, ti_id: str, at: datetime) -> JsonPatch:
    """Set spec.cancelTime: the controller cancels the PodTask then, unless another try has removed the field."""
    return [*require_owner(task, ti_id), {"op": "add", "path": "/spec/cancelTime", "value": timestamp(at)}]


def remove_cancel_time(task: PodTask, ti_id: str) -> JsonPatch:
    """Remove spec.cancelTime. The API server rejects the patch where the field is not set."""
    return [*require_owner(task, ti_id), REMOVE_CANCEL_AFTER]


def release(task: PodTask, ti_id: str) -> JsonPatch:
    """Mark the finished PodTask as acknowledged: the controller need not keep its Pod any longer."""
    return [*require_owner(task, ti_id), set_annotation(constants.ANNOTATION_ACKNOWLEDGED, ti_id)]


def require_owner(task: PodTask, ti_id: str) -> JsonPatch:
    """Return the tests that each patch begins with: same uid, and this try is the owner."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": task["metadata"]["uid"]},
        {"op": "test", "path": _pointer(constants.ANNOTATION_OWNER), "value": ti_id},
    ]


def set_annotation(key: str, value: str) -> JsonPatchOperation:
    """Return the operation that writes one annotation."""
    return {"op": "add", "path": _pointer(key), "value": value}


def timestamp(at: datetime) -> str:
    """Return a UTC time in the API's format, in whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


CANCEL: JsonPatchOperation = {"op": "add", "path": "/spec/cancel", "value": True}
REMOVE_CANCEL_AFTER: JsonPatchOperation = {"op": "remove", "path": "/spec/cancelTime"}


def _pointer(key: str) -> str:
    """Return the JSON pointer of an annotation; RFC 6901 escapes `~` and `/`."""
    return "/metadata/annotations/" + key.replace("~", "~0").replace("/", "~1")
