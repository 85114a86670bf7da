"""The operator's second half: it waits in the triggerer, through the hub that all deferred tasks share.

What it carries is a pointer: the connection's name, the object's name and uid. No kubeconfig, token, result or
environment stands in a trigger's row. What it says at the end is the phase; the worker reads the object itself.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from . import access as access_module
from . import adoption, errors, hub, names, outcome
from .access import Access
from .client import JSON, Client
from .exceptions import PodTaskFailed
from .logs import Follower
from .version_compat import (
    BaseTrigger,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
    is_deferred,
)

TROUBLE = "Trouble"
"""The event's phase when the API server could not be used for too long: the worker goes on from there."""
LOG_STREAMS = 100
"""Containers that one triggerer follows live. Beyond that a log is shown when the task ends."""
LOG_END_SECONDS = 10.0
"""What is left of a live log at the task's end has this long; the worker reads the rest."""

XCOM_KEY_LENGTH = 512
"""Airflow's database has no room for a longer key."""
HANDOVER_SECONDS = 60.0
"""No trigger waits longer than this for Airflow to know of the first leg's end."""

_streams = threading.BoundedSemaphore(LOG_STREAMS)
_killing: set[asyncio.Future[None]] = set()
"""What sees to a user's kill. The event loop itself keeps no hold of its tasks."""
_CLASS_PATH = "podtask_airflow.trigger.PodTaskTrigger"


class PodTaskTrigger(BaseTrigger):  # type: ignore[misc]
    """Waits for the end of one PodTask. Its class path and arguments stand in Airflow's database: keep them."""

    def __init__(
        self,
        *,
        namespace: str,
        name: str,
        uid: str,
        deployment: str,
        conn_id: str | None = access_module.DEFAULT_CONNECTION,
        in_cluster: bool | None = None,
        config_file: str | None = None,
        cluster_context: str | None = None,
        waiter: str = "",
        untouched_seconds: float | None = None,
        keep_after: float | None = None,
        tolerance: float = hub.TOLERANCE_SECONDS,
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
        self.waiter = waiter
        self.untouched_seconds = untouched_seconds
        self.keep_after = keep_after
        self.tolerance = tolerance
        self.end_from_trigger = end_from_trigger
        self.do_xcom_push = do_xcom_push
        self.multiple_outputs = multiple_outputs
        self.logging_interval = logging_interval
        self.containers = list(containers)
        self.init_containers = list(init_containers)
        self.not_before = not_before
        self._ended = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Only what differs from the defaults, so that an older triggerer is not given words that it does not know."""
        always = {key: getattr(self, key) for key in ("namespace", "name", "uid", "deployment")}
        return _CLASS_PATH, always | {
            key: getattr(self, key) for key, default in _DEFAULTS.items() if getattr(self, key) != default
        }

    @property
    def _access(self) -> Access:
        return Access(self.conn_id, self.in_cluster, self.config_file, self.cluster_context)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then tell the phase; or end the task from here where that was asked for and it went well."""
        selector = f"{names.LABEL_DEPLOYMENT}={self.deployment}"
        self.log.info("Waiting for PodTask %s/%s", self.namespace, self.name)
        try:
            async with hub.joined(self._access, self.namespace, selector) as shared:
                event = await self._wait(shared)
        except errors.ApiError as error:
            event = self._event(hub.Seen(TROUBLE, None, "", None), message=str(error))
        if not isinstance(event, (TaskSuccessEvent, TaskSkippedEvent)):
            await asyncio.sleep(self._handover())
        self._ended = True
        yield event

    def _handover(self) -> float:
        """Seconds until a worker may go on. A clock that is far off must not keep the task from its end."""
        return 0.0 if self.not_before is None else min(max(0.0, self.not_before - time.time()), HANDOVER_SECONDS)

    async def _wait(self, shared: hub.Hub) -> TriggerEvent:
        live = None if self.logging_interval is None else Live(self, shared.client)
        keeping = asyncio.ensure_future(self._keep(shared, self.keep_after)) if self.keep_after else None
        try:
            seen = await shared.wait(
                self.name,
                self.uid,
                untouched_seconds=self.untouched_seconds,
                tolerance=self.tolerance,
                changed=None if live is None else live.changed,
            )
            if live is not None:
                await live.finish()
        finally:
            if live is not None:
                live.close()
            if keeping is not None:
                keeping.cancel()
        more: dict[str, Any] = {} if live is None or live.follower is None else {"log_places": live.follower.places}
        if seen.phase == hub.UNTOUCHED:
            more["untouched_seconds"] = self.untouched_seconds
        if self.end_from_trigger and seen.phase in {"Succeeded", "Skipped"} and self.waiter:
            return await self._end(shared, seen) or self._event(seen, **more)
        return self._event(seen, **more)

    async def _keep(self, shared: hub.Hub, seconds: float) -> None:
        """Lift the bound that ends a task which nobody waits for, once it has turned out to be a longer one."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await shared.request(self.namespace, self.name, self._fenced(adoption.keep))
            except (errors.Invalid, errors.NotFound):
                return  # lifted already, or another process' by now, or gone
            except errors.ApiError as error:
                self.log.warning("PodTask %s ends at its spec.cancelAfter, for now: %s", self.name, error)
            else:
                return

    def _event(self, seen: hub.Seen, **more: Any) -> TriggerEvent:
        if "message" in more:
            more["message"] = more["message"].encode(errors="replace").decode()  # half a character stops a triggerer
        where = {"name": self.name, "namespace": self.namespace, "uid": self.uid}
        return TriggerEvent({"phase": seen.phase, "pod_name": seen.pod_name, **where, **more})

    async def _end(self, shared: hub.Hub, seen: hub.Seen) -> TriggerEvent | None:
        """End the task without a worker; None where a worker has to say what is wrong."""
        assert shared.client is not None  # noqa: S101
        try:
            task = await hub.call(shared.client.patch, self.namespace, self.name, self._fenced(adoption.acknowledge))
            is_skip = seen.phase == "Skipped"
            value = outcome.kept_result(task) if is_skip else outcome.result(task, self.log)
            xcoms = {"pod_name": seen.pod_name} if seen.pod_name else {}
            if self.do_xcom_push and value is not None:
                xcoms |= {"return_value": value}
                if self.multiple_outputs and isinstance(value, dict):
                    xcoms |= value
            # What fails from here on fails in the triggerer's own loop, and all of its tasks with it.
            if any(len(key) > XCOM_KEY_LENGTH for key in xcoms):
                raise outcome.unfit(task, f"has a key of more than {XCOM_KEY_LENGTH} characters")
            outcome.check_carried(task, xcoms)
        except (errors.ApiError, PodTaskFailed) as error:
            self.log.info("A worker ends the task: %s", error)
            return None
        return TaskSkippedEvent(xcoms=xcoms) if is_skip else TaskSuccessEvent(xcoms=xcoms)

    def _fenced(self, operations: Callable[[JSON, str], list[JSON]]) -> list[JSON]:
        """A patch that applies only to this very object, and only while this task's own try is its waiter."""
        metadata = {"namespace": self.namespace, "name": self.name, "uid": self.uid}
        return operations({"metadata": metadata, "spec": {}}, self.waiter)

    # A user's kill

    async def on_kill(self) -> None:
        """Cancel the PodTask because a user killed the task (Airflow 3.3 and up; also called when a trigger moves)."""
        await self._see_to_a_kill()

    async def cleanup(self) -> None:
        """The same for Airflow before 3.3, which has no on_kill; every end of a trigger comes here, shutdowns too."""
        if not hasattr(BaseTrigger, "on_kill"):
            await self._see_to_a_kill()

    async def _see_to_a_kill(self) -> None:
        """Airflow cancels a trigger anew for as long as it is there, its on_kill included: this goes on by itself."""
        task = asyncio.ensure_future(self._cancel_if_killed())
        _killing.add(task)
        task.add_done_callback(_killing.discard)
        await asyncio.shield(task)

    async def _cancel_if_killed(self) -> None:
        if self._ended or not self.waiter:
            return
        try:
            if await is_deferred(self.task_instance):
                return
        except Exception:
            self.log.exception(
                "Airflow does not tell the task instance's state, so PodTask %s is left alone", self.name
            )
            return
        try:
            await self._cancel()
        except errors.PatchTestFailed:
            self.log.info("PodTask %s is another process' by now; it is left alone", self.name)
        except errors.NotFound:
            self.log.info("PodTask %s is gone", self.name)
        except errors.ApiError as error:
            self.log.error("PodTask %s could not be cancelled: %s", self.name, error)  # noqa: TRY400 (it is a sentence)
        else:
            self.log.info("PodTask %s is cancelled", self.name)

    async def _cancel(self) -> None:
        client = hub.client_for(self._access)
        if client is not None:
            await hub.call(client.patch, self.namespace, self.name, self._fenced(adoption.cancel))
            return
        resolved = await hub.resolve_in_triggerer(self._access)
        client = Client(resolved.api_client_factory, budget=hub.REQUEST_SECONDS)
        try:
            await hub.call(client.patch, self.namespace, self.name, self._fenced(adoption.cancel))
        finally:
            client.close()


_DEFAULTS: dict[str, Any] = {
    name: list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
    for name, parameter in inspect.signature(PodTaskTrigger.__init__).parameters.items()
    if parameter.default is not inspect.Parameter.empty
}


class Live:
    """A deferred task's log while it runs, within the cap of streams that one triggerer may have open."""

    def __init__(self, trigger: PodTaskTrigger, client: Client | None) -> None:
        self._log = trigger.log
        self._held = 0
        names_ = [*trigger.init_containers, *trigger.containers]
        self.follower: Follower | None = None
        if client is None or not names_:
            return
        if not self._take(len(names_)):
            self._log.info("%d logs are followed here already: this one is shown when the task ends", LOG_STREAMS)
            return
        self.follower = Follower(
            client,
            trigger.namespace,
            containers=trigger.containers,
            init_containers=trigger.init_containers,
            emit=self._emit,
        )

    def changed(self, seen: hub.Seen) -> None:
        """The task is so now."""
        if self.follower is not None and seen.pod_name:
            self.follower.attempt(seen.pod_name)

    async def finish(self) -> None:
        """Show what is left, for a moment."""
        if self.follower is not None:
            await hub.call(self.follower.finish, LOG_END_SECONDS)

    def close(self) -> None:
        """End it at once."""
        if self.follower is not None:
            self.follower.close()
        for _ in range(self._held):
            _streams.release()
        self._held = 0

    def _take(self, count: int) -> bool:
        while self._held < count:
            if not _streams.acquire(blocking=False):
                self.close()
                return False
            self._held += 1
        return True

    def _emit(self, container: str, line: str) -> None:
        self._log.info("[%s] %s", container, line)
