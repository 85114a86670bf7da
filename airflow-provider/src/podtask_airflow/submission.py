"""Bring about the one PodTask that a try waits for: created, taken over, or created after an older one has stopped.

adoption.py judges, this module carries it out. Every step may be repeated: a process that dies in between leaves
nothing that the next one could not judge again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from . import adoption, errors
from . import identity as identities
from .adoption import Task
from .client import Client
from .exceptions import PodTaskLost
from .identity import Identity

_NAMES_TRIED = 20
_RACES = 5

Build = Callable[[int], dict[str, Any]]
"""From an extension of the name to the object's manifest."""
Stop = Callable[[Task], None]
"""Waits until a cancelled PodTask has stopped."""


class Submission:
    """One try's way to its PodTask."""

    def __init__(
        self, client: Client, namespace: str, identity: Identity, *, reattach: bool, log: logging.Logger
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._identity = identity
        self._reattach = reattach
        self._log = log

    def submit(self, build: Build, stopped: Stop, *, look_back: bool) -> Task:
        """Give the PodTask to wait for. First tries only POST; `look_back` asks what earlier ones left."""
        if look_back:
            found = self._look_back(stopped)
            if found is not None:
                return found
        return self._create(build)

    def _look_back(self, stopped: Stop) -> Task | None:
        for _ in range(_RACES):
            found = list(self._client.list(self._namespace, identities.task_selector(self._identity)))
            verdict = adoption.judge(self._identity, found, reattach=self._reattach)
            if isinstance(verdict, adoption.Create):
                self._tell_history(verdict.history)
                return None
            if isinstance(verdict, adoption.CancelThenCreate):
                for task in verdict.tasks:
                    self._stop(task, stopped)
                return None
            self._log.info(
                "Taking over PodTask %s (%s)", verdict.task["metadata"]["name"], adoption.phase(verdict.task)
            )
            taken = self._take_over(verdict.task)
            if taken is not None:
                return taken
        raise PodTaskLost("Other processes keep taking over the PodTasks of this task instance; is it run twice?")

    def _create(self, build: Build) -> Task:
        for extension in range(_NAMES_TRIED):
            body = build(extension)
            try:
                return self._client.create(self._namespace, body)
            except errors.Conflict:
                existing = self._existing(body["metadata"]["name"])
            if existing is None:
                continue
            verdict = adoption.of_conflict(self._identity, existing, reattach=self._reattach)
            if isinstance(verdict, adoption.Extend):
                self._log.info("PodTask %s is not of this try; using another name", body["metadata"]["name"])
                continue
            taken = self._take_over(verdict.task)
            if taken is not None:
                return taken
        raise PodTaskLost(f"{_NAMES_TRIED} names for this task's PodTask are taken by others")

    def _existing(self, name: str) -> Task | None:
        try:
            return self._client.get(self._namespace, name)
        except errors.CrdMissing:
            raise
        except errors.NotFound:
            return None

    def _take_over(self, task: Task) -> Task | None:
        """Become the waiter; None where somebody else was faster, or it is gone."""
        ours = adoption.waiter(task) == self._identity.ti_id
        if ours and "cancelAfter" not in task["spec"]:
            return task
        try:
            return self._client.patch(
                self._namespace, task["metadata"]["name"], adoption.take_over(self._identity, task)
            )
        except errors.Invalid:
            # Somebody else was faster; or the patch went through and its answer was lost.
            found = self._existing(task["metadata"]["name"])
            done = found is not None and adoption.waiter(found) == self._identity.ti_id
            return found if done and found is not None and "cancelAfter" not in found["spec"] else None
        except errors.NotFound:
            return None

    def _stop(self, task: Task, stopped: Stop) -> None:
        name = task["metadata"]["name"]
        self._log.info("Cancelling PodTask %s, which an earlier try left, before a new one is made", name)
        try:
            cancelled = self._client.patch(self._namespace, name, adoption.cancel_over(self._identity, task))
        except errors.Invalid:
            found = self._existing(name)
            if found is None:
                return
            if not found["spec"].get("cancel"):
                raise
            cancelled = found
        except errors.NotFound:
            return
        stopped(cancelled)

    def _tell_history(self, task: Task | None) -> None:
        if task is None:
            return
        status = task.get("status") or {}
        self._log.info(
            "An earlier try's PodTask %s ended %s, %s: %s",
            task["metadata"]["name"],
            status.get("phase"),
            status.get("reason"),
            status.get("message"),
        )
