"""The metrics of the controller: names, kinds, labels and help texts. `runtime.metrics` fills them in.

docs/reference/metrics.md is generated from this table.
"""

import enum
from typing import NamedTuple

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0)
_BYTES = (64.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 524288.0)


class Kind(enum.StrEnum):
    """The kinds of metrics that Prometheus has, as far as they are used here."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """One metric; `buckets` are a histogram's upper bounds, in the unit that the name ends with."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


QUEUE_DEPTH = Metric("podtask_queue_depth", Kind.GAUGE, "Tasks in the work queue that wait for a worker.")
QUEUE_PROCESSING = Metric("podtask_queue_processing", Kind.GAUGE, "Tasks that a worker is processing.")
QUEUE_DELAYED = Metric(
    "podtask_queue_delayed", Kind.GAUGE, "Tasks that are due later: a deadline, a retry with backoff, a TTL."
)
QUEUE_OLDEST = Metric(
    "podtask_queue_oldest_seconds", Kind.GAUGE, "How long the oldest task in the work queue has waited for a worker."
)
REQUESTS_AT_ONCE = Metric(
    "podtask_requests_at_once",
    Kind.GAUGE,
    "Limit on concurrent requests, and so on tasks that are processed at once; it is below --workers while the API"
    " server is busy.",
)
WATCH_AGE = Metric(
    "podtask_watch_age_seconds",
    Kind.GAUGE,
    "Time since the API server last sent anything on the watch of a resource; under 75 for a healthy watch.",
    ("resource",),
)
TASKS = Metric("podtask_tasks", Kind.GAUGE, "PodTasks that exist, by phase and reason.", ("phase", "reason"))
LEADER = Metric("podtask_leader", Kind.GAUGE, "1 for the replica that is the leader, 0 for a standby.")
EVENTS_DROPPED = Metric(
    "podtask_events_dropped", Kind.GAUGE, "Kubernetes Events of this process that never reached the API server."
)
MEMORY_BLOCKS = Metric(
    "podtask_memory_blocks",
    Kind.GAUGE,
    "Memory blocks that Python has allocated. The value returns when the number of tasks does, which resident memory"
    " need not do: a value that only grows is a leak.",
)
BUILD = Metric("podtask_build_info", Kind.GAUGE, "Always 1; the label is the controller's version.", ("version",))
RECONCILE = Metric(
    "podtask_reconcile_seconds",
    Kind.HISTOGRAM,
    "Duration of one reconcile of one task, requests included; outcome is done, retry (queued again) or error.",
    ("outcome",),
    _FAST,
)
UNSETTLED = Metric(
    "podtask_unsettled_total",
    Kind.COUNTER,
    "Reconciles that reached their limit of iterations and still had actions to do. A few come from concurrent changes"
    " by others; a task that causes several in a row is named in the log.",
)
REQUEST = Metric(
    "podtask_request_seconds",
    Kind.HISTOGRAM,
    "Duration of one request to the API server; of a watch, until its stream began.",
    ("verb", "resource"),
    _FAST,
)
REQUESTS = Metric(
    "podtask_requests_total",
    Kind.COUNTER,
    "Requests to the API server, by the status code of the reply (none without a reply).",
    ("verb", "resource", "code"),
)
STAGE = Metric(
    "podtask_stage_seconds",
    Kind.HISTOGRAM,
    "Duration of one stage. create: PodTask seen to Pod created. start: Pod created to main container started, "
    "run: main container started to ended (both by the cluster's clocks, in whole seconds). record: end of the main"
    " container seen to status written.",
    ("stage",),
    _SLOW,
)
ATTEMPTS = Metric(
    "podtask_attempts_total",
    Kind.COUNTER,
    "Attempts whose end was written to the status, by outcome and reason.",
    ("outcome", "reason"),
)
FINISHED = Metric(
    "podtask_tasks_finished_total",
    Kind.COUNTER,
    "Tasks whose end was written to the status, by phase and reason.",
    ("phase", "reason"),
)
RESULT = Metric("podtask_result_bytes", Kind.HISTOGRAM, "Size of each collected result.", (), _BYTES)

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
