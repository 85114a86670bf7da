"""The loop in which a worker waits for its PodTask: changes and the wish to stop arrive in one queue.

on_kill runs inside of a signal handler, on Airflow 3.3 over a lock that cannot be entered twice: it may only put a
token. What is to be done about it is decided here, in execute's own thread, from the task's state in Airflow.
"""

from __future__ import annotations

import enum
import logging
import queue
import time
from collections.abc import Callable
from typing import Any

from . import adoption, errors, watch
from .adoption import Task
from .client import Client
from .exceptions import ControllerMissing, PodTaskError, PodTaskLost, PodTaskUnreachable

LASTING_SECONDS = 60.0
"""How long a refusal (401, 403) is borne that no waiting will mend; rights are sometimes renewed under way."""
CHECK_SECONDS = 30.0
"""How often a quiet wait makes sure that its watch's thread lives; nothing is asked of the cluster for that."""

_OURS = "podtask.dev/controller"
_log = logging.getLogger(__name__)


class Ending(enum.Enum):
    """What becomes of a task whose process is told to stop."""

    CANCEL = "cancel"
    """Nobody wants it any more."""
    DEFER = "defer"
    """The worker goes, the task stays: the triggerer waits on."""
    LEAVE = "leave"
    """The worker goes and there is no triggerer: the next try takes it over."""


def ending(state: str | None, *, is_known: bool, has_triggerer: bool, tries_remain: bool) -> Ending:
    """Tell a user's kill from a worker's shutdown: only in the latter the task counts as running still."""
    if is_known and state != "running":
        return Ending.CANCEL
    if has_triggerer and is_known:
        return Ending.DEFER
    return Ending.LEAVE if tries_remain else Ending.CANCEL


class Waiting:
    """One process' wait. `kill` may be called from a signal handler, everything else from execute's thread."""

    def __init__(self, *, outage_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._outage_seconds = outage_seconds
        self._clock = clock
        self.is_killed = False

    def kill(self) -> None:
        """Ask the loop to stop. Reentrant: it only puts a token."""
        self.is_killed = True
        self._queue.put(_KILL)

    def until_terminal(
        self,
        client: Client,
        task: Task,
        *,
        changed: Callable[[Task], None],
        killed: Callable[[Task], None],
        untouched_seconds: float | None = None,
    ) -> Task:
        """Wait for the end of a PodTask and give it as it is then. `killed` raises."""
        metadata = task["metadata"]
        follow = self._follow(client, task)
        since, trouble = self._clock(), None
        try:
            changed(task)
            while adoption.is_active(task):
                due = self._due(task, since, trouble, untouched_seconds)
                item = self._next(due)
                if item is _QUIET:
                    follow = follow if not follow.join(0) else self._follow(client, task)
                    continue
                if item is _KILL:
                    killed(task)
                elif isinstance(item, watch.Gone):
                    raise PodTaskLost(f"PodTask {metadata['namespace']}/{metadata['name']} was deleted before its end")
                elif isinstance(item, watch.Trouble):
                    if trouble is None:
                        _log.warning("Waiting on although the cluster does not answer: %s", item.error)
                    trouble = item
                elif item is None:
                    raise self._overdue(task, trouble, untouched_seconds)
                elif item["metadata"]["uid"] == metadata["uid"]:
                    # What was not heard for a while was perhaps touched meanwhile: that clock starts afresh.
                    since, trouble = (self._clock() if trouble else since), None
                    task = item
                    changed(task)
        finally:
            follow.stop()
        return task

    def _follow(self, client: Client, task: Task) -> watch.Follow:
        metadata = task["metadata"]
        return watch.follow(
            client, metadata["namespace"], metadata["name"], metadata["uid"], self._queue.put, seen=task
        )

    def _next(self, due: float | None) -> Any:
        """Give the next item, None at the time that is due, or that it was quiet for a while."""
        now = self._clock()
        is_soon = due is not None and due <= now + CHECK_SECONDS
        try:
            return self._queue.get(timeout=max(0.0, due - now) if due is not None and is_soon else CHECK_SECONDS)
        except queue.Empty:
            return None if is_soon else _QUIET

    def _due(
        self, task: Task, since: float, trouble: watch.Trouble | None, untouched_seconds: float | None
    ) -> float | None:
        if trouble is not None:
            return trouble.since + self._patience(trouble.error)
        if untouched_seconds is not None and is_untouched(task):
            return since + untouched_seconds
        return None

    def _patience(self, error: errors.ApiError) -> float:
        return min(LASTING_SECONDS, self._outage_seconds) if error.lasting else self._outage_seconds

    def _overdue(self, task: Task, trouble: watch.Trouble | None, untouched_seconds: float | None) -> PodTaskError:
        if trouble is not None:
            return PodTaskUnreachable(f"Gave up waiting after {self._patience(trouble.error):.0f} s: {trouble.error}")
        return controller_missing(task, untouched_seconds or 0)


def is_untouched(task: Task) -> bool:
    """Whether no controller has written anything about the task."""
    status = task.get("status") or {}
    return not (status.get("observedGeneration") or status.get("reason") or status.get("attempts"))


def untouched_seconds(task: Task, controller_timeout: float) -> float | None:
    """Say how long a task may stay untouched before the controller must be missing.

    The controller writes within half a minute what a task waits for, a slow image or an init container included.
    """
    return controller_timeout if task["spec"].get("managedBy", _OURS) == _OURS else None


def controller_missing(task: Task, seconds: float) -> ControllerMissing:
    """Say that nobody acts on the task."""
    metadata = task["metadata"]
    return ControllerMissing(
        f"Nothing acted on PodTask {metadata['namespace']}/{metadata['name']} for {seconds:.0f} s: the PodTask "
        "controller is not running in this cluster, or does not watch this namespace. Ask `kubectl get deployment -A "
        "-l app.kubernetes.io/name=podtask`, or install it with PodTask's Helm chart."
    )


_KILL = object()
_QUIET = object()
