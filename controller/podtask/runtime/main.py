"""Wiring: the only place that constructs things. One event loop holds kopf's shell, two informers and the workers."""

import asyncio
import logging
import socket
from collections.abc import Mapping

import kopf
import uvloop

from ..api import names
from ..core import plan
from ..core.snapshot import Task
from ..kube.config import ClusterConfig
from ..kube.http import HttpClient, Limits
from ..kube.lease import LeaseClient
from ..kube.server_time import ServerTime
from ..runtime.event_recorder import Event, EventKind, EventRecorder, ObjectReference
from . import election, handlers, health, kubeconfig, logs, metrics, preconditions
from .apply import Applier
from .cluster import Cluster
from .health import HealthState
from .metrics import GaugeSnapshot, Metrics
from .options import Options
from .queue import WorkQueue
from .reconciler import Reconciler
from .server import Page, Server
from .task_facts import TaskFacts

_log = logging.getLogger(__name__)

_DRAIN_SECONDS = 1.5
"""What is not answered by then is looked up by whoever works next; the standby waits for us to let the Lease go."""


class _Recorder:
    """Says Events about PodTasks."""

    def __init__(self, events: EventRecorder) -> None:
        self._events = events

    def record(self, task: Task, note: plan.Event) -> None:
        meta = task.metadata
        about = ObjectReference(names.API_VERSION, names.KIND, meta.namespace, meta.name, meta.uid)
        self._events.record(Event(about, EventKind(note.kind), note.reason, "Reconcile", note.message))


class Controller:
    """Everything that runs between kopf's start and its stop."""

    def __init__(self, settings: Options) -> None:
        """Nothing is connected before `start`."""
        self._settings = settings
        self._tasks: list[asyncio.Task[None]] = []
        self._metrics = Metrics()
        self._time = ServerTime()
        self._server = Server()
        self._election: election.Election | None = None
        self._lease_api: HttpClient | None = None
        self._begun = 0.0
        self._works = False
        self.failed = asyncio.Event()

    async def start(self, where: ClusterConfig) -> None:
        """Connect and list; the workers start once both lists are complete, and it is for us to work."""
        loop = asyncio.get_running_loop()
        settings = self._settings
        self._api = self._connect(where)
        self._queue: WorkQueue[str] = WorkQueue(loop, most=lambda: self._api.in_flight_limit)
        self._queue.close()
        self._events = EventRecorder(self._api, controller=names.CONTROLLER, instance=socket.gethostname())
        core_settings = settings.for_core()
        task_facts = TaskFacts()
        self._cluster = Cluster(
            self._api,
            self._queue,
            namespace=settings.namespace,
            relist_seconds=settings.relist_seconds,
            running_pods_limit=core_settings.policy.max_running_pods,
            max_spec_bytes=core_settings.policy.max_spec_bytes,
            observer=self._metrics,
            on_lost=task_facts.note_lost,
        )
        now = self._time.now
        self._reconciler = Reconciler(
            cache=self._cluster,
            applier=Applier(self._api, self._cluster, task_facts, core_settings, now=now),
            task_facts=task_facts,
            slots=self._cluster.slots,
            queue=self._queue,
            recorder=_Recorder(self._events),
            settings=core_settings,
            now=now,
            reads_live=lambda: loop.time() - self._begun < settings.live_read_seconds,
            observer=self._metrics,
        )
        self._listen(settings.http_port, health.pages(loop, self._vitals))
        self._listen(settings.metrics_port, metrics.pages(loop, self._metrics, self._figures))
        self._server.start()
        self._spawn(self._cluster.run(), "informers")
        self._spawn(self._events.run(), "events")
        self._spawn(self._work(), "workers")

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
        if self._election is not None and self._lease_api is not None:
            await self._election.release()
            await self._lease_api.close()
        await self._server.close()
        await self._api.close()
        _log.info("stopped")

    def _connect(self, where: ClusterConfig) -> HttpClient:
        settings, observer, dates = self._settings, self._metrics.request, self._time.note
        if not settings.elects():
            return HttpClient(where, limits=Limits(in_flight=settings.workers), observer=observer, on_server_date=dates)
        # The Lease has connections of its own, so that no amount of work delays it.
        seconds = election.REQUEST_SECONDS
        limits = Limits(
            in_flight=2, connect_seconds=seconds, request_seconds=seconds, read_seconds=seconds, write_seconds=seconds
        )
        self._lease_api = HttpClient(where, limits=limits, observer=observer, on_server_date=dates)
        lease = LeaseClient(
            self._lease_api,
            namespace=election.own_namespace(settings.leader_election_namespace),
            name=election.lease_name(settings.namespace),
            identity=election.identity(),
            duration_seconds=election.DURATION_SECONDS,
        )
        self._election = election.Election(lease, has_work=self._has_work)
        limits = Limits(in_flight=settings.workers, connect_seconds=election.CONNECT_SECONDS)
        return HttpClient(
            where, limits=limits, observer=observer, before_write=self._election.check, on_server_date=dates
        )

    def _has_work(self) -> bool:
        return self._cluster.has_work()  # which is made later than the election that asks

    async def _work(self) -> None:
        await self._cluster.wait_synced()
        _log.info("ready", extra={"tasks": len(self._cluster.tasks), "pods": len(self._cluster.pods)})
        if self._election is None:
            await self._lead()
        else:
            await self._election.run(self._lead)

    async def _lead(self) -> None:
        """Do the work, until cancelled or the queue is closed."""
        self._begun = asyncio.get_running_loop().time()
        self._works = self._metrics.is_leader = True
        self._queue.open()
        self._cluster.rebuild()
        self._cluster.wake_all()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.workers):
                group.create_task(self._reconciler.work())

    # ---- signals ----

    def _listen(self, port: int, pages: Mapping[str, Page]) -> None:
        if not port:
            return
        try:
            self._server.listen(self._settings.http_address, port, pages)
        except OSError as error:
            # Not the end of it: where probes matter, they end this process; outside, another one may have the port.
            _log.error("no probes or no metrics", extra={"port": port, "pages": list(pages), "error": str(error)})

    @property
    def _is_leader(self) -> bool:
        return self._works if self._election is None else self._election.is_leader

    def _vitals(self) -> HealthState:
        cluster = self._cluster
        return HealthState(
            is_synced=cluster.tasks.synced and cluster.pods.synced,
            is_leader=self._is_leader,
            watch_idle_seconds={"podtasks": cluster.tasks.idle(), "pods": cluster.pods.idle()},
            queue_stalled_seconds=self._queue.stalled(),
            ended_parts=[task.get_name() for task in self._tasks if task.done()],
        )

    def _figures(self) -> GaugeSnapshot:
        return GaugeSnapshot(
            queue_depth=len(self._queue),
            queue_processing=self._queue.processing,
            queue_delayed=self._queue.delayed,
            queue_oldest_seconds=self._queue.oldest_age(),
            watch_age_seconds={"podtasks": self._cluster.tasks.age(), "pods": self._cluster.pods.age()},
            is_leader=self._is_leader,
            events_dropped=self._events.dropped,
            requests_at_once=self._api.in_flight_limit,
        )

    def _spawn(self, work: "asyncio._CoroutineLike[None]", name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """A part that ends by itself takes the process with it: half a controller is worse than a restarted one."""
        if not task.cancelled() and task.exception() is not None:
            _log.critical("a part of the controller failed", extra={"part": task.get_name()}, exc_info=task.exception())
            self.failed.set()


async def serve(settings: Options) -> int:
    """Run until a signal comes (0) or a part fails (1)."""
    try:
        where = handlers.connection()
    except kubeconfig.KubeconfigError as error:
        _log.critical(str(error))
        return 1
    if not await preconditions.are_met(where, settings.namespace):
        return 1
    registry = kopf.OperatorRegistry()
    controller = Controller(settings)
    handlers.register(registry, where, controller.start, controller.stop)
    await handlers.run(registry, controller.failed)
    return 1 if controller.failed.is_set() else 0


def run(settings: Options) -> int:
    """Run the controller in this process; gives the exit code."""
    logs.configure(settings.log_level, settings.log_format)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(serve(settings))
    logging.shutdown()
    return code
