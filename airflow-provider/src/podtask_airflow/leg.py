"""One leg of a task in a worker: from its first line to its end or deferral, or from the trigger's event to its end.

The operator holds arguments, a leg holds what exists only while a worker works: identity, client, the wait, the logs.
Every write of a leg is fenced: it applies only while this try is the PodTask's waiter.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from . import adoption, errors, exceptions, handover, links, outcome, version_compat, waiting
from .adoption import Task
from .callbacks import Callbacks
from .identity import Identity, deployment_label
from .logbook import Logbook
from .submission import Submission
from .waiting import Ending, Waiting

if TYPE_CHECKING:
    from .arguments import Arguments
    from .client import Client
    from .operator import PodTaskOperator

_LEAVE_SLACK = timedelta(hours=1)
"""How much later than planned a next try may begin, before the task that it should take over is cancelled."""
_TRIGGER_LOG_SECONDS = 5
RETURN_KEY = "return_value"
UNATTENDED_SECONDS = 86_400
"""How long a task may run that is deferred, and that no trigger has found yet."""
LIFT_SECONDS = 60.0
"""How long a trigger waits before it lifts that bound. What ends sooner does not need the request."""


class Leg:
    """One process' part in one try."""

    def __init__(self, operator: PodTaskOperator, context: Mapping[str, Any], arguments: Arguments) -> None:
        self._operator = operator
        self._context = context
        self._arguments = arguments
        self._log: logging.Logger = operator.log
        self._is_test = version_compat.is_dag_test(context)
        self._waiting = Waiting(outage_seconds=float(arguments.api_outage_tolerance or 0))
        self._task: Task | None = None
        self._told: tuple[Any, ...] = ()
        self._pod_name = ""
        self._is_ending = False
        self.identity = Identity(deployment=arguments.deployment or "", **version_compat.facts(context))
        self.client: Client = operator.make_client(arguments)
        self._callbacks = Callbacks(
            arguments.callbacks or [],
            core_api=functools.partial(operator.make_core_api, arguments),
            mode="async" if arguments.deferrable else "sync",
            operator=operator,
            context=context,
        )
        self._logbook = Logbook(self.client, arguments, self._log, self._callbacks.line)

    # What the operator calls

    def launch(self) -> Any:
        """Create or take over, then wait or defer."""
        return self._guarded(self._launch)

    def resume(self, event: Mapping[str, Any]) -> Any:
        """Go on after the trigger's event."""
        return self._guarded(functools.partial(self._resume, event))

    def kill(self) -> None:
        """Ask for the end: only a token is put."""
        self._waiting.kill()

    # The two ways

    def _launch(self) -> Any:
        self._callbacks.begin()
        build = functools.lru_cache(maxsize=1)(self._build)
        first = build(0)
        namespace = first["metadata"]["namespace"]
        submission = Submission(
            self.client,
            namespace,
            self.identity,
            reattach=bool(self._arguments.reattach_on_restart) and not self._is_test,
            log=self._log,
        )
        look_back = self.identity.try_number > 1 and not self._is_test
        self._task = task = submission.submit(build, self._until_stopped, look_back=look_back)
        self._log.info("Waiting for PodTask; %s", links.command(namespace, task["metadata"]["name"]))
        self._push("podtask_name", task["metadata"]["name"])
        self._push("pod_namespace", namespace)
        if adoption.is_active(task) and self._arguments.deferrable:
            self._raise_if_killed(task)
            self._defer(task)
        self._logbook.follow(task)
        return self._conclude(self._wait(task))

    def _build(self, extension: int) -> dict[str, Any]:
        hooks = self._callbacks.manifest_hooks()
        body = self._operator.request(self._context, self._arguments, self.identity, extension, hooks)
        if self._arguments.deferrable and self._unattended_seconds:
            # If a user ends the task before its trigger runs, nothing of ours runs again that could cancel.
            at = datetime.now(timezone.utc) + timedelta(seconds=self._unattended_seconds)
            body["spec"].setdefault("cancelAfter", adoption.timestamp(at))
        return body

    def _wait(self, task: Task) -> Task:
        return self._waiting.until_terminal(
            self.client,
            task,
            changed=self._changed,
            killed=self._end,
            untouched_seconds=self._untouched_seconds(task),
        )

    def _until_stopped(self, task: Task) -> None:
        """Wait for the end of a task that an earlier try left."""
        try:
            self._waiting.until_terminal(self.client, task, changed=lambda _: None, killed=self._give_way)
        except exceptions.PodTaskLost:
            self._log.info("PodTask %s is gone", task["metadata"]["name"])

    def _give_way(self, _: Task) -> None:
        raise exceptions.PodTaskTerminated("Told to stop while waiting for an earlier try's task to stop")

    def _resume(self, event: Mapping[str, Any]) -> Any:
        metadata = {key: event[key] for key in ("namespace", "name", "uid")}
        attempts = [{"podName": event["pod_name"]}] if event.get("pod_name") else []
        task: Task = {"metadata": metadata, "spec": {}, "status": {"phase": event["phase"], "attempts": attempts}}
        if event["phase"] == "Gone":
            raise exceptions.PodTaskLost(f"PodTask {_where(task)} was deleted before its end")
        self._task = task
        if event["phase"] == "Trouble":
            return self._resume_sync(task, event)
        if event["phase"] == "Untouched":
            raise waiting.controller_missing(task, float(event.get("untouched_seconds") or 0))
        self._callbacks.begin()
        self._callbacks.resuming(task, event)
        self._logbook.fetch(event, lambda: self._build(0))
        return self._conclude(task)

    def _resume_sync(self, task: Task, event: Mapping[str, Any]) -> Any:
        """The triggerer cannot reach the cluster; perhaps this worker can, and then it waits itself."""
        self._log.warning("The triggerer gave up: %s", event.get("message"))
        metadata = task["metadata"]
        try:
            found = self.client.get(metadata["namespace"], metadata["name"])
        except errors.CrdMissing:
            raise
        except errors.NotFound:
            found = None
        if found is None or found["metadata"]["uid"] != metadata["uid"]:
            raise exceptions.PodTaskLost(f"PodTask {_where(task)} was deleted before its end")
        self._task = found
        if self._is_bounded(found):
            found = self._patch(found, adoption.keep(found, self.identity.ti_id))
        self._callbacks.begin()
        self._logbook.follow(found)
        return self._conclude(self._wait(found))

    def _conclude(self, task: Task) -> Any:
        """Take leave of a task that has ended: one patch that acknowledges it, and whose answer is the whole object.

        Logs and callbacks come first: the acknowledged task's Pod may be removed at once.
        """
        self._logbook.finish()
        self._callbacks.completed(task)
        self._raise_if_killed(task)
        try:
            task = self._patch(task, adoption.acknowledge(task, self.identity.ti_id))
        except errors.PatchTestFailed as error:
            self._log.info("PodTask %s belongs to another try by now", _where(task))
            version_compat.step_aside(self._context)
            raise exceptions.PodTaskLost(f"PodTask {_where(task)} belongs to another try by now") from error
        self._tell(task)
        self._callbacks.changed(task)
        self._callbacks.cleaned_up(task)
        self._raise_if_killed(task)
        return self._result(task)

    def _result(self, task: Task) -> Any:
        try:
            value = outcome.judge(task, self._log)
        except exceptions.PodTaskSkipped:
            self._push_kept(task)
            raise
        except exceptions.PodTaskFailed:
            self._log_events(task)
            self._push_kept(task)
            raise
        if not self._arguments.do_xcom_push:
            return None
        if version_compat.xcoms_are_messages():
            outcome.check_carried(task, value)
        return value

    def _push_kept(self, task: Task) -> None:
        """Push the result of a task that did not succeed, as KubernetesPodOperator does."""
        if not self._arguments.do_xcom_push:
            return
        try:
            if (kept := outcome.kept_result(task)) is None:
                return
            if version_compat.xcoms_are_messages():
                outcome.check_carried(task, kept)
            if self._operator.multiple_outputs and isinstance(kept, dict):
                for key, entry in kept.items():
                    self._push(key, entry)
            self._push(RETURN_KEY, kept)
        except Exception as error:  # noqa: BLE001 a result that cannot be pushed must not hide why the task failed
            self._log.warning("The result cannot be pushed: %s", error)

    # What is seen on the way

    def _changed(self, task: Task) -> None:
        self._tell(task)
        if self._pod_name:
            self._logbook.attempt(self._pod_name, task["status"]["attempts"][-1].get("number"))
        self._callbacks.changed(task)

    def _tell(self, task: Task) -> None:
        self._task = task
        status = task.get("status") or {}
        told = (status.get("phase"), status.get("reason"), status.get("message"))
        if told != self._told and status.get("reason") and self._arguments.log_events_on_startup:
            self._told = told
            reason = "" if told[1] == told[0] else f", {told[1]}"
            self._log.info("PodTask is %s%s%s", told[0], reason, f": {told[2]}" if told[2] else "")
        last = (status.get("attempts") or [{}])[-1]
        if last.get("podName") and last["podName"] != self._pod_name:
            self._pod_name = last["podName"]
            self._push("pod_name", self._pod_name)

    def _log_events(self, task: Task) -> None:
        if not self._arguments.log_events_on_failure:
            return
        try:
            for event in self.client.events(task["metadata"]["namespace"], task["metadata"]["uid"]):
                self._log.info("Event %s: %s", event.get("reason"), event.get("message"))
        except errors.ApiError as error:
            self._log.warning("The events cannot be shown: %s", error)

    def _push(self, key: str, value: Any) -> None:
        self._context["ti"].xcom_push(key=key, value=value)

    # The ends that are not the task's own

    def _guarded(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except version_compat.AirflowTaskTimeout:
            self._timed_out()
            raise
        except errors.ApiError as error:
            raise exceptions.of_request(error) from error
        except exceptions.PodTaskUnreachable:
            self._is_ending = True
            if self._task is not None:
                self._give_up(self._task)
            raise
        except exceptions.ControllerMissing:
            self._is_ending = True
            if self._task is not None:
                self._cancel(self._task)
            raise
        except BaseException:
            # On 2.x a SIGTERM calls on_kill and then raises, wherever execute stands.
            if self._waiting.is_killed and not self._is_ending and self._task is not None:
                self._end(self._task, may_go_on=False)
            raise
        finally:
            self.client.close()

    def _give_up(self, task: Task) -> None:
        """Leave nothing running that nobody will ask for; a watch may be refused where a PATCH is not."""
        if version_compat.tries_remain(self._context):
            self._leave(task)
        else:
            self._cancel(task)

    def _raise_if_killed(self, task: Task) -> None:
        if self._waiting.is_killed:
            self._end(task)

    def _end(self, task: Task, *, may_go_on: bool = True) -> None:
        """Tell a user's kill from a worker's shutdown, act accordingly, and raise.

        Only where the task has ended already, and nobody killed it, this process may bring the result home itself.
        """
        self._is_ending = True
        state, is_known = self._ask_state()
        if may_go_on and not adoption.is_active(task) and is_known and state == "running":
            return
        self._log.info("Told to stop; the task instance is %s", state if is_known else "in no known state")
        wanted = waiting.ending(
            state,
            is_known=is_known,
            has_triggerer=not version_compat.triggerer_is_missing(),
            tries_remain=version_compat.tries_remain(self._context),
        )
        if wanted is Ending.DEFER:
            self._log.info("The worker is going, so the triggerer waits on")
            self._defer(task)
        if wanted is Ending.LEAVE:
            self._leave(task)
            raise exceptions.PodTaskTerminated(f"The worker is going; the next try takes PodTask {_where(task)} over")
        if self._arguments.on_kill_action != "keep_pod":
            self._cancel(task)
        version_compat.step_aside(self._context)
        raise exceptions.PodTaskTerminated(f"Told to stop; PodTask {_where(task)} was cancelled")

    def _ask_state(self) -> tuple[str | None, bool]:
        try:
            return version_compat.task_state(self._context), True
        except Exception:  # noqa: BLE001 each Airflow fails in its own way, and each means "unknown"
            self._log.exception("Airflow does not tell the task instance's state")
            return None, False

    def _timed_out(self) -> None:
        self._is_ending = True
        self._log.error("execution_timeout is over")
        if self._task is not None:
            self._cancel(self._task)

    def _cancel(self, task: Task) -> None:
        """Cancel it, unless another process has become its waiter."""
        try:
            self._patch(task, adoption.cancel(task, self.identity.ti_id))
        except errors.PatchTestFailed:
            self._log.info("PodTask %s is another process' by now; it is left alone", _where(task))
        except errors.NotFound:
            self._log.info("PodTask %s is gone", _where(task))
        except errors.ApiError as error:
            self._log.error("PodTask %s could not be cancelled: %s", _where(task), error)
        else:
            self._log.info("PodTask %s is cancelled", _where(task))

    def _leave(self, task: Task) -> None:
        """Let it run for the next try; it ends by itself if none comes."""
        delay = version_compat.next_retry_seconds(self._operator, self.identity.try_number)
        at = datetime.now(timezone.utc) + timedelta(seconds=delay) + _LEAVE_SLACK
        try:
            self._patch(task, adoption.cancel_after(task, self.identity.ti_id, at))
        except errors.ApiError as error:
            self._log.warning("spec.cancelAfter could not be set: %s", error)

    def _patch(self, task: Task, operations: adoption.Operations) -> Task:
        return self.client.patch(task["metadata"]["namespace"], task["metadata"]["name"], operations)

    def _untouched_seconds(self, task: Task) -> float | None:
        return waiting.untouched_seconds(task, float(self._arguments.controller_timeout or 0))

    @functools.cached_property
    def _unattended_seconds(self) -> int:
        return int(version_compat.conf_get("podtask", "unattended_seconds") or UNATTENDED_SECONDS)

    def _is_bounded(self, task: Task) -> bool:
        """Whether a deferred task is cancelled if nobody comes to wait; a bound that the user set is his."""
        return "cancelAfter" in task["spec"] and "cancelAfter" not in (self._arguments.spec or {})

    def _defer(self, task: Task) -> None:
        shown = self._logbook.shown(lambda: task)
        metadata, arguments = task["metadata"], self._arguments
        # Nobody but the trigger could show the log of a task that ends there.
        interval = arguments.logging_interval or (_TRIGGER_LOG_SECONDS if arguments.end_from_trigger else None)
        follow = interval is not None and bool(shown.names)
        self._operator.defer_to_trigger(
            arguments,
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            deployment=deployment_label(self.identity.deployment),
            waiter=self.identity.ti_id,
            untouched_seconds=self._untouched_seconds(task) if waiting.is_untouched(task) else None,
            keep_after=min(LIFT_SECONDS, self._unattended_seconds / 2) if self._is_bounded(task) else None,
            tolerance=float(arguments.api_outage_tolerance or 0),
            logging_interval=interval if follow else None,
            containers=shown.containers if follow else [],
            init_containers=shown.init_containers if follow else [],
            not_before=None if self._is_test else handover.not_before(self._context),
        )


def _where(task: Task) -> str:
    return f"{task['metadata'].get('namespace')}/{task['metadata']['name']}"
