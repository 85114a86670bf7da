"""Get or create the PodTask that a try waits for.

A worker may die at any moment, so a later try lists the PodTasks of earlier tries before it creates one: it reattaches
to a running one, and uses the result of one that succeeded. A clear by a user differs from a retry by Airflow in
max_tries, which only a clear raises.

Each step may be repeated: a process that dies in between leaves objects from which the next one decides again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from .. import constants
from ..api_types import JsonPatch, JsonPatchOperation, PodTask
from ..exceptions import PodTaskLost
from ..hooks import api_errors
from ..hooks.podtask import PodTaskClient
from . import identity as identities
from . import podtask as podtasks
from .identity import Identity

_MAX_NAMES = 20
_MAX_REATTACH_TRIES = 5
_DONE = frozenset({"Succeeded", "Skipped"})
"""Phases whose result a retry uses instead of running the task again."""

Build = Callable[[int], PodTask]
"""Builds the manifest; the argument is the suffix number for a name that is taken, 0 for none."""
WaitUntilStopped = Callable[[PodTask], None]
"""Waits until a cancelled PodTask has reached a terminal phase."""


# The decision


@dataclass(frozen=True)
class Create:
    """Create a PodTask. `previous` is the newest that ended without a usable result; its end is logged."""

    previous: PodTask | None = None


@dataclass(frozen=True)
class Reattach:
    """Wait for this active PodTask."""

    task: PodTask


@dataclass(frozen=True)
class UseResult:
    """The PodTask has ended, and its outcome is this try's."""

    task: PodTask


@dataclass(frozen=True)
class CancelThenCreate:
    """Cancel these PodTasks, wait until they have stopped, then create one."""

    tasks: tuple[PodTask, ...]


@dataclass(frozen=True)
class NameTaken:
    """Another PodTask has the name: create one with another name."""


Decision = Create | Reattach | UseResult | CancelThenCreate


def decide(identity: Identity, found: list[PodTask], *, reattach: bool = True) -> Decision:
    """Decide what a later try does, given the PodTasks with its task key."""
    key = identities.task_key(identity)
    ours = [task for task in found if (task["metadata"].get("labels") or {}).get(constants.LABEL_TASK_KEY) == key]
    if not ours:
        return Create()
    newest = max(ours, key=_age_key)
    if is_own(identity, newest):
        return _reattach_or_use(newest)
    active = tuple(sorted((task for task in ours if podtasks.is_active(task)), key=_age_key))
    if not reattach or _was_cleared(identity, newest) or (active and not _can_reattach(newest)):
        return CancelThenCreate(active) if active else Create(newest)
    if podtasks.phase(newest) in _DONE:
        return UseResult(newest)
    return Reattach(newest) if podtasks.is_active(newest) else Create(newest)


def decide_on_conflict(
    identity: Identity, existing: PodTask, *, reattach: bool = True
) -> Reattach | UseResult | NameTaken:
    """Decide after a 409: the object is this try's own if the reply to an earlier create was lost."""
    if not reattach or not is_own(identity, existing) or existing["metadata"].get("deletionTimestamp"):
        return NameTaken()
    return _reattach_or_use(existing)


def is_own(identity: Identity, task: PodTask) -> bool:
    """Return whether this very try created the PodTask or owns it, from an earlier process of the same try."""
    ids = (podtasks.annotation(task, constants.ANNOTATION_TI), podtasks.owner(task))
    return identity.ti_id in ids


def _reattach_or_use(task: PodTask) -> Reattach | UseResult:
    return Reattach(task) if podtasks.is_active(task) else UseResult(task)


def _can_reattach(task: PodTask) -> bool:
    return not task["spec"].get("cancel") and not task["metadata"].get("deletionTimestamp")


def _was_cleared(identity: Identity, task: PodTask) -> bool:
    try:
        return identity.max_tries > int(podtasks.annotation(task, constants.ANNOTATION_MAX_TRIES))
    except ValueError:
        return True


def _age_key(task: PodTask) -> tuple[str, int, str]:
    metadata = task["metadata"]
    number = podtasks.annotation(task, constants.ANNOTATION_TRY)
    return metadata.get("creationTimestamp", ""), int(number) if number.isdigit() else 0, metadata["name"]


# Patches of a new owner


def reattach_to(identity: Identity, task: PodTask) -> JsonPatch:
    """Become the owner and remove spec.cancelTime. Rejected if another try became the owner meanwhile."""
    patch = [*podtasks.require_owner(task, podtasks.owner(task)), _become_owner(identity)]
    if "cancelTime" in task["spec"]:
        patch.append(podtasks.REMOVE_CANCEL_AFTER)
    return patch


def cancel_as_new_owner(identity: Identity, task: PodTask) -> JsonPatch:
    """Become the owner and cancel, in one patch: later patches of the previous owner are rejected."""
    return [*podtasks.require_owner(task, podtasks.owner(task)), _become_owner(identity), podtasks.CANCEL]


def _become_owner(identity: Identity) -> JsonPatchOperation:
    return podtasks.set_annotation(constants.ANNOTATION_OWNER, identity.ti_id)


# Carrying it out


def get_or_create_podtask(
    client: PodTaskClient,
    namespace: str,
    identity: Identity,
    build: Build,
    wait_until_stopped: WaitUntilStopped,
    *,
    reattach: bool,
    find_earlier: bool,
    log: logging.Logger,
) -> PodTask:
    """Return the PodTask to wait for: an earlier try's, this try's own, or a new one.

    A first try only sends a POST; `find_earlier` makes a later one list the PodTasks of earlier tries first. Raises
    PodTaskLost where other processes of the same task instance, or other PodTasks' names, do not let it succeed.
    """
    steps = _Steps(client, namespace, identity, reattach, log)
    if find_earlier and (found := steps.find_earlier(wait_until_stopped)) is not None:
        return found
    return steps.create(build)


@dataclass(frozen=True)
class _Steps:
    client: PodTaskClient
    namespace: str
    identity: Identity
    reattach: bool
    log: logging.Logger

    def find_earlier(self, wait_until_stopped: WaitUntilStopped) -> PodTask | None:
        """Return an earlier try's PodTask to wait for; None to create one."""
        for _ in range(_MAX_REATTACH_TRIES):
            found = list(self.client.list(self.namespace, identities.task_selector(self.identity)))
            decision = decide(self.identity, found, reattach=self.reattach)
            if isinstance(decision, Create):
                self._log_previous(decision.previous)
                return None
            if isinstance(decision, CancelThenCreate):
                for task in decision.tasks:
                    self._cancel(task, wait_until_stopped)
                return None
            task = decision.task
            self.log.info("Reattaching to PodTask %s (%s)", podtasks.qualified_name(task), podtasks.phase(task))
            taken = self._reattach_to(task)
            if taken is not None:
                return taken
        raise PodTaskLost(
            "Other processes keep taking over the PodTasks of this task instance. Check whether two schedulers or "
            "two Airflow installations run it."
        )

    def create(self, build: Build) -> PodTask:
        """Create a PodTask, with another name where one is taken."""
        for suffix in range(_MAX_NAMES):
            body = build(suffix)
            name = body["metadata"]["name"]
            try:
                return self.client.create(self.namespace, body)
            except api_errors.Conflict:
                existing = self._get(name)
            if existing is None:
                continue
            decision = decide_on_conflict(self.identity, existing, reattach=self.reattach)
            if isinstance(decision, NameTaken):
                self.log.info("PodTask %s/%s exists and is not of this try; using another name", self.namespace, name)
                continue
            taken = self._reattach_to(decision.task)
            if taken is not None:
                return taken
        raise PodTaskLost(f"{_MAX_NAMES} names for this try's PodTask are taken in namespace {self.namespace}.")

    def _get(self, name: str) -> PodTask | None:
        try:
            return self.client.get(self.namespace, name)
        except api_errors.CrdMissing:
            raise
        except api_errors.NotFound:
            return None

    def _reattach_to(self, task: PodTask) -> PodTask | None:
        """Become the owner; None where another process was faster, or the PodTask is gone."""
        if podtasks.owner(task) == self.identity.ti_id and "cancelTime" not in task["spec"]:
            return task
        name = task["metadata"]["name"]
        try:
            return self.client.patch(self.namespace, name, reattach_to(self.identity, task))
        except api_errors.Invalid:
            # Another process was faster, or the patch was applied and its reply was lost.
            found = self._get(name)
            is_owner = found is not None and podtasks.owner(found) == self.identity.ti_id
            return found if is_owner and found is not None and "cancelTime" not in found["spec"] else None
        except api_errors.NotFound:
            return None

    def _cancel(self, task: PodTask, wait_until_stopped: WaitUntilStopped) -> None:
        name = task["metadata"]["name"]
        self.log.info(
            "Cancelling PodTask %s of an earlier try before creating a new one", podtasks.qualified_name(task)
        )
        try:
            cancelled = self.client.patch(self.namespace, name, cancel_as_new_owner(self.identity, task))
        except api_errors.Invalid:
            found = self._get(name)
            if found is None:
                return
            if not found["spec"].get("cancel"):
                raise
            cancelled = found
        except api_errors.NotFound:
            return
        wait_until_stopped(cancelled)

    def _log_previous(self, task: PodTask | None) -> None:
        if task is None:
            return
        status = podtasks.status(task)
        self.log.info(
            "PodTask %s of an earlier try ended %s, %s: %s",
            podtasks.qualified_name(task),
            status.get("phase"),
            status.get("reason"),
            status.get("message"),
        )
