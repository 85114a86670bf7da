"""Wait in a worker until a PodTask has ended. Watch events and the request to stop arrive in one queue.

`on_kill` runs in a signal handler, on Airflow 3.3 while a non-reentrant lock is held, so it only puts a token into the
queue. What to do about it is decided in the thread of `execute`, from the task instance's state in Airflow.
"""

from __future__ import annotations

import enum
import logging
import queue
import time
from collections.abc import Callable
from typing import Any

from ..api_types import PodTask
from ..exceptions import PodTaskControllerNotFound, PodTaskError, PodTaskLost, PodTaskUnreachable
from ..hooks import api_errors
from ..hooks.podtask import PodTaskClient
from . import podtask as podtasks
from . import reflector as reflectors

PERMANENT_ERROR_SECONDS = 60.0
"""How long a 401 or 403 is tolerated: credentials and rights are sometimes renewed while a task runs."""
CHECK_SECONDS = 30.0
"""How often an idle wait checks that the reflector's thread is alive. That sends no request."""

_PODTASK_CONTROLLER = "podtask.dev/controller"
_log = logging.getLogger(__name__)


class OnStop(enum.Enum):
    """What happens to the PodTask when its process is asked to stop."""

    CANCEL = "cancel"
    """Nothing needs the result any more."""
    DEFER = "defer"
    """The worker shuts down: the triggerer continues to wait."""
    LEAVE = "leave"
    """The worker shuts down and there is no triggerer: the next try reattaches."""


def on_stop(state: str | None, *, is_known: bool, has_triggerer: bool, tries_remain: bool) -> OnStop:
    """Tell a user's kill from a worker's shutdown: the task instance is still `running` only in the latter."""
    if is_known and state != "running":
        return OnStop.CANCEL
    if has_triggerer and is_known:
        return OnStop.DEFER
    return OnStop.LEAVE if tries_remain else OnStop.CANCEL


class CompletionWaiter:
    """The wait of one process. `kill` may be called from a signal handler, all else from the thread of `execute`."""

    def __init__(self, *, outage_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._outage_seconds = outage_seconds
        self._clock = clock
        self.is_killed = False

    def kill(self) -> None:
        """Ask the wait to stop. Reentrant."""
        self.is_killed = True
        self._queue.put(_KILL)

    def await_completion(
        self,
        client: PodTaskClient,
        task: PodTask,
        *,
        changed: Callable[[PodTask], None],
        killed: Callable[[PodTask], None],
        not_reconciled_seconds: float | None = None,
    ) -> PodTask:
        """Wait for a terminal phase and return the PodTask as it is then.

        `changed` gets each version of the object; `killed` is called after `kill` and has to raise. Raises PodTaskLost
        when the object is deleted, PodTaskUnreachable after too long an outage, and PodTaskControllerNotFound when no
        controller has written a status within `not_reconciled_seconds`.
        """
        reflector = self._reflect(client, task)
        since, watch_error = self._clock(), None
        try:
            changed(task)
            while podtasks.is_active(task):
                due = self._due(task, since, watch_error, not_reconciled_seconds)
                item = self._next(due)
                if item is _IDLE:
                    reflector = reflector if not reflector.join(0) else self._reflect(client, task)
                elif item is _KILL:
                    killed(task)
                elif isinstance(item, reflectors.Deleted):
                    raise deleted_before_end(task)
                elif isinstance(item, reflectors.WatchError):
                    if watch_error is None:
                        _log.warning(
                            "Cannot watch PodTask %s, still waiting: %s", podtasks.qualified_name(task), item.error
                        )
                    watch_error = item
                elif item is None:
                    raise self._overdue(task, watch_error, not_reconciled_seconds)
                elif item["metadata"]["uid"] == task["metadata"]["uid"]:
                    # The controller may have acted during an outage that hid it, so that period starts again.
                    since, watch_error = (self._clock() if watch_error else since), None
                    task = item
                    changed(task)
        finally:
            reflector.stop()
        return task

    def _reflect(self, client: PodTaskClient, task: PodTask) -> reflectors.Reflector:
        return reflectors.Reflector(client, task, self._queue.put, is_current=True).start()

    def _next(self, due: float | None) -> Any:
        """Return the next item; None when `due` is reached; _IDLE when nothing came for CHECK_SECONDS."""
        now = self._clock()
        is_soon = due is not None and due <= now + CHECK_SECONDS
        try:
            return self._queue.get(timeout=max(0.0, due - now) if due is not None and is_soon else CHECK_SECONDS)
        except queue.Empty:
            return None if is_soon else _IDLE

    def _due(
        self,
        task: PodTask,
        since: float,
        watch_error: reflectors.WatchError | None,
        not_reconciled_seconds: float | None,
    ) -> float | None:
        if watch_error is not None:
            return watch_error.since + self._tolerance(watch_error.error)
        if not_reconciled_seconds is not None and podtasks.is_not_reconciled(task):
            return since + not_reconciled_seconds
        return None

    def _tolerance(self, error: api_errors.ApiError) -> float:
        return min(PERMANENT_ERROR_SECONDS, self._outage_seconds) if error.is_permanent else self._outage_seconds

    def _overdue(
        self, task: PodTask, watch_error: reflectors.WatchError | None, not_reconciled_seconds: float | None
    ) -> PodTaskError:
        if watch_error is not None:
            return PodTaskUnreachable(
                f"PodTask {podtasks.qualified_name(task)} could not be watched for "
                f"{self._tolerance(watch_error.error):.0f} s: {watch_error.error}"
            )
        return controller_not_found(task, not_reconciled_seconds or 0)


def not_reconciled_seconds(task: PodTask, controller_timeout: float) -> float | None:
    """Return after how many seconds without a status the controller counts as missing; None for another controller's.

    The controller writes within half a minute what a task waits for, a slow image or an init container included.
    """
    is_ours = task["spec"].get("managedBy", _PODTASK_CONTROLLER) == _PODTASK_CONTROLLER
    return controller_timeout if is_ours else None


def controller_not_found(task: PodTask, seconds: float) -> PodTaskControllerNotFound:
    """Return the error for a PodTask that no controller reconciles."""
    return PodTaskControllerNotFound(
        f"PodTask {podtasks.qualified_name(task)} was not reconciled for {seconds:.0f} s: the PodTask controller is "
        "not running in this cluster, or does not watch this namespace. Check `kubectl get deployment -A "
        "-l app.kubernetes.io/name=podtask`, or install the controller with PodTask's Helm chart."
    )


def deleted_before_end(task: PodTask) -> PodTaskLost:
    """Return the error for a PodTask that was deleted while it was waited for."""
    return PodTaskLost(
        f"PodTask {podtasks.qualified_name(task)} was deleted before it ended (kubectl delete, or its namespace)."
    )


_KILL = object()
_IDLE = object()
