"""The product under test, put together as `runtime.main` does it, on the model's client and on virtual time."""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from podtask.core import plan
from podtask.core.policy import Policy
from podtask.core.settings import Settings
from podtask.core.snapshot import Task
from podtask.kube.client import Client
from podtask.runtime.apply import Applier
from podtask.runtime.cluster import Cluster
from podtask.runtime.queue import WorkQueue
from podtask.runtime.reconciler import Reconciler
from podtask.runtime.task_facts import TaskFacts

from .model import EPOCH

LIVE_READ_SECONDS = 60.0
_WORKERS = 3
_RELIST_SECONDS = 120.0


class LoopClock:
    """`kube.clock.Clock` on the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Silence:
    def record(self, task: Task, note: plan.Event) -> None: ...


class Controller:
    """One controller process, from its start to its sudden end."""

    def __init__(
        self,
        client: Client,
        rng: random.Random,
        offset: Callable[[], float],
        report: Callable[[str], None],
        *,
        alone: bool,
        running_pods_limit: int | None,
    ) -> None:
        """`offset` is how far its wall clock is off."""
        loop = asyncio.get_running_loop()
        self._report = report
        self.queue: WorkQueue[str] = WorkQueue(loop, jitter=rng.random)
        task_facts = TaskFacts()
        self.cluster = Cluster(
            client,
            self.queue,
            namespace="",
            relist_seconds=_RELIST_SECONDS,
            running_pods_limit=running_pods_limit,
            time_source=LoopClock(),
            jitter=rng.random,
            on_lost=task_facts.note_lost,
        )
        settings = Settings(policy=Policy(max_running_pods=running_pods_limit))
        begun = loop.time()

        def now() -> datetime:
            return EPOCH + timedelta(seconds=loop.time() + offset())

        self.reconciler = Reconciler(
            cache=self.cluster,
            applier=Applier(
                client, self.cluster, task_facts, settings, now=now, time_source=LoopClock(), jitter=rng.random
            ),
            task_facts=task_facts,
            slots=self.cluster.slots,
            queue=self.queue,
            recorder=_Silence(),
            settings=settings,
            now=now,
            reads_live=lambda: not alone or loop.time() - begun < LIVE_READ_SECONDS,
        )
        self._tasks = [loop.create_task(self._part(self.cluster.run())), loop.create_task(self._part(self._work()))]

    async def _work(self) -> None:
        await self.cluster.wait_synced()
        self.cluster.rebuild_slots()
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self.reconciler.work())

    async def _part(self, work: "asyncio._CoroutineLike[None]") -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever ends a part of the controller is a defect
            self._report(f"a part of the controller ended with {error!r}")

    def kill(self) -> None:
        """End it without any warning."""
        for task in self._tasks:
            task.cancel()


class Complaints(logging.Handler):
    """Turns what the product logs as its own defects into breaches."""

    def __init__(self, report: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Only errors come here."""
        cause = record.exc_info[1] if record.exc_info else ""
        self._report(f"the product logged: {record.getMessage()}: {cause!r}")
