"""Makes and connects all parts of the controller. kopf, both informers and the workers share one event loop."""

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
from . import election, handlers, health, kubeconfig, logs, metrics, preconditions
from .apply import Applier
from .cluster import Cluster
from .event_recorder import Event, EventKind, EventRecorder, ObjectReference
from .health import HealthState
from .metrics import GaugeSnapshot, Metrics
from .options import Options
from .queue import WorkQueue
from .reconciler import Reconciler
from .server import Endpoint, Server
from .task_facts import TaskFacts

_log = logging.getLogger(__name__)

_DRAIN_SECONDS = 1.5
"""How long a stop waits for replies to writes before it releases the Lease. The next leader reads the objects of
unanswered writes from the API server."""


class _Recorder:
    """Turns the core's Events into Kubernetes Events on the PodTask."""

    def __init__(self, events: EventRecorder) -> None:
        self._events = events

    def record(self, task: Task, event: plan.Event) -> None:
        meta = task.metadata
        regarding = ObjectReference(names.API_VERSION, names.KIND, meta.namespace, meta.name, meta.uid)
        self._events.record(Event(regarding, EventKind(event.kind), event.reason, "Reconcile", event.message))


class Controller:
    """Everything that runs between kopf's startup and its cleanup."""

    def __init__(self, options: Options) -> None:
        """Connects to nothing before `start`."""
        self._options = options
        self._tasks: list[asyncio.Task[None]] = []
        self._metrics = Metrics()
        self._server_time = ServerTime()
        self._server = Server()
        self._election: election.Election | None = None
        self._lease_api: HttpClient | None = None
        self._leading_since = 0.0
        self._is_working = False
        self.failed = asyncio.Event()
        """Set when a component has failed: the process has to end."""

    async def start(self, config: ClusterConfig) -> None:
        """Connect and list. The workers start once both lists are complete and this replica is the leader."""
        loop = asyncio.get_running_loop()
        options = self._options
        self._api = self._connect(config)
        self._queue: WorkQueue[str] = WorkQueue(loop, max_processing=lambda: self._api.in_flight_limit)
        self._queue.shut_down()
        self._events = EventRecorder(self._api, controller=names.CONTROLLER, instance=socket.gethostname())
        core_settings = options.for_core()
        task_facts = TaskFacts()
        self._cluster = Cluster(
            self._api,
            self._queue,
            namespace=options.namespace,
            relist_seconds=options.relist_seconds,
            running_pods_limit=core_settings.policy.max_running_pods,
            max_spec_bytes=core_settings.policy.max_spec_bytes,
            metrics=self._metrics,
            on_lost=task_facts.note_lost,
        )
        now = self._server_time.now
        self._reconciler = Reconciler(
            cache=self._cluster,
            applier=Applier(self._api, self._cluster, task_facts, core_settings, now=now),
            task_facts=task_facts,
            slots=self._cluster.slots,
            queue=self._queue,
            recorder=_Recorder(self._events),
            settings=core_settings,
            now=now,
            reads_live=lambda: loop.time() - self._leading_since < options.live_read_seconds,
            metrics=self._metrics,
        )
        self._listen(options.http_port, health.endpoints(loop, self._health_state))
        self._listen(options.metrics_port, metrics.endpoints(loop, self._metrics, self._gauges))
        self._server.start()
        self._spawn(self._cluster.run(), "informers")
        self._spawn(self._events.run(), "events")
        self._spawn(self._run_when_leader(), "workers")

    async def stop(self) -> None:
        """Wait for writes in progress, end all background tasks, release the Lease and close all connections."""
        self._queue.shut_down()
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._queue.drained()
        except TimeoutError:
            _log.warning("requests were still in progress at the stop", extra={"seconds": _DRAIN_SECONDS})
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._election is not None and self._lease_api is not None:
            await self._election.release()
            await self._lease_api.close()
        await self._server.close()
        await self._api.close()
        _log.info("controller stopped")

    def _connect(self, config: ClusterConfig) -> HttpClient:
        """Return the client for the workers; it refuses writes unless this replica holds the Lease."""
        options, observer, on_server_date = self._options, self._metrics.request, self._server_time.note
        if not options.elects():
            limits = Limits(in_flight=options.workers)
            return HttpClient(config, limits=limits, observer=observer, on_server_date=on_server_date)
        # The Lease has its own connections, so that the load of the workers does not delay it.
        seconds = election.REQUEST_SECONDS
        limits = Limits(
            in_flight=2, connect_seconds=seconds, request_seconds=seconds, read_seconds=seconds, write_seconds=seconds
        )
        self._lease_api = HttpClient(config, limits=limits, observer=observer, on_server_date=on_server_date)
        lease = LeaseClient(
            self._lease_api,
            namespace=election.lease_namespace(options.leader_election_namespace),
            name=election.lease_name(options.namespace),
            identity=election.identity(),
            duration_seconds=election.DURATION_SECONDS,
        )
        self._election = election.Election(lease, has_work=self._has_work)
        limits = Limits(in_flight=options.workers, connect_seconds=election.CONNECT_SECONDS)
        return HttpClient(
            config, limits=limits, observer=observer, before_write=self._election.check, on_server_date=on_server_date
        )

    def _has_work(self) -> bool:
        return self._cluster.has_work()  # `_cluster` does not exist yet when the election is made

    async def _run_when_leader(self) -> None:
        await self._cluster.wait_synced()
        _log.info("ready", extra={"tasks": len(self._cluster.tasks), "pods": len(self._cluster.pods)})
        if self._election is None:
            await self._run_workers()
        else:
            await self._election.run(self._run_workers)

    async def _run_workers(self) -> None:
        """Reconcile, until cancelled or the queue is shut down."""
        self._leading_since = asyncio.get_running_loop().time()
        self._is_working = self._metrics.is_leader = True
        self._queue.start()
        self._cluster.rebuild_slots()
        self._cluster.enqueue_all()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._options.workers):
                group.create_task(self._reconciler.work())

    def _listen(self, port: int, endpoints: Mapping[str, Endpoint]) -> None:
        if not port:
            return
        try:
            self._server.listen(self._options.http_address, port, endpoints)
        except OSError as error:
            # Not fatal: in a cluster a failing probe restarts this process; outside, another process may use the port.
            fields = {"port": port, "endpoints": list(endpoints), "error": str(error)}
            _log.error("port for probes or metrics could not be opened", extra=fields)

    @property
    def _is_leader(self) -> bool:
        return self._is_working if self._election is None else self._election.is_leader

    def _health_state(self) -> HealthState:
        cluster = self._cluster
        return HealthState(
            is_synced=cluster.tasks.synced and cluster.pods.synced,
            is_leader=self._is_leader,
            watch_idle_seconds={"podtasks": cluster.tasks.idle(), "pods": cluster.pods.idle()},
            queue_stalled_seconds=self._queue.stalled_seconds(),
            ended_components=[task.get_name() for task in self._tasks if task.done()],
        )

    def _gauges(self) -> GaugeSnapshot:
        return GaugeSnapshot(
            queue_depth=len(self._queue),
            queue_processing=self._queue.processing,
            queue_delayed=self._queue.delayed,
            queue_oldest_seconds=self._queue.oldest_seconds(),
            watch_age_seconds={"podtasks": self._cluster.tasks.age(), "pods": self._cluster.pods.age()},
            is_leader=self._is_leader,
            events_dropped=self._events.dropped,
            requests_at_once=self._api.in_flight_limit,
        )

    def _spawn(self, work: "asyncio._CoroutineLike[None]", name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._component_ended)
        self._tasks.append(task)

    def _component_ended(self, task: "asyncio.Task[None]") -> None:
        """End the process if a component has failed: a restarted controller is better than an incomplete one."""
        if not task.cancelled() and task.exception() is not None:
            _log.critical(
                "component of the controller failed", extra={"component": task.get_name()}, exc_info=task.exception()
            )
            self.failed.set()


async def serve(options: Options) -> int:
    """Run until a signal arrives (returns 0) or a component fails (returns 1)."""
    try:
        config = handlers.cluster_config()
    except kubeconfig.KubeconfigError as error:
        _log.critical(str(error))
        return 1
    if not await preconditions.are_met(config, options.namespace):
        return 1
    registry = kopf.OperatorRegistry()
    controller = Controller(options)
    handlers.register(registry, config, controller.start, controller.stop)
    await handlers.run(registry, controller.failed)
    return 1 if controller.failed.is_set() else 0


def run(options: Options) -> int:
    """Run the controller in this process; return the exit code."""
    logs.configure(options.log_level, options.log_format)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(serve(options))
    logging.shutdown()
    return code
