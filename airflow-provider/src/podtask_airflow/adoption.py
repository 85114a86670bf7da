"""What a try does about the PodTasks that earlier tries of its task instance left. Pure.

A worker may have died at any moment, so a later try looks before it creates: what runs is taken over, what has
succeeded is not run again. A user's clear is told from Airflow's own retry by max_tries, which only a clear raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import identity as identities
from . import names
from .identity import Identity

Task = dict[str, Any]
Operations = list[dict[str, Any]]

TERMINAL = frozenset({"Succeeded", "Failed", "Cancelled", "Skipped"})
_DONE = frozenset({"Succeeded", "Skipped"})
"""Ends that a retry takes over: the work was done, only its waiter was not there."""


@dataclass(frozen=True)
class Create:
    """Create a PodTask; `history` is the newest that ended without a result, to be told in the log."""

    history: Task | None = None


@dataclass(frozen=True)
class Adopt:
    """Wait for this one, which is under way."""

    task: Task


@dataclass(frozen=True)
class TakeResult:
    """It has ended, and its end is this try's."""

    task: Task


@dataclass(frozen=True)
class CancelThenCreate:
    """Cancel these, wait until they have stopped, then create."""

    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class Extend:
    """The name is somebody else's: create under another."""


Verdict = Create | Adopt | TakeResult | CancelThenCreate


def judge(identity: Identity, found: list[Task], *, reattach: bool = True) -> Verdict:
    """Decide what a later try does about the PodTasks with its task key."""
    ours = [task for task in found if _label(task, names.LABEL_TASK_KEY) == identities.task_key(identity)]
    if not ours:
        return Create()
    newest = max(ours, key=_age_key)
    if is_own(identity, newest):
        return _of_own(newest)
    active = tuple(sorted((task for task in ours if is_active(task)), key=_age_key))
    if not reattach or _was_cleared(identity, newest) or (active and not _is_adoptable(newest)):
        return CancelThenCreate(active) if active else Create(newest)
    if phase(newest) in _DONE:
        return TakeResult(newest)
    return Adopt(newest) if is_active(newest) else Create(newest)


def of_conflict(identity: Identity, existing: Task, *, reattach: bool = True) -> Adopt | TakeResult | Extend:
    """Decide about the object whose name a create met: ours where an answer was lost, else somebody else's."""
    if not reattach or not is_own(identity, existing) or existing["metadata"].get("deletionTimestamp"):
        return Extend()
    return _of_own(existing)


def is_own(identity: Identity, task: Task) -> bool:
    """Whether this very try created the PodTask, or took it over, before its process was started once more."""
    return identity.ti_id in {_annotation(task, names.ANNOTATION_TI), _annotation(task, names.ANNOTATION_WAITER)}


def is_active(task: Task) -> bool:
    """Whether its Pod may still run."""
    return phase(task) not in TERMINAL


def phase(task: Task) -> str:
    """Give status.phase."""
    return str((task.get("status") or {}).get("phase") or "Pending")


def waiter(task: Task) -> str:
    """Give the ti id of whoever waits for the task."""
    return _annotation(task, names.ANNOTATION_WAITER)


def take_over(identity: Identity, task: Task) -> Operations:
    """Become the waiter: refused where somebody else became it meanwhile. Whoever waits lifts the self-destruction."""
    operations = [*fence(task, waiter(task)), _put(names.ANNOTATION_WAITER, identity.ti_id)]
    if "cancelAfter" in task["spec"]:
        operations.append(_KEEP)
    return operations


def cancel_over(identity: Identity, task: Task) -> Operations:
    """Become the waiter and cancel, in one patch: the earlier waiter, if it lives, can do nothing more."""
    return [*fence(task, waiter(task)), _put(names.ANNOTATION_WAITER, identity.ti_id), _CANCEL]


def cancel(task: Task, ti_id: str) -> Operations:
    """Cancel, as the waiter."""
    return [*fence(task, ti_id), _CANCEL]


def cancel_after(task: Task, ti_id: str, at: datetime) -> Operations:
    """Let the task end by itself unless somebody becomes its waiter before then."""
    return [*fence(task, ti_id), {"op": "add", "path": "/spec/cancelAfter", "value": timestamp(at)}]


def keep(task: Task, ti_id: str) -> Operations:
    """Take that back: somebody waits."""
    return [*fence(task, ti_id), _KEEP]


def timestamp(at: datetime) -> str:
    """A time as the API has it."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def acknowledge(task: Task, ti_id: str) -> Operations:
    """Say that nobody needs the finished Pod any more, as the waiter."""
    return [*fence(task, ti_id), _put(names.ANNOTATION_ACKNOWLEDGED, ti_id)]


def fence(task: Task, ti_id: str) -> Operations:
    """Apply what follows to this very object only, and only while that try waits for it."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": task["metadata"]["uid"]},
        {"op": "test", "path": _path(names.ANNOTATION_WAITER), "value": ti_id},
    ]


_CANCEL = {"op": "add", "path": "/spec/cancel", "value": True}
_KEEP = {"op": "remove", "path": "/spec/cancelAfter"}


def _of_own(task: Task) -> Adopt | TakeResult:
    return Adopt(task) if is_active(task) else TakeResult(task)


def _is_adoptable(task: Task) -> bool:
    return not task["spec"].get("cancel") and not task["metadata"].get("deletionTimestamp")


def _was_cleared(identity: Identity, task: Task) -> bool:
    try:
        return identity.max_tries > int(_annotation(task, names.ANNOTATION_MAX_TRIES))
    except ValueError:
        return True


def _age_key(task: Task) -> tuple[str, int, str]:
    metadata = task["metadata"]
    tried = _annotation(task, names.ANNOTATION_TRY)
    return metadata.get("creationTimestamp", ""), int(tried) if tried.isdigit() else 0, metadata["name"]


def _annotation(task: Task, key: str) -> str:
    return str((task["metadata"].get("annotations") or {}).get(key, ""))


def _label(task: Task, key: str) -> str:
    return str((task["metadata"].get("labels") or {}).get(key, ""))


def _put(annotation: str, value: str) -> dict[str, Any]:
    return {"op": "add", "path": _path(annotation), "value": value}


def _path(annotation: str) -> str:
    return "/metadata/annotations/" + annotation.replace("~", "~0").replace("/", "~1")
