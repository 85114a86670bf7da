"""Wiring: the only place that constructs things. One event loop holds kopf's shell, two informers and the workers."""

import asyncio
import logging
import socket
from datetime import UTC, datetime

import kopf
import uvloop

from ..api import names
from ..core import plan
from ..core.observed import Task
from ..kube.connection import Connection
from ..kube.events import Event, EventKind, EventRecorder, ObjectReference
from ..kube.http import HttpClient, Limits
from . import handlers, logs
from .apply import Applier
from .cluster import Cluster
from .memory import Memories
from .queue import WorkQueue
from .reconciler import Reconciler
from .settings import Settings

_log = logging.getLogger(__name__)

_DRAIN_SECONDS = 5.0


class _Recorder:
    """Says Events about PodTasks."""

    def __init__(self, events: EventRecorder) -> None:
        self._events = events

    def record(self, task: Task, note: plan.Note) -> None:
        meta = task.metadata
        about = ObjectReference(names.API_VERSION, names.KIND, meta.namespace, meta.name, meta.uid)
        self._events.record(Event(about, EventKind(note.kind), note.reason, "Reconcile", note.message))


class Controller:
    """Everything that runs between kopf's start and its stop."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is connected before `start`."""
        self._settings = settings
        self._tasks: list[asyncio.Task[None]] = []
        self.failed = asyncio.Event()

    async def start(self, where: Connection) -> None:
        """Connect, list, and start the workers once both lists are complete."""
        loop = asyncio.get_running_loop()
        settings = self._settings
        self._api = HttpClient(where, limits=Limits(in_flight=settings.workers))
        self._queue: WorkQueue[str] = WorkQueue(loop)
        self._events = EventRecorder(self._api, controller=names.CONTROLLER, instance=socket.gethostname())
        cluster = Cluster(self._api, self._queue, namespace=settings.namespace, relist_seconds=settings.relist_seconds)
        core_settings = settings.for_core()
        memories = Memories()
        begun = loop.time()

        def now() -> datetime:
            return datetime.now(UTC)

        reconciler = Reconciler(
            cache=cluster,
            applier=Applier(self._api, cluster, memories, core_settings, now=now),
            memories=memories,
            queue=self._queue,
            recorder=_Recorder(self._events),
            settings=core_settings,
            now=now,
            reads_live=lambda: loop.time() - begun < settings.live_read_seconds,
        )
        self._spawn(cluster.run(), "informers")
        self._spawn(self._events.run(), "events")
        self._spawn(self._work(cluster, reconciler), "workers")

    async def stop(self) -> None:
        """Finish what is being written, then let go of everything."""
        self._queue.close()
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._queue.drained()
        except TimeoutError:
            _log.warning("gave up waiting for requests under way", extra={"seconds": _DRAIN_SECONDS})
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._api.close()
        _log.info("stopped")

    async def _work(self, cluster: Cluster, reconciler: Reconciler) -> None:
        await cluster.wait_synced()
        _log.info("ready", extra={"tasks": len(cluster.tasks), "pods": len(cluster.pods)})
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.workers):
                group.create_task(reconciler.work())

    def _spawn(self, work: "asyncio._CoroutineLike[None]", name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """A part that ends by itself takes the process with it: half a controller is worse than a restarted one."""
        if not task.cancelled() and task.exception() is not None:
            _log.critical("a part of the controller failed", extra={"part": task.get_name()}, exc_info=task.exception())
            self.failed.set()


async def serve(settings: Settings) -> int:
    """Run until a signal comes (0) or a part fails (1)."""
    registry = kopf.OperatorRegistry()
    controller = Controller(settings)
    handlers.register(registry, controller.start, controller.stop)
    await handlers.run(registry, controller.failed)
    return 1 if controller.failed.is_set() else 0


def run(settings: Settings) -> int:
    """Run the controller in this process; gives the exit code."""
    logs.configure(settings.log_level, settings.log_format)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(serve(settings))
    logging.shutdown()
    return code
