"""Metrics of the controller: one table, from which the registry and docs/reference/metrics.md are made.

Figures that exist already (the queue, the caches, the Lease) are read when metrics are requested, all in one moment;
only what would be gone by then is counted as it happens, with labels that are looked up once.
"""

import asyncio
import enum
import sys
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily

from .. import __version__
from ..api.reasons import Reason
from ..core.snapshot import Task, TaskStatus
from .server import Answer, Fresh, Page, ask

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0)
_BYTES = (64.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 524288.0)
_REASONS = frozenset(reason.value for reason in Reason)


class Kind(enum.StrEnum):
    """Prometheus' own kinds."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """One metric."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


QUEUE_DEPTH = Metric("podtask_queue_depth", Kind.GAUGE, "Tasks that wait for a worker.")
QUEUE_PROCESSING = Metric("podtask_queue_processing", Kind.GAUGE, "Tasks that a worker has in hand.")
QUEUE_DELAYED = Metric(
    "podtask_queue_delayed", Kind.GAUGE, "Tasks that wait for their time: a deadline, a retry, a TTL."
)
QUEUE_OLDEST = Metric("podtask_queue_oldest_seconds", Kind.GAUGE, "How long the longest-waiting task has waited.")
REQUESTS_AT_ONCE = Metric(
    "podtask_requests_at_once",
    Kind.GAUGE,
    "Requests, and so tasks, that may be worked on at once; below --workers the API server is busy.",
)
WATCH_AGE = Metric(
    "podtask_watch_age_seconds",
    Kind.GAUGE,
    "Time since the API server last said anything about a resource; under 75 while all is well.",
    ("resource",),
)
TASKS = Metric("podtask_tasks", Kind.GAUGE, "PodTasks that exist, by where they stand.", ("phase", "reason"))
LEADER = Metric("podtask_leader", Kind.GAUGE, "1 where this replica works, 0 where it stands by.")
EVENTS_DROPPED = Metric(
    "podtask_events_dropped", Kind.GAUGE, "Kubernetes Events of this process that never reached the API server."
)
MEMORY_BLOCKS = Metric(
    "podtask_memory_blocks",
    Kind.GAUGE,
    "Blocks of memory that Python holds. With as many tasks as before it is as before, which resident memory need not"
    " be: one that grows for ever is a leak.",
)
BUILD = Metric("podtask_build_info", Kind.GAUGE, "Always 1; says which version runs.", ("version",))
RECONCILE = Metric(
    "podtask_reconcile_seconds",
    Kind.HISTOGRAM,
    "One pass over one task, requests included; outcome is done, retry (to be looked at again) or error.",
    ("outcome",),
    _FAST,
)
UNSETTLED = Metric(
    "podtask_unsettled_total",
    Kind.COUNTER,
    "Passes over a task that ended with more to do than one pass does. A few are others' changes at the same moment;"
    " a task that adds to it time and again is named in the log.",
)
REQUEST = Metric(
    "podtask_request_seconds",
    Kind.HISTOGRAM,
    "One request to the API server; of a watch, until its stream began.",
    ("verb", "resource"),
    _FAST,
)
REQUESTS = Metric(
    "podtask_requests_total",
    Kind.COUNTER,
    "Requests to the API server, by the status that came back (none where no reply came).",
    ("verb", "resource", "code"),
)
STAGE = Metric(
    "podtask_stage_seconds",
    Kind.HISTOGRAM,
    "Time in one stage. create: PodTask seen to Pod created. start: Pod created to main container started, "
    "run: started to ended (both by the cluster's clocks, in whole seconds). record: end seen to status written.",
    ("stage",),
    _SLOW,
)
ATTEMPTS = Metric(
    "podtask_attempts_total", Kind.COUNTER, "Attempts whose end was recorded, by how they ended.", ("outcome", "reason")
)
FINISHED = Metric(
    "podtask_tasks_finished_total",
    Kind.COUNTER,
    "Tasks whose end was recorded, by how they ended.",
    ("phase", "reason"),
)
RESULT = Metric("podtask_result_bytes", Kind.HISTOGRAM, "Size of each result collected.", (), _BYTES)

TABLE = (
    QUEUE_DEPTH,
    QUEUE_PROCESSING,
    QUEUE_DELAYED,
    QUEUE_OLDEST,
    REQUESTS_AT_ONCE,
    WATCH_AGE,
    TASKS,
    LEADER,
    EVENTS_DROPPED,
    MEMORY_BLOCKS,
    BUILD,
    RECONCILE,
    UNSETTLED,
    REQUEST,
    REQUESTS,
    STAGE,
    ATTEMPTS,
    FINISHED,
    RESULT,
)


class GaugeSnapshot(NamedTuple):
    """Figures that are read when metrics are requested."""

    queue_depth: int
    queue_processing: int
    queue_delayed: int
    queue_oldest_seconds: float
    watch_age_seconds: Mapping[str, float]
    is_leader: bool
    events_dropped: int
    requests_at_once: int


_Observe = Callable[[float], None]
_Count = Callable[[], None]


class Snapshot(NamedTuple):
    """What stood somewhere already, all of one moment."""

    figures: GaugeSnapshot
    tasks: Mapping[tuple[str, ...], float]
    memory_blocks: int

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """See prometheus_client's Collector."""
        figures = self.figures
        for metric, value in (
            (QUEUE_DEPTH, figures.queue_depth),
            (QUEUE_PROCESSING, figures.queue_processing),
            (QUEUE_DELAYED, figures.queue_delayed),
            (QUEUE_OLDEST, figures.queue_oldest_seconds),
            (LEADER, figures.is_leader),
            (EVENTS_DROPPED, figures.events_dropped),
            (REQUESTS_AT_ONCE, figures.requests_at_once),
            (MEMORY_BLOCKS, self.memory_blocks),
        ):
            yield GaugeMetricFamily(metric.name, metric.help, value=float(value))
        yield _family(BUILD, {(__version__,): 1.0})
        yield _family(WATCH_AGE, {(resource,): age for resource, age in figures.watch_age_seconds.items()})
        yield _family(TASKS, self.tasks)


class Metrics:
    """Everything that is counted as it happens, and the text that Prometheus reads."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        """`now` times the stages that are shorter than the cluster's clocks can tell."""
        self._now = now
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self._registry)
        self._requests = self._counter(REQUESTS)
        self._request_seconds = self._histogram(REQUEST)
        self._of_request: dict[tuple[str, str, int], tuple[_Observe, _Count]] = {}
        reconcile, stage = self._histogram(RECONCILE), self._histogram(STAGE)
        self._reconcile: dict[str, _Observe] = {o: reconcile.labels(o).observe for o in ("done", "retry", "error")}
        self._stage: dict[str, _Observe] = {s: stage.labels(s).observe for s in ("create", "start", "run", "record")}
        self._unsettled = self._counter(UNSETTLED)
        self._attempts = self._counter(ATTEMPTS)
        self._finished = self._counter(FINISHED)
        self._results = self._histogram(RESULT)
        self._tasks: Tally[tuple[str, ...]] = Tally()
        self._appeared: dict[str, float] = {}
        """When each task that has had no Pod yet was first seen."""
        self._ended: dict[str, float] = {}
        """When each end that is not in a status yet was first seen; only the leader will write it there."""
        self.is_leader = False

    def snapshot(self, figures: GaugeSnapshot) -> Snapshot:
        """Give what `text` needs from the thread that counts; takes no time to speak of."""
        return Snapshot(figures, dict(self._tasks), sys.getallocatedblocks())

    def text(self, snapshot: Snapshot) -> bytes:
        """Give everything as Prometheus wants it. Takes some 8 ms, and may be called in any thread."""
        return prometheus.generate_latest(snapshot) + prometheus.generate_latest(self._registry)

    # ---- as it happens ----

    def request(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """See `kube.http.Observer`."""
        key = (verb, resource, status)
        children = self._of_request.get(key)
        if children is None:
            code = str(status) if status else "none"
            children = (
                self._request_seconds.labels(verb, resource).observe,
                self._requests.labels(verb, resource, code).inc,
            )
            self._of_request[key] = children
        children[0](seconds)
        children[1]()

    def reconciled(self, outcome: str, seconds: float) -> None:
        """See `reconciler.Observer`."""
        self._reconcile[outcome](seconds)

    def unsettled(self) -> None:
        """See `reconciler.Observer`."""
        self._unsettled.inc()

    def task_changed(self, old: Task | None, new: Task | None) -> None:
        """See `cluster.Observer`."""
        if old is not None:
            place = _place(old.status)
            self._tasks[place] -= 1
            if not self._tasks[place]:
                del self._tasks[place]
        if new is None:
            if old is not None:
                self._appeared.pop(old.metadata.uid, None)
                self._ended.pop(old.metadata.uid, None)
            return
        self._tasks[_place(new.status)] += 1
        if new.status.phase_is_terminal or new.spec.suspend or new.status.reason:
            self._appeared.pop(new.metadata.uid, None)  # it has begun, or waits for something that is none of our time
        else:
            self._appeared.setdefault(new.metadata.uid, self._now())

    def main_ended(self, uid: str) -> None:
        """See `cluster.Observer`."""
        if self.is_leader:
            self._ended.setdefault(uid, self._now())

    def pod_created(self, uid: str) -> None:
        """See `reconciler.Observer`."""
        appeared = self._appeared.pop(uid, None)
        if appeared is not None:
            self._stage["create"](self._now() - appeared)

    def status_written(self, task: Task, status: TaskStatus) -> None:
        """See `reconciler.Observer`."""
        if status.attempt_count > task.status.attempt_count and status.attempts:
            self._attempt_ended(task.metadata.uid, status)
        if status.phase_is_terminal and not task.status.phase_is_terminal:
            self._finished.labels(status.phase, _bounded(status.reason)).inc()
            if status.xcom is not None and status.xcom.size_bytes is not None:
                self._results.observe(status.xcom.size_bytes)

    def _attempt_ended(self, uid: str, status: TaskStatus) -> None:
        last = status.attempts[-1]
        self._attempts.labels(last.outcome, _bounded(last.reason)).inc()
        ended = self._ended.pop(uid, None)
        if ended is not None:
            self._stage["record"](self._now() - ended)
        if last.creation_time and last.start_time:
            self._stage["start"](max(0.0, (last.start_time - last.creation_time).total_seconds()))
        if last.start_time and last.completion_time:
            self._stage["run"](max(0.0, (last.completion_time - last.start_time).total_seconds()))

    def _counter(self, metric: Metric) -> prometheus.Counter:
        return prometheus.Counter(metric.name, metric.help, metric.labels, registry=self._registry)

    def _histogram(self, metric: Metric) -> prometheus.Histogram:
        return prometheus.Histogram(
            metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self._registry
        )


def pages(
    main: asyncio.AbstractEventLoop, metrics: Metrics, figures: Callable[[], GaugeSnapshot]
) -> Mapping[str, Page]:
    """Give what Prometheus asks for; `figures` is called on the loop `main`, the text is made on the caller's."""

    async def make() -> Answer:
        snapshot = await ask(main, lambda: metrics.snapshot(figures()))
        return Answer(200, metrics.text(snapshot), "text/plain; version=0.0.4; charset=utf-8")

    return {"/metrics": Fresh(make)}


def document(how: str) -> str:
    """Give docs/reference/metrics.md."""
    lines = [
        f"<!-- Generated by {how}; do not edit. -->",
        "# Metrics",
        "",
        "Served at `/metrics` on `--metrics-port` (8081), at most one second old. The chart's NetworkPolicy opens that",
        "port only to the sources in `networkPolicy.metricsFrom`. Names and labels are part of the interface",
        "([Releases](../project/releases.md)).",
        "",
        "The standard `process_*` metrics (memory, CPU, open files) are served too. There is no OpenTelemetry: the",
        "status has a task's whole history, requests are counted below, and spans would cost more than the work they",
        "describe.",
        "",
        "| Name | Kind | Labels | Meaning |",
        "|---|---|---|---|",
    ]
    for metric in TABLE:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


def _family(metric: Metric, values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _place(status: TaskStatus) -> tuple[str, ...]:
    return status.phase, _bounded(status.reason)


def _bounded(reason: str) -> str:
    """Keep the number of series finite: anybody with the right to patch a status can invent reasons."""
    return reason if reason in _REASONS or not reason else "Other"
