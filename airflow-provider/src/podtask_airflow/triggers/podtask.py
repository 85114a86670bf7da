"""The trigger of deferred tasks: it waits in the triggerer, through the informer that all deferred tasks share.

Its row in Airflow's database holds references only: the connection's name, the object's name and uid. No kubeconfig,
token, result or environment is in it. The event holds the phase; the worker reads the object itself.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from .. import constants
from ..api_types import JsonPatch, PodTask
from ..exceptions import PodTaskFailed
from ..hooks import api_errors
from ..hooks.cluster_config import DEFAULT_CONNECTION, ClusterRef
from ..hooks.podtask import PodTaskClient
from ..utils import informer as informers
from ..utils import podtask as podtasks
from ..utils import result
from ..utils.informer import SharedInformer, Snapshot
from ..utils.pod_logs import LogFollower
from ..version_compat import (
    BaseTrigger,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
    is_deferred,
)

WATCH_ERROR = "WatchError"
"""The event's phase when the API server could not be watched for too long: the worker waits from then on."""
MAX_LOG_STREAMS = 100
"""Containers whose logs one triggerer follows. The logs of further ones are shown when the task ends."""
LOG_FINISH_SECONDS = 10.0
"""How long a followed log is read on after the task has ended; the worker reads the rest."""

XCOM_KEY_LENGTH = 512
"""The longest key that Airflow's database stores."""
DEFERRAL_GUARD_SECONDS = 60.0
"""Upper bound of the deferral guard, whatever `not_before` says."""

_streams = threading.BoundedSemaphore(MAX_LOG_STREAMS)
_cancelling: set[asyncio.Future[None]] = set()
"""Cancellations in progress. The event loop keeps weak references to its tasks only."""
_CLASS_PATH = "podtask_airflow.triggers.podtask.PodTaskTrigger"


class PodTaskTrigger(BaseTrigger):  # type: ignore[misc]
    """Waits for the end of one PodTask. Its class path and arguments are stored in Airflow's database: keep them.

    :param namespace: namespace of the PodTask
    :param name: name of the PodTask
    :param uid: uid of the PodTask
    :param deployment: value of the label that the shared watch selects
    :param conn_id: Airflow connection of the cluster
    :param in_cluster: overrides the connection
    :param config_file: overrides the connection
    :param cluster_context: overrides the connection
    :param owner: id of the try that deferred; patches are rejected when another try is the owner
    :param not_reconciled_seconds: after that many seconds without a status the controller counts as missing
    :param remove_cancel_time_seconds: remove spec.cancelTime after that many seconds
    :param tolerance: seconds that the API server may be unavailable
    :param end_from_trigger: end a successful task here, without a worker
    :param do_xcom_push: with end_from_trigger: push the result
    :param multiple_outputs: with end_from_trigger: push each key of the result
    :param logging_interval: follow the logs in the triggerer's log, unless None
    :param containers: containers whose logs are followed
    :param init_containers: init containers whose logs are followed
    :param not_before: Unix time before which no event is sent (the deferral guard)
    """

    def __init__(
        self,
        *,
        namespace: str,
        name: str,
        uid: str,
        deployment: str,
        conn_id: str | None = DEFAULT_CONNECTION,
        in_cluster: bool | None = None,
        config_file: str | None = None,
        cluster_context: str | None = None,
        owner: str = "",
        not_reconciled_seconds: float | None = None,
        remove_cancel_time_seconds: float | None = None,
        tolerance: float = informers.TOLERANCE_SECONDS,
        end_from_trigger: bool = False,
        do_xcom_push: bool = False,
        multiple_outputs: bool = False,
        logging_interval: float | None = None,
        containers: Sequence[str] = (),
        init_containers: Sequence[str] = (),
        not_before: float | None = None,
    ) -> None:
        super().__init__()
        self.namespace = namespace
        self.name = name
        self.uid = uid
        self.deployment = deployment
        self.conn_id = conn_id
        self.in_cluster = in_cluster
        self.config_file = config_file
        self.cluster_context = cluster_context
        self.owner = owner
        self.not_reconciled_seconds = not_reconciled_seconds
        self.remove_cancel_time_seconds = remove_cancel_time_seconds
        self.tolerance = tolerance
        self.end_from_trigger = end_from_trigger
        self.do_xcom_push = do_xcom_push
        self.multiple_outputs = multiple_outputs
        self.logging_interval = logging_interval
        self.containers = list(containers)
        self.init_containers = list(init_containers)
        self.not_before = not_before
        self._has_ended = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that differ from their defaults.

        So a triggerer of an older version gets no argument that it does not know, as long as it is not used.
        """
        always = {key: getattr(self, key) for key in ("namespace", "name", "uid", "deployment")}
        return _CLASS_PATH, always | {
            key: getattr(self, key) for key, default in _DEFAULTS.items() if getattr(self, key) != default
        }

    @property
    def _cluster(self) -> ClusterRef:
        return ClusterRef(self.conn_id, self.in_cluster, self.config_file, self.cluster_context)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the end and send one event: the phase, or with end_from_trigger the task's success or skip."""
        selector = f"{constants.LABEL_DEPLOYMENT}={self.deployment}"
        self.log.info("Waiting for PodTask %s/%s", self.namespace, self.name)
        try:
            async with informers.subscribe(self._cluster, self.namespace, selector) as informer:
                event = await self._wait(informer)
        except api_errors.ApiError as error:
            event = self._event(Snapshot(WATCH_ERROR), message=str(error))
        if not isinstance(event, (TaskSuccessEvent, TaskSkippedEvent)):
            await asyncio.sleep(self._guard_seconds())
        self._has_ended = True
        yield event

    def _guard_seconds(self) -> float:
        """Return for how long the event is held back. The bound matters if this machine's clock is wrong."""
        return 0.0 if self.not_before is None else min(max(0.0, self.not_before - time.time()), DEFERRAL_GUARD_SECONDS)

    async def _wait(self, informer: SharedInformer) -> TriggerEvent:
        live = None if self.logging_interval is None else LiveLog(self, informer.client)
        removing = (
            asyncio.ensure_future(self._remove_cancel_time(informer, self.remove_cancel_time_seconds))
            if self.remove_cancel_time_seconds
            else None
        )
        try:
            snapshot = await informer.wait(
                self.name,
                self.uid,
                not_reconciled_seconds=self.not_reconciled_seconds,
                tolerance=self.tolerance,
                on_change=None if live is None else live.on_change,
            )
            if live is not None:
                await live.finish()
        finally:
            if live is not None:
                live.close()
            if removing is not None:
                removing.cancel()
        more: dict[str, Any] = (
            {} if live is None or live.follower is None else {"log_positions": live.follower.positions}
        )
        if snapshot.phase == informers.NOT_RECONCILED:
            more["not_reconciled_seconds"] = self.not_reconciled_seconds
        if self.end_from_trigger and snapshot.phase in {"Succeeded", "Skipped"} and self.owner:
            return await self._end(informer, snapshot) or self._event(snapshot, **more)
        return self._event(snapshot, **more)

    async def _remove_cancel_time(self, informer: SharedInformer, seconds: float) -> None:
        """Remove spec.cancelTime once the task has run for a while: from now on a trigger waits for it."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await informer.patch(self.namespace, self.name, self._patch_of(podtasks.remove_cancel_time))
            except (api_errors.Invalid, api_errors.NotFound):
                return  # removed already, or another try is the owner, or the PodTask is deleted
            except api_errors.ApiError as error:
                self.log.warning(
                    "spec.cancelTime of PodTask %s/%s could not be removed, trying again: %s",
                    self.namespace,
                    self.name,
                    error,
                )
            else:
                return

    def _event(self, snapshot: Snapshot, **more: Any) -> TriggerEvent:
        if "message" in more:
            more["message"] = more["message"].encode(errors="replace").decode()  # a lone surrogate stops a triggerer
        reference = {"name": self.name, "namespace": self.namespace, "uid": self.uid}
        return TriggerEvent({"phase": snapshot.phase, "pod_name": snapshot.pod_name, **reference, **more})

    async def _end(self, informer: SharedInformer, snapshot: Snapshot) -> TriggerEvent | None:
        """End the task without a worker; return None where a worker has to raise the error."""
        assert informer.client is not None  # noqa: S101
        try:
            patch = self._patch_of(podtasks.release)
            task = await informers.call(informer.client.patch, self.namespace, self.name, patch)
            is_skip = snapshot.phase == "Skipped"
            value = result.kept_result(task) if is_skip else result.result_of(task, self.log)
            xcoms = {"pod_name": snapshot.pod_name} if snapshot.pod_name else {}
            if self.do_xcom_push and value is not None:
                xcoms |= {"return_value": value}
                if self.multiple_outputs and isinstance(value, dict):
                    xcoms |= value
            # An XCom that cannot be stored fails the triggerer's own loop, and with it all of its tasks.
            if any(len(key) > XCOM_KEY_LENGTH for key in xcoms):
                raise result.invalid(task, f"has a key of more than {XCOM_KEY_LENGTH} characters")
            result.check_serializable(task, xcoms)
        except (api_errors.ApiError, PodTaskFailed) as error:
            self.log.info("A worker ends the task, because the trigger cannot: %s", error)
            return None
        return TaskSkippedEvent(xcoms=xcoms) if is_skip else TaskSuccessEvent(xcoms=xcoms)

    def _patch_of(self, operations: Callable[[PodTask, str], JsonPatch]) -> JsonPatch:
        """Return a patch that is rejected if the uid differs or another try is the owner."""
        return operations(
            {"metadata": {"namespace": self.namespace, "name": self.name, "uid": self.uid}, "spec": {}}, self.owner
        )

    # A kill by a user

    async def on_kill(self) -> None:
        """Cancel the PodTask if a user killed the task (Airflow 3.3 and up; also called when a trigger is moved)."""
        await self._cancel_shielded()

    async def cleanup(self) -> None:
        """Do the same before Airflow 3.3, which has no on_kill. Called at each end of a trigger, shutdowns included."""
        if not hasattr(BaseTrigger, "on_kill"):
            await self._cancel_shielded()

    async def _cancel_shielded(self) -> None:
        """Finish the cancellation even if Airflow cancels this coroutine, as it does repeatedly."""
        task = asyncio.ensure_future(self._cancel_if_killed())
        _cancelling.add(task)
        task.add_done_callback(_cancelling.discard)
        await asyncio.shield(task)

    async def _cancel_if_killed(self) -> None:
        if self._has_ended or not self.owner:
            return
        where = f"{self.namespace}/{self.name}"
        try:
            if await is_deferred(self.task_instance):
                return
        except Exception:
            self.log.exception(
                "The state of the task instance cannot be read from Airflow; PodTask %s is not cancelled", where
            )
            return
        try:
            await self._cancel()
        except api_errors.PatchTestFailed:
            self.log.info("PodTask %s has another owner now; it is not cancelled", where)
        except api_errors.NotFound:
            self.log.info("PodTask %s was deleted", where)
        except api_errors.ApiError as error:
            self.log.error("PodTask %s could not be cancelled: %s", where, error)  # noqa: TRY400 (no traceback needed)
        else:
            self.log.info("PodTask %s is cancelled", where)

    async def _cancel(self) -> None:
        patch = self._patch_of(podtasks.cancel)
        client = informers.client_for(self._cluster)
        if client is not None:
            await informers.call(client.patch, self.namespace, self.name, patch)
            return
        resolved = await informers.resolve_in_triggerer(self._cluster)
        client = PodTaskClient(resolved.api_client_factory, budget=informers.REQUEST_SECONDS)
        try:
            await informers.call(client.patch, self.namespace, self.name, patch)
        finally:
            client.close()


_DEFAULTS: dict[str, Any] = {
    name: list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
    for name, parameter in inspect.signature(PodTaskTrigger.__init__).parameters.items()
    if parameter.default is not inspect.Parameter.empty
}


class LiveLog:
    """A deferred task's log while it runs, within the number of streams that one triggerer may have open."""

    def __init__(self, trigger: PodTaskTrigger, client: PodTaskClient | None) -> None:
        self._log = trigger.log
        self._acquired = 0
        count = len(trigger.init_containers) + len(trigger.containers)
        self.follower: LogFollower | None = None
        if client is None or not count:
            return
        if not self._acquire(count):
            self._log.info(
                "This triggerer follows %d logs already: the log of PodTask %s/%s is shown when it ends",
                MAX_LOG_STREAMS,
                trigger.namespace,
                trigger.name,
            )
            return
        self.follower = LogFollower(
            client,
            trigger.namespace,
            containers=trigger.containers,
            init_containers=trigger.init_containers,
            emit=self._emit,
        )

    def on_change(self, snapshot: Snapshot) -> None:
        """Follow the logs of the Pod of now."""
        if self.follower is not None and snapshot.pod_name:
            self.follower.attempt(snapshot.pod_name)

    async def finish(self) -> None:
        """Show the rest, for LOG_FINISH_SECONDS at most."""
        if self.follower is not None:
            await informers.call(self.follower.finish, LOG_FINISH_SECONDS)

    def close(self) -> None:
        """End at once."""
        if self.follower is not None:
            self.follower.close()
        for _ in range(self._acquired):
            _streams.release()
        self._acquired = 0

    def _acquire(self, count: int) -> bool:
        while self._acquired < count:
            if not _streams.acquire(blocking=False):
                self.close()
                return False
            self._acquired += 1
        return True

    def _emit(self, container: str, line: str) -> None:
        self._log.info("[%s] %s", container, line)
