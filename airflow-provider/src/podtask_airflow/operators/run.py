"""One run of a task in a worker process: `execute`, or `execute_complete` after the trigger has fired.

A run owns what exists only while a worker works on the task: client, wait and log. The operator creates it and passes
it all that it needs; it does not know the operator. Each of its patches applies only while this try is the PodTask's
owner.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, NoReturn

from .. import exceptions, version_compat
from ..api_types import JsonPatch, PodTask
from ..callbacks import Callbacks
from ..hooks import api_errors
from ..hooks.podtask import PodTaskClient
from ..links import podtask as links
from ..utils import await_completion, deferral, reattach, result
from ..utils import podtask as podtasks
from ..utils.arguments import Arguments
from ..utils.await_completion import CompletionWaiter, OnStop
from ..utils.identity import Identity, deployment_label
from ..utils.log_formatting import LogConsumer

_NEXT_TRY_SLACK = timedelta(hours=1)
"""How much later than planned the next try may start before the PodTask that it would reattach to is cancelled."""
_TRIGGER_LOG_SECONDS = 5
RETURN_KEY = "return_value"
UNATTENDED_SECONDS = 86_400
"""How long a deferred PodTask may run before a trigger has subscribed to it."""
REMOVE_CANCEL_AFTER_SECONDS = 60.0
"""How long a trigger waits before it removes that limit. A PodTask that ends sooner does not need the request."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What a run gets from its operator."""

    context: Mapping[str, Any]
    """Airflow's context of the task instance."""
    arguments: Arguments
    identity: Identity
    client: PodTaskClient
    callbacks: Callbacks
    build: reattach.Build
    """Builds the manifest of the PodTask, mutation hooks included."""
    defer: Callable[..., NoReturn]
    """Defers to the trigger with these keyword arguments, by raising TaskDeferred."""
    retry_delay_seconds: float
    multiple_outputs: bool
    log: logging.Logger


class PodTaskRun:
    """One run. `execute` and `execute_complete` return the task's result or raise; `kill` may come from a signal."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._context = run.context
        self._arguments = run.arguments
        self._identity = run.identity
        self._client = run.client
        self._callbacks = run.callbacks
        self._log = run.log
        self._is_test = version_compat.is_dag_test(run.context)
        self._waiter = CompletionWaiter(outage_seconds=float(run.arguments.api_outage_tolerance or 0))
        self._consumer = LogConsumer(run.client, run.arguments, run.log, run.callbacks.line)
        self._task: PodTask | None = None
        self._logged: tuple[Any, ...] = ()
        self._pod_name = ""
        self._is_stopping = False

    # What the operator calls

    def execute(self) -> Any:
        """Create the PodTask or reattach to one, then wait for its end or defer."""
        return self._handle_errors(self._execute)

    def execute_complete(self, event: Mapping[str, Any]) -> Any:
        """Fetch the log, release the PodTask, and return the result or raise. `event` is the trigger's."""
        return self._handle_errors(functools.partial(self._execute_complete, event))

    def kill(self) -> None:
        """Request a stop; safe in a signal handler."""
        self._waiter.kill()

    # execute

    def _execute(self) -> Any:
        self._callbacks.begin()
        build = functools.lru_cache(maxsize=1)(self._build)
        namespace = build(0)["metadata"]["namespace"]
        self._task = task = reattach.get_or_create_podtask(
            self._client,
            namespace,
            self._identity,
            build,
            self._wait_until_stopped,
            reattach=bool(self._arguments.reattach_on_restart) and not self._is_test,
            find_earlier=self._identity.try_number > 1 and not self._is_test,
            log=self._log,
        )
        name = task["metadata"]["name"]
        self._log.info("Waiting for PodTask %s/%s; %s", namespace, name, links.command(namespace, name))
        self._push("podtask_name", name)
        self._push("pod_namespace", namespace)
        if podtasks.is_active(task) and self._arguments.deferrable:
            self._stop_if_killed(task)
            self._defer(task)
        self._consumer.follow(task)
        return self._finish(self._wait(task))

    def _build(self, suffix: int) -> PodTask:
        body = self._run.build(suffix)
        if self._arguments.deferrable and self._unattended_seconds:
            # If a user ends the task before its trigger runs, no code of this package runs that could cancel it.
            at = datetime.now(timezone.utc) + timedelta(seconds=self._unattended_seconds)
            body["spec"].setdefault("cancelTime", podtasks.timestamp(at))
        return body

    def _wait(self, task: PodTask) -> PodTask:
        return self._waiter.await_completion(
            self._client,
            task,
            changed=self._on_change,
            killed=self._stop,
            not_reconciled_seconds=self._not_reconciled_seconds(task),
        )

    def _wait_until_stopped(self, task: PodTask) -> None:
        """Wait for the end of an earlier try's PodTask that was cancelled."""
        try:
            self._waiter.await_completion(self._client, task, changed=lambda _: None, killed=self._stop_early)
        except exceptions.PodTaskLost:
            self._log.info("PodTask %s was deleted", podtasks.qualified_name(task))

    def _stop_early(self, task: PodTask) -> None:
        raise exceptions.PodTaskTerminated(
            f"Worker is shutting down while an earlier try's PodTask {podtasks.qualified_name(task)} stops."
        )

    # execute_complete

    def _execute_complete(self, event: Mapping[str, Any]) -> Any:
        pod_name = event.get("pod_name")
        task: PodTask = {
            "metadata": {"namespace": event["namespace"], "name": event["name"], "uid": event["uid"]},
            "spec": {},
            "status": {"phase": event["phase"], "attempts": [{"podName": pod_name}] if pod_name else []},
        }
        if event["phase"] == "Deleted":
            raise await_completion.deleted_before_end(task)
        self._task = task
        if event["phase"] == "WatchError":
            return self._wait_in_worker(task, event)
        if event["phase"] == "NotReconciled":
            raise await_completion.controller_not_found(task, float(event.get("not_reconciled_seconds") or 0))
        self._callbacks.begin()
        self._callbacks.resuming(task, event)
        self._consumer.fetch(event, lambda: self._build(0))
        return self._finish(task)

    def _wait_in_worker(self, task: PodTask, event: Mapping[str, Any]) -> Any:
        """Wait in this worker, because the triggerer could not watch the PodTask."""
        where = podtasks.qualified_name(task)
        self._log.warning("The triggerer could not watch PodTask %s: %s", where, event.get("message"))
        metadata = task["metadata"]
        try:
            found = self._client.get(metadata["namespace"], metadata["name"])
        except api_errors.CrdMissing:
            raise
        except api_errors.NotFound:
            raise await_completion.deleted_before_end(task) from None
        if found["metadata"]["uid"] != metadata["uid"]:
            raise await_completion.deleted_before_end(task)
        self._task = found
        if self._has_own_cancel_time(found):
            found = self._patch(found, podtasks.remove_cancel_time(found, self._identity.ti_id))
        self._callbacks.begin()
        self._consumer.follow(found)
        return self._finish(self._wait(found))

    # The end of the task

    def _finish(self, task: PodTask) -> Any:
        """Release the finished PodTask: one PATCH, whose reply is the complete object.

        Logs and callbacks come first, because the controller may delete the Pod once the PodTask is released.
        """
        where = podtasks.qualified_name(task)
        self._consumer.finish()
        self._callbacks.completed(task)
        self._stop_if_killed(task)
        try:
            task = self._patch(task, podtasks.release(task, self._identity.ti_id))
        except api_errors.PatchTestFailed as error:
            message = (
                f"PodTask {where} was taken over by a later try of this task; this process stops without changing it."
            )
            self._log.info(message)
            version_compat.exit_if_superseded(self._context)
            raise exceptions.PodTaskLost(message) from error
        self._log_status(task)
        self._callbacks.changed(task)
        self._callbacks.cleaned_up(task)
        self._stop_if_killed(task)
        return self._result(task)

    def _result(self, task: PodTask) -> Any:
        try:
            value = result.result_or_raise(task, self._log)
        except exceptions.PodTaskSkipped:
            self._push_kept_result(task)
            raise
        except exceptions.PodTaskFailed:
            self._log_events(task)
            self._push_kept_result(task)
            raise
        if not self._arguments.do_xcom_push:
            return None
        if version_compat.xcoms_are_messages():
            result.check_serializable(task, value)
        return value

    def _push_kept_result(self, task: PodTask) -> None:
        """Push the result of a failed or skipped task, as KubernetesPodOperator does."""
        if not self._arguments.do_xcom_push:
            return
        try:
            if (kept := result.kept_result(task)) is None:
                return
            if version_compat.xcoms_are_messages():
                result.check_serializable(task, kept)
            if self._run.multiple_outputs and isinstance(kept, dict):
                for key, entry in kept.items():
                    self._push(key, entry)
            self._push(RETURN_KEY, kept)
        except Exception as error:  # noqa: BLE001 (a failed push must not hide why the task failed)
            where = podtasks.qualified_name(task)
            self._log.warning("The result of PodTask %s cannot be pushed as XCom: %s", where, error)

    # Changes of the status

    def _on_change(self, task: PodTask) -> None:
        self._log_status(task)
        if self._pod_name:
            self._consumer.attempt(self._pod_name, podtasks.last_attempt(task).get("number"))
        self._callbacks.changed(task)

    def _log_status(self, task: PodTask) -> None:
        """Log phase, reason and message where they changed, and push the Pod's name."""
        self._task = task
        status = podtasks.status(task)
        phase, reason, message = logged = (status.get("phase"), status.get("reason"), status.get("message"))
        if logged != self._logged and reason and self._arguments.log_events_on_startup:
            self._logged = logged
            shown_reason = "" if reason == phase else f", {reason}"
            shown_message = f": {message}" if message else ""
            self._log.info("PodTask %s is %s%s%s", podtasks.qualified_name(task), phase, shown_reason, shown_message)
        pod_name = podtasks.last_attempt(task).get("podName")
        if pod_name and pod_name != self._pod_name:
            self._pod_name = pod_name
            self._push("pod_name", pod_name)

    def _log_events(self, task: PodTask) -> None:
        if not self._arguments.log_events_on_failure:
            return
        try:
            for event in self._client.events(task["metadata"]["namespace"], task["metadata"]["uid"]):
                self._log.info("Event %s: %s", event.get("reason"), event.get("message"))
        except api_errors.ApiError as error:
            self._log.warning("The Events of PodTask %s cannot be listed: %s", podtasks.qualified_name(task), error)

    def _push(self, key: str, value: Any) -> None:
        self._context["ti"].xcom_push(key=key, value=value)

    # Kill, shutdown, timeout and errors

    def _handle_errors(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except version_compat.AirflowTaskTimeout:
            self._cancel_after_timeout()
            raise
        except api_errors.ApiError as error:
            raise exceptions.of_request(error) from error
        except exceptions.PodTaskUnreachable:
            self._is_stopping = True
            if self._task is not None:
                self._leave_or_cancel(self._task)
            raise
        except exceptions.PodTaskControllerNotFound:
            self._is_stopping = True
            if self._task is not None:
                self._cancel(self._task)
            raise
        except BaseException:
            # On 2.x a SIGTERM calls on_kill and then raises, wherever execute is at that moment.
            if self._waiter.is_killed and not self._is_stopping and self._task is not None:
                self._stop(self._task, may_finish=False)
            raise
        finally:
            self._client.close()

    def _leave_or_cancel(self, task: PodTask) -> None:
        """Leave the PodTask to the next try, or cancel it if there is none: a PATCH may work where a watch does not."""
        if version_compat.tries_remain(self._context):
            self._leave(task)
        else:
            self._cancel(task)

    def _stop_if_killed(self, task: PodTask) -> None:
        if self._waiter.is_killed:
            self._stop(task)

    def _stop(self, task: PodTask, *, may_finish: bool = True) -> None:
        """Tell a user's kill from a worker's shutdown, cancel, defer or leave accordingly, and raise.

        Returns only if the PodTask has ended and the task instance was not killed: this process then finishes the task.
        """
        self._is_stopping = True
        where = podtasks.qualified_name(task)
        state, is_known = self._task_state()
        if may_finish and not podtasks.is_active(task) and is_known and state == "running":
            return
        action = await_completion.on_stop(
            state,
            is_known=is_known,
            has_triggerer=not version_compat.triggerer_is_missing(),
            tries_remain=version_compat.tries_remain(self._context),
        )
        shown_state = state if is_known else "unknown"
        if action is OnStop.DEFER:
            self._log.info(
                "Worker is shutting down (SIGTERM; task state: %s). PodTask %s keeps running; deferring to the "
                "triggerer.",
                shown_state,
                where,
            )
            self._defer(task)
        if action is OnStop.LEAVE:
            self._leave(task)
            raise exceptions.PodTaskTerminated(
                f"Worker is shutting down (SIGTERM; task state: {shown_state}). PodTask {where} keeps running; the "
                "next try reattaches to it."
            )
        if self._arguments.on_kill_action != "keep_pod":
            self._log.info("Task was killed (task state: %s); cancelling PodTask %s", shown_state, where)
            self._cancel(task)
        version_compat.exit_if_superseded(self._context)
        raise exceptions.PodTaskTerminated(f"Task was killed (task state: {shown_state}) while PodTask {where} ran.")

    def _task_state(self) -> tuple[str | None, bool]:
        """Return the task instance's state, and whether Airflow could be asked."""
        try:
            return version_compat.task_state(self._context), True
        except Exception:  # noqa: BLE001 (each Airflow version fails in another way, and each failure means "unknown")
            self._log.exception("The state of the task instance cannot be read from Airflow")
            return None, False

    def _cancel_after_timeout(self) -> None:
        self._is_stopping = True
        timeout = self._arguments.execution_timeout
        if self._task is None:
            self._log.error("execution_timeout of %s exceeded", timeout)
            return
        where = podtasks.qualified_name(self._task)
        self._log.error("execution_timeout of %s exceeded; cancelling PodTask %s", timeout, where)
        self._cancel(self._task)

    def _cancel(self, task: PodTask) -> None:
        """Cancel the PodTask, unless another try has become its owner."""
        where = podtasks.qualified_name(task)
        try:
            self._patch(task, podtasks.cancel(task, self._identity.ti_id))
        except api_errors.PatchTestFailed:
            self._log.info("PodTask %s has another owner now; it is not cancelled", where)
        except api_errors.NotFound:
            self._log.info("PodTask %s was deleted", where)
        except api_errors.ApiError as error:
            self._log.error("PodTask %s could not be cancelled: %s", where, error)
        else:
            self._log.info("PodTask %s is cancelled", where)

    def _leave(self, task: PodTask) -> None:
        """Let the PodTask run for the next try; the controller cancels it if none reattaches in time."""
        at = datetime.now(timezone.utc) + timedelta(seconds=self._run.retry_delay_seconds) + _NEXT_TRY_SLACK
        try:
            self._patch(task, podtasks.set_cancel_time(task, self._identity.ti_id, at))
        except api_errors.ApiError as error:
            where = podtasks.qualified_name(task)
            self._log.warning("spec.cancelTime of PodTask %s could not be set: %s", where, error)

    def _patch(self, task: PodTask, operations: JsonPatch) -> PodTask:
        return self._client.patch(task["metadata"]["namespace"], task["metadata"]["name"], operations)

    def _not_reconciled_seconds(self, task: PodTask) -> float | None:
        return await_completion.not_reconciled_seconds(task, float(self._arguments.controller_timeout or 0))

    @functools.cached_property
    def _unattended_seconds(self) -> int:
        return int(version_compat.conf_get("podtask", "unattended_seconds") or UNATTENDED_SECONDS)

    def _has_own_cancel_time(self, task: PodTask) -> bool:
        """Return whether spec.cancelTime was set by `_build`; one that the DAG author set is not removed."""
        return "cancelTime" in task["spec"] and "cancelTime" not in (self._arguments.spec or {})

    def _defer(self, task: PodTask) -> NoReturn:
        selected = self._consumer.select(lambda: task)
        metadata, arguments = task["metadata"], self._arguments
        # The trigger must show the log of a task that ends in the triggerer.
        interval = arguments.logging_interval or (_TRIGGER_LOG_SECONDS if arguments.end_from_trigger else None)
        follow = interval is not None and bool(selected.names)
        remove_after = min(REMOVE_CANCEL_AFTER_SECONDS, self._unattended_seconds / 2)
        self._run.defer(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            deployment=deployment_label(self._identity.deployment),
            owner=self._identity.ti_id,
            not_reconciled_seconds=self._not_reconciled_seconds(task) if podtasks.is_not_reconciled(task) else None,
            remove_cancel_time_seconds=remove_after if self._has_own_cancel_time(task) else None,
            tolerance=float(arguments.api_outage_tolerance or 0),
            logging_interval=interval if follow else None,
            containers=selected.containers if follow else [],
            init_containers=selected.init_containers if follow else [],
            not_before=None if self._is_test else deferral.not_before(self._context),
        )
