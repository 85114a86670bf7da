"""The page gives the figures: gains, budgets, tables, charts."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import budgets, figures, pages, plots
from bench.figures import BARE, COMMON, FLOOR, JOBS, KPO, KPO_DEFERRABLE, OURS, Measurements

Runs = list[dict[str, Any]]


def run(load: str, system: str, number: int = 0, tasks: int = 100, profile: str = "machine", **given: Any) -> Any:
    measured = {"requests_per_task": {"POST pods": 1.0}, "tasks_per_second": 10.0, **given}
    place = {
        "scenario": load,
        "system": system,
        "tasks": tasks,
        "round": number,
        "profile": profile,
        "day": "2026-11-28",
        "machine_load_before": 0.5,
    }
    return {**place, "figures": measured}


def make(*runs: Any, airflow: Any = None, kubelet: Any = None, imports: Any = None) -> Measurements:
    return Measurements(list(runs), airflow or {"played": [], "seconds": {}}, kubelet or {}, imports or {})


def budget(got: Measurements, what: str) -> budgets.Row:
    return next(row for row in budgets.rows(got) if what in row.what)


def texts(chart: str) -> list[str | None]:
    """Return the texts of a chart."""
    return [text.text for text in ET.fromstring(chart).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314 - our own


PACED = {"created_to_pod_ms": {"p50": 5.0, "p99": 20.0}, "ended_to_final_ms": {"p50": 5.0, "p99": 60.0}}

CASES = {
    "half as fast again is a hit": (
        [run("burst", OURS, tasks_per_second=30.0), run("burst", JOBS, tasks_per_second=20.0)],
        "task throughput",
        "hit",
    ),
    "a little less is a miss": (
        [run("burst", OURS, tasks_per_second=29.0), run("burst", JOBS, tasks_per_second=20.0)],
        "task throughput",
        "**missed**",
    ),
    "no peer, no verdict": ([run("burst", OURS)], "task throughput", "not shown"),
    "too slow at a lower rate is a miss": ([run("paced-10", OURS, **PACED)], "Pod terminal", "**missed**"),
    "quick at a lower rate shows nothing about 100/s": (
        [run("paced-10", OURS, **PACED)],
        "Pod created, 100/s",
        "not shown",
    ),
    "quick at that rate is a hit": (
        [run("paced-100", OURS, **(PACED | {"tasks_per_second": 99.0}))],
        "Pod created, 100/s",
        "hit",
    ),
    "small with fewer tasks shows nothing about 20,000": (
        [run("standing", OURS, tasks=1000, held_rss_mib=90.0)],
        "memory at",
        "not shown",
    ),
    "small with all of them is a hit": (
        [run("standing", OURS, tasks=20_000, held_rss_mib=119.0)],
        "memory at",
        "hit",
    ),
    "too much CPU is a miss": ([run("burst", OURS, cpu_ms_per_task={"system": 1.6})], "controller CPU", "**missed**"),
}


@pytest.mark.parametrize(("runs", "what", "want"), CASES.values(), ids=CASES.keys())
def test_verdicts(runs: Runs, what: str, want: str) -> None:
    assert budget(make(*runs), what).verdict == want


def test_a_load_that_was_not_kept_up_with_is_no_latency() -> None:
    crawling = {**PACED, "tasks_per_second": 12.0, "ended_to_final_ms": {"p50": 900.0, "p99": 9000.0}}
    row = budget(make(run("paced-10", OURS, **PACED), run("paced-50", OURS, **crawling)), "Pod terminal")
    assert row.measured == "10/s, the highest rate kept up with: 60 ms"


def test_latency_is_told_for_each_rate_that_was_kept_up_with() -> None:
    quick = {"created_to_pod_ms": {"p50": 2.0, "p99": 9.0}, "tasks_per_second": 3.0}
    row = budget(make(run("paced-10", OURS, **PACED), run("paced-3", OURS, **quick)), "Pod created, 100/s")
    assert row.measured == "3/s: 9 ms, 10/s, the highest rate kept up with: 20 ms"


def test_a_roomy_api_server_is_told_and_no_budget_is_judged_by_it() -> None:
    slow = {"created_to_pod_ms": {"p50": 5.0, "p99": 60.0}}
    got = make(run("paced-10", OURS, **slow), run("paced-10", JOBS, **PACED), run("roomy-10", OURS, **PACED))
    row = budget(got, "Pod created, 100/s")
    assert row.measured == "10/s, the highest rate kept up with: 60 ms (Job 20); roomy-10: 20 ms"
    assert row.verdict == "**missed**"


def test_throughput_names_what_bare_pods_reach() -> None:
    speeds = ((OURS, 30.0), (JOBS, 20.0), (BARE, 60.0))
    row = budget(make(*(run("burst", system, tasks_per_second=speed) for system, speed in speeds)), "throughput")
    assert row.measured.endswith("; Pods alone: 60.0/s)")


def test_what_the_same_writes_take_without_decisions_stands_beside_ours() -> None:
    cpu = {OURS: 3.0, JOBS: 6.0, FLOOR: 1.75}
    burst = [run("burst", system, cpu_ms_per_task={"system": took}) for system, took in cpu.items()]
    got = make(*burst, run("paced-10", OURS, **PACED), run("paced-10", FLOOR, **PACED))
    assert budget(got, "controller CPU").measured == (
        "3.00 ms; the Job controller 6.00 ms; the three writes without decisions 1.75 ms"
    )
    assert "the three writes without decisions: 10.0/s" in budget(got, "throughput").measured
    assert budget(got, "Pod terminal").measured.endswith(": 60 ms (without decisions 60)")


def test_throughput_is_compared_within_a_round_because_the_machine_changes_between_them() -> None:
    rounds = ((30.0, 20.0), (12.0, 10.0), (60.0, 30.0))
    both = [(number, *speeds) for number, speeds in enumerate(rounds)]
    ours = [run("burst", OURS, number, tasks_per_second=mine) for number, mine, _ in both]
    got = make(*ours, *(run("burst", JOBS, number, tasks_per_second=its) for number, _, its in both))
    row = budget(got, "throughput")
    assert row.measured == "1.50 times, 1.20-2.00 in 3 rounds (30.0/s against 20.0/s, a burst)"
    assert row.verdict == "hit"
    alone = run("burst", OURS, 3, tasks_per_second=99.0)
    assert make(*got.runs, alone).ratios("burst", OURS, JOBS, "tasks_per_second") == [1.5, 1.2, 2.0]


def test_the_page_says_when_each_load_was_played() -> None:
    later = run("burst", OURS, 1) | {"day": "2026-11-29"}
    assert make(run("burst", OURS), later).profile == "`machine` (burst 2 on 2026-11-28 and 2026-11-29)"


def test_the_cpu_of_a_burst_adds_up_without_counting_the_job_controller_twice() -> None:
    spent = {"system": 4.0, "apiserver": 20.0, "controller-manager": 4.0}
    got = make(*(run("burst", system, cpu_ms_per_task=spent) for system in (OURS, JOBS)))
    assert pages.cpu_table(got).splitlines()[-1] == "| all | 28.0 | 24.0 |"


def test_airflow_is_slower_or_faster_than_the_original() -> None:
    seconds = {"ours": {"sync_once": [4, 5, 6]}, "original": {"sync_once": [5, 6, 7]}}
    row = budget(make(airflow={"played": [], "seconds": seconds}), "start → end, sync")
    assert (row.measured, row.verdict) == ("5.0 s against 6.0 s", "hit")


def test_the_share_of_the_watch_is_told_apart_from_a_tasks_own_requests() -> None:
    ours = {"create podtasks": 20, "patch podtasks": 20, "get pods/log": 20, "list podtasks": 2, "watch podtasks": 1}
    both = [
        {"operator": operator, "dag_id": "deferrable_mapped", "tasks": 20, "requests": requests}
        for operator, requests in (("ours", ours), ("original", {"get pods": 200}))
    ]
    row = budget(make(airflow={"played": both, "seconds": {}}), "deferred task, with XCom")
    assert (row.measured, row.verdict) == ("3.00, and 0.15 for the watch; KubernetesPodOperator 10.0", "hit")


def test_our_writes_are_told_apart_from_the_schedulers_event() -> None:
    asked = {"POST pods": 1.0, "PATCH pods": 1.0, "PATCH podtasks/status": 2.0, "POST events": 1.5, "GET pods": 3.0}
    got = make(run("paced-10", OURS, requests_per_task=asked, pods_per_task=1.0))
    assert budgets.own_writes(got, "paced-10") == 4.5


def test_rounds_are_medians() -> None:
    got = make(*(run("burst", OURS, number, tasks_per_second=t) for number, t in enumerate((10.0, 30.0, 11.0))))
    assert got.median("burst", OURS, "tasks_per_second") == 11.0
    assert got.spread("burst", OURS, "tasks_per_second") == (10.0, 30.0)


def test_our_requests_are_told_for_each_load_that_we_took_part_in() -> None:
    again = {"POST pods": 1.25, "DELETE podtasks": 1.0}
    got = make(run("burst", OURS), run("cleaning", OURS, requests_per_task=again), run("odd", JOBS))
    assert pages.our_request_table(got).splitlines() == [
        "| request | burst | cleaning |",
        "| --- | ---: | ---: |",
        "| DELETE podtasks | - | 1.00 |",
        "| POST pods | 1.00 | 1.25 |",
    ]


def test_every_load_has_its_line_with_cpu_and_memory() -> None:
    spent = {"cpu_ms_per_task": {"system": 2.0, "apiserver": 24.0}, "controller_rss_mib": 57.0}
    for load in ("burst", "standing", "cleaning"):
        line = pages.load_table(make(run(load, OURS, **spent))).splitlines()[-1]
        assert line == f"| {load}, PodTask | 100 | 10.0 | - | - | 2.0 | 57 | 24 | - | 1.0 |"


LATENCY = {"p50": 1500.0, "p99": 22_000.0}


@pytest.mark.parametrize(
    ("load", "given", "want"),
    [
        ("paced-10", {"offered_per_second": 10.0, "tasks_per_second": 9.0}, "1.5 s, 22.0 s"),
        ("paced-50", {"offered_per_second": 50.0, "tasks_per_second": 27.0}, "1.5 s, 22.0 s †"),
        ("burst", {"offered_per_second": None}, "1.5 s, 22.0 s †"),
    ],
)
def test_the_length_of_a_queue_is_marked(load: str, given: Any, want: str) -> None:
    line = pages.load_table(make(run(load, OURS, created_to_pod_ms=LATENCY, **given))).splitlines()[-1]
    assert line.split(" | ")[3] == want


def test_the_last_tasks_own_duration_makes_no_queue() -> None:
    assert make(run("paced-3", KPO, tasks_per_second=2.57)).kept_up(KPO) == [(3.0, "paced-3")]


def airflow(ours: int = 3, peer: int = 12) -> dict[str, Any]:
    """Return the requests and durations of two operators, in tasks that are deferred."""
    played = [
        {"operator": operator, "dag_id": "deferrable_mapped", "tasks": 2, "requests": {"get": 2 * asked}}
        for operator, asked in (("ours", ours), ("original", peer))
    ]
    rest = {"pods": 2, "by_audit": 5, "by_metrics": 5}
    seconds = {"ours": {"deferrable_once": [4.0]}, "original": {"deferrable_once": [6.0]}}
    return {"played": [p | rest for p in played], "seconds": seconds}


def test_gains_stand_beside_kubernetes_pod_operator_with_their_gain() -> None:
    burst = [run(COMMON, OURS, tasks_per_second=30.0), run(COMMON, KPO, tasks_per_second=12.0)]
    got = make(*burst, airflow=airflow(), imports={OURS: [0.1, 0.2, 0.3], KPO: [6.0]})
    assert pages.gain_table(got).splitlines()[2:] == [
        "| Airflow's requests to the API server per task, deferrable | 3.0 | 12.0 | 4.0 times |",
        "| one short task from Airflow, deferrable | 4.0 s | 6.0 s | 1.5 times |",
        "| CPU time to import the operator | 0.2 s | 6.0 s | 30 times |",
        "| tasks per second, 100 at once, sync ¹ | 30.0 | 12.0 | 2.5 times |",
        "| requests to the API server per task from all clients, sync ¹ | 1.0 | 1.0 | 1.0 times |",
    ]


def memory_only() -> Measurements:
    """Return figures of one chart: a chart takes a quarter of a second to draw."""
    return make(run("standing", OURS, tasks=20_000, rss_mib_by_live_tasks=[[0, 60.0], [20_000, 130.0]]))


def everything() -> Measurements:
    paced = [
        run(f"paced-{rate}", system, **PACED, tasks_per_second=min(rate, 30.0))
        for rate in (3, 20, 100)
        for system in (OURS, JOBS)
    ]
    slow = [run("paced-3", system, **PACED, tasks_per_second=2.6) for system in (KPO, KPO_DEFERRABLE)]
    small = [run(COMMON, system) for system in (OURS, JOBS, KPO, KPO_DEFERRABLE)]
    curve = [[0, 60.0], [20_000, 130.0]]
    standing = [run("standing", s, tasks=20_000, rss_mib_by_live_tasks=curve) for s in (OURS, JOBS)]
    return make(*paced, *slow, *small, *standing, airflow=airflow(), imports={OURS: [0.2], KPO: [6.0]})


CHARTS = {
    "against-kpo": {"KPO, deferrable", "PodTask, deferrable", "Tasks per second, 100 at once", "0.2", "6"},
    "throughput": {"PodTask", "Job, unthrottled", "KPO", "KPO, deferrable"},
    "requests": {"PodTask", "Job, unthrottled", "KPO", "KPO, deferrable"},
    "created-to-pod": {OURS, JOBS, KPO, KPO_DEFERRABLE, "3", "20", "10,000 ms"},
    "ended-to-final": {OURS, JOBS, KPO, KPO_DEFERRABLE, "3", "20", "10,000 ms"},
    "memory": {"PodTask's controller", "controller manager, with Jobs", "budget", "20,000"},
}


@pytest.fixture(scope="module")
def charts() -> dict[str, str]:
    return plots.all_charts(everything())


def test_every_chart_shows_the_systems_that_took_part(charts: dict[str, str]) -> None:
    assert set(charts) == set(CHARTS)
    for name, want in CHARTS.items():
        assert want <= set(texts(charts[name])), name


def test_no_chart_of_latency_shows_a_queue(charts: dict[str, str]) -> None:
    assert "100" not in texts(charts["created-to-pod"])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Measurements and page of their own."""
    (tmp_path / "new").mkdir()
    (tmp_path / "kept").mkdir()
    monkeypatch.setattr(figures, "NEW", tmp_path / "new")
    monkeypatch.setattr(figures, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(pages, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(Measurements, "read", classmethod(lambda _: memory_only()))
    return tmp_path


def test_check_sees_an_edit_of_the_page_and_of_a_chart(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pages"])
    assert pages.main() == 0
    monkeypatch.setattr("sys.argv", ["pages", "--check"])
    assert pages.main() == 0
    for path in (place / "page.md", place / "kept/memory.svg"):
        right = path.read_text()
        path.write_text(right.replace("20,000", "40,000"))
        assert pages.main() == 1, path
        path.write_text(right)


def test_no_placeholder_is_left_in_the_page() -> None:
    page = pages.files(memory_only())[pages.PAGE]
    assert "{{" not in page


def test_the_page_shows_no_chart_without_figures() -> None:
    assert "performance/memory.svg" in pages.files(memory_only())[pages.PAGE]
    assert "performance/memory.svg" not in pages.files(make(run("burst", OURS)))[pages.PAGE]


def test_new_figures_are_taken_and_old_ones_stay(place: Path) -> None:
    (place / "new/runs.json").write_text("[1]")
    (place / "kept/kubelet.json").write_text("{}")
    assert figures.copy_new() == ["runs.json"]
    assert (place / "kept/runs.json").read_text() == "[1]"
    assert (place / "kept/kubelet.json").exists()
