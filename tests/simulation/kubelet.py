"""Scheduler and kubelet for one Pod: from its creation to its removal, along the fate that was drawn for it.

Modelled on what Kubernetes 1.34 was seen to do: the phase becomes terminal only when no container runs any more, a
deleted Pod is reported terminal before it is removed, and a silent node neither hears nor tells.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from podtask.api import names
from podtask.kube import errors
from podtask.kube.client import PODS

from .conditions import mark
from .etcd import Key, Object
from .fate import Fate, Habits, result_of
from .machine import Containers, direct_message, envelope
from .model import Server, moment, stamp
from .truth import Run

_CUTS_OFF = {
    "evict": {"reason": "Evicted", "message": "The node was low on resource: memory."},
    "shutdown": {"reason": "Terminated", "message": "in response to imminent node shutdown"},
}
"""What the kubelet says of a Pod that it brings to an end by itself."""


class PodLife:
    """One Pod's life on its machine. `begin` starts it; `notice` reports a change of the API object."""

    def __init__(
        self,
        server: Server,
        run: Run,
        fate: Fate,
        habits: Habits,
        key: Key,
        main: str,
        rng: random.Random,
        on_start: Callable[[Run], None],
    ) -> None:
        self.run = run
        self.fate = fate
        self.log = b""
        self.silent = False
        self._server = server
        self._habits = habits
        self._key = key
        self._rng = rng
        self._on_start = on_start
        pod = server.etcd.objects[key]
        self._pod_spec = pod["spec"]
        self._containers = Containers(pod, main, habits.skew)
        self._cause = ""
        self._grace = float(pod["spec"]["terminationGracePeriodSeconds"])
        self._waiter: asyncio.Future[None] | None = None
        self._heard: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.over = False

    def begin(self) -> None:
        """Start living."""
        self._task = self._loop.create_task(self._live())
        self._task.add_done_callback(_raise_again)

    # ---- what comes from outside ----

    def notice(self, pod: Object | None) -> None:
        """The API object has changed, or is gone (None)."""
        if self.silent or self.over:
            return
        delay = self._rng.uniform(0.01, 0.3)
        if pod is None:
            self._loop.call_later(delay, self.stop, "killed")
        elif "deletionTimestamp" in pod["metadata"]:
            grace = pod["metadata"]["deletionGracePeriodSeconds"]
            if self.run.node and grace == 0:
                self._loop.call_later(delay, self.stop, "killed")
            elif not self._cause:
                self._grace = float(grace)
                self._loop.call_later(delay, self.stop, "deleted")
        elif "activeDeadlineSeconds" in pod["spec"] and not self._cause:
            began = moment(pod["status"]["startTime"]) if "startTime" in pod["status"] else self._server.now()
            at = max(began + pod["spec"]["activeDeadlineSeconds"], self._server.now() + delay)
            self._loop.call_later(at - self._server.now(), self.stop, "deadline")

    def stop(self, cause: str) -> None:
        """Interrupt whatever the Pod does. A kill goes over everything else."""
        if self.silent or self.over or (self._cause and cause != "killed") or self._cause == cause:
            return
        self._cause = cause
        self._wake()

    def fall_silent(self, *, dead: bool) -> None:
        """The node is cut off. A dead machine runs nothing any more."""
        self.silent = True
        if dead:
            self._end_main(None)
            self._finish()
            self._task.cancel()

    def come_back(self) -> None:
        """The node is heard again, and hears what it missed."""
        if not self.silent or self.over:
            return
        self.silent = False
        self._tell()
        self.notice(self._pod())
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)

    @property
    def is_bound(self) -> bool:
        """Whether a kubelet has it."""
        return bool(self.run.node)

    # ---- the life ----

    async def _live(self) -> None:
        try:
            if await self._schedule() and await self._prepare():
                await self._work()
        finally:
            self._finish()

    def _finish(self) -> None:
        self.over = True

    async def _schedule(self) -> bool:
        pod = self._pod()
        if pod is not None and pod["spec"].get("schedulingGates"):
            self._condition("PodScheduled", "False", "SchedulingGated", "held")
            await self._pause(self._rng.uniform(0.5, 20))
            if (pod := self._pod()) is None or "deletionTimestamp" in pod["metadata"]:
                return False
            self._server.update(self._key, {**pod, "spec": {**pod["spec"], "schedulingGates": []}})
        if self.fate.unschedulable:
            self._condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available: insufficient cpu")
        stopped = await self._pause(self.fate.schedule)
        pod = self._pod()
        if stopped or pod is None or "deletionTimestamp" in pod["metadata"]:
            return False
        self.run.node = f"node-{self.run.uid[:8]}"
        conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(self._server.now())}]
        bound = {**pod, "spec": {**pod["spec"], "nodeName": self.run.node}}
        bound["status"] = {**pod["status"], "conditions": conditions}
        self._server.etcd.put(self._key, bound)
        return True

    async def _prepare(self) -> bool:
        """From the node to the start; False where the main container never starts."""
        fate, containers = self.fate, self._containers
        if fate.refused:
            await self._pause(0.1)
            self.run.refused = True
            await self._conclude(phase="Failed", reason="OutOfcpu", message="Pod was rejected")
            return False
        if await self._pause(self._habits.slow_to_take):
            return await self._never_started()
        self._tell(startTime=stamp(self._server.now() + self._habits.skew))
        if fate.bad_pull and await self._trouble():
            return await self._never_started()
        if await self._pause(fate.pull):
            return await self._never_started()
        for name in containers.sidecars:
            containers.start(name, self._server.now())
        for name in containers.inits:
            if await self._init(name):
                return await self._never_started()
            if self.run.init_failed:
                return False
        if fate.start_error:
            await self._fail_start()
            return False
        return True

    async def _trouble(self) -> bool:
        name = self._containers.name
        reasons = ("CreateContainerConfigError",) if self.fate.config_error else ("ErrImagePull", "ImagePullBackOff")
        for reason in reasons:
            self._containers.wait(name, reason, 'secret "s" not found' if self.fate.config_error else "pull failed")
            self._tell()
            if await self._pause(self.fate.bad_pull / len(reasons)):
                return True
        return False

    async def _init(self, name: str) -> bool:
        containers = self._containers
        containers.start(name, self._server.now())
        self._maybe_tell()
        if await self._pause(self._rng.uniform(0.1, 3)):
            containers.end(name, self._server.now(), 137)
            return True
        code = 1 if self.fate.init_fails else 0
        containers.end(name, self._server.now(), code)
        if code:
            self.run.init_failed = True
            await self._end_sidecars()
            await self._conclude(phase="Failed", **containers.statuses())
        return False

    async def _fail_start(self) -> None:
        self.run.start_error = True
        self._containers.start(self._containers.name, 0.0)
        self._containers.end(self._containers.name, self._server.now(), 128, "StartError", "exec: no such file")
        for name in self._containers.others:
            self._containers.end(name, self._server.now(), 137)
        await self._end_sidecars()
        await self._conclude(phase="Failed", **self._containers.statuses())

    async def _never_started(self) -> bool:
        """Asked to stop before its main container began."""
        if self._rng.random() < 0.5:
            for name in (self._containers.name, *self._containers.others):
                self._containers.end(name, self._server.now(), 137, "ContainerStatusUnknown", "could not be located")
        await self._end_sidecars()
        await self._close(self._cause)
        return False

    async def _work(self) -> None:
        now = self._server.now()
        self._on_start(self.run)
        self.run.started_at = now
        for name in (self._containers.name, *self._containers.others):
            self._containers.start(name, now)
        self._tell(phase="Running")
        if not await self._pause(self.fate.run):
            self._end_main(self.fate.exit_code, by_itself=True, reason="OOMKilled" if self.fate.oom else "")
            if not self._containers.others:
                self._maybe_tell()
        if self._containers.others:
            # An ordinary sidecar never ends by itself: a proxy, a log shipper.
            self._tell()
            await self._pause(None)
        cause = self._cause
        if cause:
            await self._terminate(cause)
        await self._end_sidecars()
        await self._close(self._cause)

    async def _terminate(self, cause: str) -> None:
        """SIGTERM, grace, SIGKILL for all that runs but the native sidecars.

        The kubelet tells nothing before all of them have ended, and then everything at once.
        """
        grace = 0.0 if cause in {"evict", "killed"} else self._grace
        patience = min(self.fate.term, grace)
        await self._pause_unless_killed(patience)
        killed = self.fate.term > grace or self._cause == "killed"
        if self.run.runs:
            self._end_main(137 if killed else self.fate.term_code)
        for name in self._containers.others:
            if name in self._containers.running():
                self._containers.end(name, self._server.now(), 137)

    def _end_main(self, code: int | None, *, by_itself: bool = False, reason: str = "") -> None:
        run = self.run
        if not run.runs:
            return
        run.ended_at, run.exit_code, run.by_itself, run.oom = self._server.now(), code, by_itself, reason == "OOMKilled"
        if code is None:
            return
        if by_itself or code == 0:
            run.result = result_of(self._habits, run.attempt)
        message = ""
        if self._containers.is_direct:
            message = direct_message(run.result, len(self._containers.states))
        self._containers.end(self._containers.name, self._server.now(), code, reason, message)

    async def _end_sidecars(self) -> None:
        """The kubelet tells native sidecars to stop once the main containers have ended."""
        containers = self._containers
        if not containers.sidecars or not set(containers.sidecars) & set(containers.running()):
            return
        await self._pause_unless_killed(self.fate.sidecar_seconds)
        for name in containers.sidecars:
            if name != names.RESULT_CONTAINER:
                containers.end(name, self._server.now(), 0)
                continue
            if self.fate.sidecar_crash or self._cause in {"killed", "evict"}:
                self.run.sidecar_failed = True
                containers.end(name, self._server.now(), 137, "OOMKilled" if self.fate.sidecar_crash else "Error")
                continue
            spec = next(c for c in self._pod_spec["initContainers"] if c["name"] == name)
            message, self.log = envelope(self.run.result, spec)
            containers.end(name, self._server.now(), 0, message=message)
        if not self._cause:
            self._maybe_tell()

    async def _close(self, cause: str) -> None:
        """Report the end of the whole Pod."""
        if cause != "killed":
            await self._pause_unless_killed(self._rng.uniform(0.05, 1.0))
        codes = [s.get("terminated", {}).get("exitCode", 137) for s in self._main_states()]
        fields: Object = {"phase": "Succeeded" if not any(codes) else "Failed"}
        if cause == "deadline":
            fields = {"phase": "Failed", "reason": "DeadlineExceeded", "message": "Pod was active on the node longer"}
        elif cause in _CUTS_OFF:
            self.run.cut_off = True
            # Where every exit code is 0 the kubelet leaves the Pod Succeeded, and its reason out.
            fields |= _CUTS_OFF[cause] if any(codes) else {}
            fields["conditions"] = self._disruption_target(_CUTS_OFF[cause]["message"])
        await self._conclude(**fields, **self._containers.statuses())

    async def _conclude(self, **fields: Any) -> None:
        """Tell the last of it, as soon as the node is heard, and let a deleted Pod go."""
        if self.silent:
            self._heard = self._loop.create_future()
            await self._heard
        self._write(**fields)
        pod = self._pod()
        if pod is not None and "deletionTimestamp" in pod["metadata"]:
            await self._pause_unless_killed(self._rng.uniform(0.05, 0.5))
            self._delete_for_good()

    def _delete_for_good(self) -> None:
        try:
            self._server.delete(PODS, self._key[1], self._key[2], uid=self.run.uid, grace_seconds=0)
        except (errors.NotFound, errors.Conflict):
            return

    # ---- telling ----

    def _main_states(self) -> list[Object]:
        return [self._containers.states[name] for name in (self._containers.name, *self._containers.others)]

    def _maybe_tell(self) -> None:
        if self._rng.random() >= self._habits.lumps:
            self._tell()

    def _tell(self, **fields: Any) -> None:
        self._write(**self._containers.statuses(), **fields)

    def _write(self, **fields: Any) -> None:
        pod = self._pod()
        if pod is None or self.silent:
            return
        status = {**pod["status"], **fields}
        if status != pod["status"]:
            # The server's own note, by its own clock.
            owned = {"f:status": {"f:containerStatuses": {}}}
            note = {"subresource": "status", "time": stamp(self._server.now()), "fieldsV1": owned}
            meta = {**pod["metadata"], "managedFields": [note]}
            self._server.update(self._key, {**pod, "metadata": meta, "status": status}, "status")
        state = self._containers.states[self._containers.name]
        if self.run.started_at is not None and ("running" in state or "terminated" in state):
            self.run.told_started = True
            if "terminated" in state and self.run.told_end_at is None:
                self.run.told_end_at = self._server.now()
        carrier = names.RESULT_CONTAINER if self._containers.has_result_sidecar else self._containers.name
        if "terminated" in self._containers.states[carrier] and self.run.delivered_at is None:
            self.run.delivered_at = self._server.now()

    def _disruption_target(self, message: str) -> list[Object]:
        new = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": message}
        conditions = (self._pod() or {"status": {}})["status"].get("conditions", [])
        kept = [c for c in conditions if c["type"] != "DisruptionTarget"]
        return [*kept, {**new, "lastTransitionTime": stamp(self._server.now() + self._habits.skew)}]

    def _condition(self, kind: str, status: str, reason: str, message: str) -> None:
        mark(self._server, self._key, self.run.uid, kind, status, reason, message)

    def _pod(self) -> Object | None:
        pod = self._server.etcd.get(self._key)
        return pod if pod is not None and pod["metadata"]["uid"] == self.run.uid else None

    # ---- waiting ----

    async def _pause(self, seconds: float | None) -> bool:
        """Wait so long, or until something interrupts (None: only that); True for an interruption."""
        if self._cause:
            return True
        await self._sleep(seconds)
        return bool(self._cause)

    async def _pause_unless_killed(self, seconds: float) -> None:
        if self._cause != "killed":
            await self._sleep(seconds)

    async def _sleep(self, seconds: float | None) -> None:
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._wake) if seconds is not None else None
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _raise_again(task: "asyncio.Task[None]") -> None:
    """A defect of the model is not to pass as a quiet end."""
    if not task.cancelled() and task.exception() is not None:
        raise task.exception()  # type: ignore[misc]
