"""The Prometheus collector: it fills in the metrics of `api.metrics`.

Gauges that another part holds already (the queue, the caches, the Lease) are read when metrics are requested, all at
the same moment. Counters and histograms are updated when something happens; the children of their labels are looked
up once and kept.
"""

import asyncio
import sys
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily

from .. import __version__
from ..api import metrics as table
from ..api.metrics import Metric
from ..api.reasons import Reason
from ..core.snapshot import Task, TaskStatus
from .server import Cached, Endpoint, Response, call_on_loop

_REASONS = frozenset(reason.value for reason in Reason)


class GaugeSnapshot(NamedTuple):
    """The gauges that other parts hold, as they were at one moment."""

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


class GaugeCollector(NamedTuple):
    """All gauges, as they were at one moment: a collector for prometheus_client."""

    gauges: GaugeSnapshot
    tasks: Mapping[tuple[str, ...], float]
    """Number of tasks by phase and reason."""
    memory_blocks: int

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield the gauges (the interface `prometheus_client.registry.Collector`)."""
        gauges = self.gauges
        for metric, value in (
            (table.QUEUE_DEPTH, gauges.queue_depth),
            (table.QUEUE_PROCESSING, gauges.queue_processing),
            (table.QUEUE_DELAYED, gauges.queue_delayed),
            (table.QUEUE_OLDEST, gauges.queue_oldest_seconds),
            (table.LEADER, gauges.is_leader),
            (table.EVENTS_DROPPED, gauges.events_dropped),
            (table.REQUESTS_AT_ONCE, gauges.requests_at_once),
            (table.MEMORY_BLOCKS, self.memory_blocks),
        ):
            yield GaugeMetricFamily(metric.name, metric.help, value=float(value))
        yield _family(table.BUILD, {(__version__,): 1.0})
        yield _family(table.WATCH_AGE, {(resource,): age for resource, age in gauges.watch_age_seconds.items()})
        yield _family(table.TASKS, self.tasks)


class Metrics:
    """Counters and histograms, and the text that Prometheus scrapes.

    It implements `kube.http.RequestObserver` (`request`), `cluster.CacheMetrics` and `reconciler.ReconcileMetrics`.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        """`now` measures the stages that are shorter than the whole seconds of the cluster's clocks."""
        self._now = now
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self._registry)
        self._requests = self._counter(table.REQUESTS)
        self._request_seconds = self._histogram(table.REQUEST)
        self._of_request: dict[tuple[str, str, int], tuple[_Observe, _Count]] = {}
        reconcile, stage = self._histogram(table.RECONCILE), self._histogram(table.STAGE)
        self._reconcile: dict[str, _Observe] = {o: reconcile.labels(o).observe for o in ("done", "retry", "error")}
        self._stage: dict[str, _Observe] = {s: stage.labels(s).observe for s in ("create", "start", "run", "record")}
        self._unsettled = self._counter(table.UNSETTLED)
        self._attempts = self._counter(table.ATTEMPTS)
        self._finished = self._counter(table.FINISHED)
        self._results = self._histogram(table.RESULT)
        self._tasks: Tally[tuple[str, ...]] = Tally()
        self._first_seen_at: dict[str, float] = {}
        """When each task without a Pod was first seen, by uid."""
        self._main_ended_at: dict[str, float] = {}
        """When the end of a main container was first seen that is in no status yet, by the task's uid; leader only."""
        self.is_leader = False

    def collector(self, gauges: GaugeSnapshot) -> GaugeCollector:
        """Return the gauges for `text`. Fast; call it on the main event loop."""
        return GaugeCollector(gauges, dict(self._tasks), sys.getallocatedblocks())

    def text(self, collector: GaugeCollector) -> bytes:
        """Return all metrics in Prometheus' text format. Takes some 8 ms; call it in any thread."""
        return prometheus.generate_latest(collector) + prometheus.generate_latest(self._registry)

    def request(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """See `kube.http.RequestObserver`."""
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
        """See `reconciler.ReconcileMetrics`."""
        self._reconcile[outcome](seconds)

    def too_many_iterations(self) -> None:
        """See `reconciler.ReconcileMetrics`."""
        self._unsettled.inc()

    def task_changed(self, old: Task | None, new: Task | None) -> None:
        """See `cluster.CacheMetrics`."""
        if old is not None:
            labels = _labels(old.status)
            self._tasks[labels] -= 1
            if not self._tasks[labels]:
                del self._tasks[labels]
        if new is None:
            if old is not None:
                self._first_seen_at.pop(old.metadata.uid, None)
                self._main_ended_at.pop(old.metadata.uid, None)
            return
        self._tasks[_labels(new.status)] += 1
        if new.status.phase_is_terminal or new.spec.suspend or new.status.reason:
            # It has begun, or waits for something that is not the controller's time.
            self._first_seen_at.pop(new.metadata.uid, None)
        else:
            self._first_seen_at.setdefault(new.metadata.uid, self._now())

    def main_ended(self, uid: str) -> None:
        """See `cluster.CacheMetrics`."""
        if self.is_leader:
            self._main_ended_at.setdefault(uid, self._now())

    def pod_created(self, uid: str) -> None:
        """See `reconciler.ReconcileMetrics`."""
        first_seen_at = self._first_seen_at.pop(uid, None)
        if first_seen_at is not None:
            self._stage["create"](self._now() - first_seen_at)

    def status_written(self, task: Task, status: TaskStatus) -> None:
        """See `reconciler.ReconcileMetrics`."""
        if status.attempt_count > task.status.attempt_count and status.attempts:
            self._attempt_ended(task.metadata.uid, status)
        if status.phase_is_terminal and not task.status.phase_is_terminal:
            self._finished.labels(status.phase, _known_reason(status.reason)).inc()
            if status.xcom is not None and status.xcom.size_bytes is not None:
                self._results.observe(status.xcom.size_bytes)

    def _attempt_ended(self, uid: str, status: TaskStatus) -> None:
        last = status.attempts[-1]
        self._attempts.labels(last.outcome, _known_reason(last.reason)).inc()
        main_ended_at = self._main_ended_at.pop(uid, None)
        if main_ended_at is not None:
            self._stage["record"](self._now() - main_ended_at)
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


def endpoints(
    main_loop: asyncio.AbstractEventLoop, metrics: Metrics, read_gauges: Callable[[], GaugeSnapshot]
) -> Mapping[str, Endpoint]:
    """Return the endpoint /metrics; `read_gauges` runs on `main_loop`, the text is made on the server's loop."""

    async def scrape() -> Response:
        collector = await call_on_loop(main_loop, lambda: metrics.collector(read_gauges()))
        return Response(200, metrics.text(collector), "text/plain; version=0.0.4; charset=utf-8")

    return {"/metrics": Cached(scrape)}


def _family(metric: Metric, values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _labels(status: TaskStatus) -> tuple[str, ...]:
    return status.phase, _known_reason(status.reason)


def _known_reason(reason: str) -> str:
    """Return the reason, or `Other` if it is unknown: a user who patches a status must not create endless series."""
    return reason if reason in _REASONS or not reason else "Other"
