"""Every metric: the source of its value, and that the table, the document and the endpoint agree."""

import gc
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from podtask import __version__
from podtask.api.metrics import TABLE
from podtask.core.snapshot import Attempt, Metadata, Task, TaskSpec, TaskStatus, XComStatus
from podtask.crdgen import docs
from podtask.crdgen.files import HOW
from podtask.runtime.metrics import GaugeSnapshot, Metrics

ROOT = Path(__file__).resolve().parents[3]
AT = datetime(2026, 1, 1, tzinfo=UTC)


class Watch:
    """Metrics with a clock that the test controls."""

    def __init__(self) -> None:
        self.now = 100.0
        self.metrics = Metrics(now=lambda: self.now)
        self.metrics.is_leader = True

    def _gauges(self) -> GaugeSnapshot:
        return GaugeSnapshot(
            3,
            2,
            1,
            0.5,
            {"pods": 4.0, "podtasks": 5.0},
            is_leader=True,
            events_dropped=6,
            requests_at_once=7,
        )

    def text(self) -> str:
        return self.metrics.text(self.metrics.collector(self._gauges())).decode()

    def values(self) -> dict[str, float]:
        found = {}
        for line in self.text().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found


@pytest.fixture
def watch() -> Watch:
    return Watch()


def task(uid: str = "u", **fields: Any) -> Task:
    return Task(metadata=Metadata(name="n", namespace="ns", uid=uid), **fields)


def ended(**fields: Any) -> TaskStatus:
    attempt = Attempt(
        number=1,
        pod_name="p",
        outcome="Succeeded",
        reason="Completed",
        creation_time=AT,
        start_time=AT + timedelta(seconds=2),
        completion_time=AT + timedelta(seconds=9),
    )
    return TaskStatus(
        **{"phase": "Succeeded", "reason": "Completed", "attempt_count": 1, "attempts": (attempt,)} | fields
    )


def test_memory_blocks_follow_the_allocated_objects(watch: Watch) -> None:
    gc.collect()  # objects of other tests must not be counted
    before = watch.values()["podtask_memory_blocks"]
    kept = [{number: object()} for number in range(50_000)]
    held = watch.values()["podtask_memory_blocks"]
    kept.clear()
    after = watch.values()["podtask_memory_blocks"]
    assert held - before > 50_000
    assert held - after > 50_000


def test_gauges_are_read_at_each_scrape(watch: Watch) -> None:
    statuses = [TaskStatus(), TaskStatus(), ended(), TaskStatus(phase="Failed", reason="MadeUpByAUser")]
    for number, status in enumerate(statuses):
        watch.metrics.task_changed(None, task(f"u{number}", status=TaskStatus(reason="Created")))
        watch.metrics.task_changed(task(f"u{number}", status=TaskStatus(reason="Created")), task(status=status))
    watch.metrics.task_changed(None, task("gone"))
    watch.metrics.task_changed(task("gone"), None)
    values = watch.values()
    assert values["podtask_queue_depth"] == 3
    assert values["podtask_queue_processing"] == 2
    assert values["podtask_queue_delayed"] == 1
    assert values["podtask_queue_oldest_seconds"] == 0.5
    assert values['podtask_watch_age_seconds{resource="pods"}'] == 4
    assert values["podtask_leader"] == 1
    assert values["podtask_events_dropped"] == 6
    assert values["podtask_requests_at_once"] == 7
    assert values[f'podtask_build_info{{version="{__version__}"}}'] == 1
    assert values['podtask_tasks{phase="Pending",reason=""}'] == 2
    assert values['podtask_tasks{phase="Succeeded",reason="Completed"}'] == 1
    assert values['podtask_tasks{phase="Failed",reason="Other"}'] == 1, "the number of series stays finite"


def test_requests(watch: Watch) -> None:
    for status in (201, 201, 409, 429, 503, 0):
        watch.metrics.request("create", "pods", status, 0.02)
    values = watch.values()
    counted = {
        code: values[f'podtask_requests_total{{code="{code}",resource="pods",verb="create"}}']
        for code in ("201", "409", "429", "503", "none")
    }
    assert counted == {"201": 2, "409": 1, "429": 1, "503": 1, "none": 1}
    assert values['podtask_request_seconds_count{resource="pods",verb="create"}'] == 6
    assert values['podtask_request_seconds_bucket{le="0.01",resource="pods",verb="create"}'] == 0
    assert values['podtask_request_seconds_bucket{le="0.025",resource="pods",verb="create"}'] == 6


@pytest.mark.parametrize("outcome", ["done", "retry", "error"])
def test_reconciles(watch: Watch, outcome: str) -> None:
    watch.metrics.reconciled(outcome, 0.003)
    assert watch.values()[f'podtask_reconcile_seconds_sum{{outcome="{outcome}"}}'] == pytest.approx(0.003)


def test_reconciles_with_too_many_iterations_are_counted(watch: Watch) -> None:
    watch.metrics.too_many_iterations()
    assert watch.values()["podtask_unsettled_total"] == 1


def stage(watch: Watch, name: str) -> tuple[float, float]:
    values = watch.values()
    return values[f'podtask_stage_seconds_count{{stage="{name}"}}'], values[
        f'podtask_stage_seconds_sum{{stage="{name}"}}'
    ]


def test_the_stages_of_a_task(watch: Watch) -> None:
    watch.metrics.task_changed(None, task())
    watch.now += 0.25
    watch.metrics.pod_created("u")
    watch.now += 9
    watch.metrics.main_ended("u")
    watch.metrics.main_ended("u")
    watch.now += 0.5
    watch.metrics.task_changed(task(), task(status=ended()))  # the watch may be faster than the reply
    watch.metrics.status_written(task(), ended(xcom=XComStatus(state="Collected", size_bytes=300)))
    assert stage(watch, "create") == (1, 0.25)
    assert stage(watch, "start") == (1, 2)
    assert stage(watch, "run") == (1, 7)
    assert stage(watch, "record") == (1, 0.5)
    values = watch.values()
    assert values['podtask_attempts_total{outcome="Succeeded",reason="Completed"}'] == 1
    assert values['podtask_tasks_finished_total{phase="Succeeded",reason="Completed"}'] == 1
    assert values["podtask_result_bytes_sum"] == 300


def test_a_status_without_an_end_is_not_counted(watch: Watch) -> None:
    watch.metrics.status_written(task(), TaskStatus(phase="Running", reason="Running"))
    watch.metrics.status_written(task(status=ended()), ended(message="again"))
    assert not [name for name in watch.values() if name.startswith(("podtask_attempts", "podtask_tasks_finished"))]


@pytest.mark.parametrize(
    "change",
    [
        None,
        task(status=ended()),
        task(spec=TaskSpec(suspend=True)),
        task(status=TaskStatus(reason="QuotaExceeded")),
    ],
    ids=["gone", "over", "suspended", "waits for a quota"],
)
def test_time_of_a_wait_for_others_is_not_measured(watch: Watch, change: Task | None) -> None:
    watch.metrics.task_changed(None, task())
    watch.metrics.task_changed(task(), change)
    watch.metrics.pod_created("u")
    assert stage(watch, "create") == (0, 0)
    assert not watch.metrics._first_seen_at


def test_times_of_a_deleted_task_are_dropped(watch: Watch) -> None:
    watch.metrics.main_ended("u")
    watch.metrics.task_changed(task(), None)
    assert not watch.metrics._main_ended_at


def test_a_follower_records_no_ends(watch: Watch) -> None:
    watch.metrics.is_leader = False
    watch.metrics.main_ended("u")
    assert not watch.metrics._main_ended_at


def test_everything_served_is_in_the_table(watch: Watch) -> None:
    watch.metrics.request("get", "pods", 200, 0.1)
    watch.metrics.status_written(task(), ended())
    watch.statuses = [TaskStatus()]
    text = watch.text()
    kinds = dict(re.findall(r"^# TYPE (podtask_\w+) (\w+)$", text, re.MULTILINE))
    assert kinds == {m.name: m.kind.value for m in TABLE}


def test_the_document_is_generated_from_the_table() -> None:
    want = docs.metrics(TABLE, HOW)
    assert (ROOT / "docs/reference/metrics.md").read_text() == want, "make generate"
    assert all(f"| `{metric.name}` |" in want for metric in TABLE)
