"""`python -m bench.pages`: write docs/performance.md and its charts from the measured figures.

New figures in build/bench are copied to docs/performance first, so the page can be written again from the repository
alone. `--check` writes nothing and fails where the page or a chart differs from what the figures give.
"""

import argparse
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from . import budgets, plots
from .figures import COMMON, KEPT, KPO, KPO_DEFERRABLE, OURS, ROOT, Measurements, copy_new

PAGE = ROOT / "docs/performance.md"
TEMPLATE = Path(__file__).with_name("page.md")
DAG_IDS = ("sync_mapped_without_xcom", "sync_mapped", "deferrable_mapped_without_xcom", "deferrable_mapped")
OPERATORS = {"ours": "PodTaskOperator", "original": "KubernetesPodOperator"}
"""By their names in airflow.json."""
NO_FIGURE = "-"
QUEUE_MARK = " †"
MODES = {"sync": KPO, "deferrable": KPO_DEFERRABLE}
MORE_IS_BETTER = "tasks per second"
SLOWEST_PACED = "paced-3"
"""The paced load that the slow systems take part in."""
PROCESSES = {
    "system": "the system itself",
    "apiserver": "API server",
    "etcd": "etcd",
    "scheduler": "scheduler",
    "controller-manager": "controller manager, Job controller included",
    "kwok": "simulated nodes",
    "bench": "the load and its watch",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose columns after the first are aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def gain_table(figures: Measurements) -> str:
    """PodTaskOperator beside KubernetesPodOperator. A gain above 1 is in PodTask's favour."""
    rows = []
    for what, ours, peer, form in _gains(figures):
        if ours is not None and peer is not None:
            gain = ours / peer if what.startswith(MORE_IS_BETTER) else peer / ours
            rows.append([what, form.format(ours), form.format(peer), f"{gain:.{0 if gain >= 10 else 1}f} times"])
    return table(["", *OPERATORS.values(), "gain"], rows)


def _gains(figures: Measurements) -> Iterator[tuple[str, float | None, float | None, str]]:
    """Yield the measure, PodTask's figure, KubernetesPodOperator's, and their format."""
    for mode in MODES:
        ours, peer = (figures.airflow_requests(operator, f"{mode}_mapped") for operator in OPERATORS)
        yield f"Airflow's requests to the API server per task, {mode}", ours, peer, "{:.1f}"
    for mode in MODES:
        ours, peer = (figures.seconds(operator, f"{mode}_once") for operator in OPERATORS)
        yield f"one short task from Airflow, {mode}", ours, peer, "{:.1f} s"
    yield "CPU time to import the operator", figures.import_seconds(OURS), figures.import_seconds(KPO), "{:.1f} s"
    for mode, kpo in MODES.items():
        what = f"{MORE_IS_BETTER}, {figures.tasks(COMMON):,} at once, {mode} ¹"
        yield what, figures.throughput(OURS), figures.throughput(kpo), "{:.1f}"
    for mode, kpo in MODES.items():
        what = f"requests to the API server per task from all clients, {mode} ¹"
        yield what, figures.requests(COMMON, OURS), figures.requests(COMMON, kpo), "{:.1f}"
    for mode, kpo in MODES.items():
        what = f"container ended → result known, median at 3 tasks per second, {mode} ¹"
        ours, peer = (figures.median(SLOWEST_PACED, system, "ended_to_final_ms", "p50") for system in (OURS, kpo))
        yield what, ours, peer, "{:,.0f} ms"


def budget_table(figures: Measurements) -> str:
    """Return every budget with what was measured."""
    lines = [["budget", "limit", "measured", "", "command"], ["---"] * 5]
    lines += [[r.what, r.budget, r.measured, r.verdict, f"`{r.command}`"] for r in budgets.rows(figures)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def load_table(figures: Measurements) -> str:
    """Return the results of each load on each system."""
    head = ["load, system", "tasks", "tasks/s", "created → Pod p50, p99", "ended → final p50, p99"]
    head += [
        "own CPU ms/task",
        "own memory MiB",
        "API server CPU ms/task",
        "API server garbage kB/task",
        "requests/task",
    ]
    return table(
        head, [_load_row(figures, load, system) for load in figures.loads() for system in figures.systems(load)]
    )


def _load_row(figures: Measurements, load: str, system: str) -> list[str]:
    return [
        f"{load}, {system}",
        f"{figures.of(load, system)[0]['tasks']:,}{_failed(figures, load, system)}",
        _with_spread(figures, load, system),
        _pair(figures, load, system, "created_to_pod_ms"),
        _pair(figures, load, system, "ended_to_final_ms"),
        _number(figures.median(load, system, "cpu_ms_per_task", "system"), "{:.1f}"),
        _number(figures.median(load, system, "controller_rss_mib"), "{:.0f}"),
        _number(figures.median(load, system, "cpu_ms_per_task", "apiserver"), "{:.0f}"),
        _number(figures.median(load, system, "server_allocated_kb_per_task"), "{:,.0f}"),
        _number(figures.requests(load, system), "{:.1f}"),
    ]


def request_table(figures: Measurements) -> str:
    """Return the requests per task by kind, in the load that all systems take part in."""
    return _requests(figures, {system: (COMMON, system) for system in figures.systems(COMMON)})


def our_request_table(figures: Measurements) -> str:
    """Return the requests per PodTask by kind, in each load."""
    return _requests(figures, {load: (load, OURS) for load in figures.loads() if OURS in figures.systems(load)})


def _requests(figures: Measurements, columns: dict[str, tuple[str, str]]) -> str:
    """Return a table of requests by kind, with a column for each load and system."""
    counts = [run["figures"].get("requests_per_task", {}) for where in columns.values() for run in figures.of(*where)]
    rows = [
        [kind, *(_number(figures.median(*where, "requests_per_task", kind), "{:.2f}") for where in columns.values())]
        for kind in sorted({kind for count in counts for kind in count})
    ]
    return table(["request", *columns], rows)


def airflow_table(figures: Measurements) -> str:
    """Return Airflow's own requests for each DAG and operator."""
    both = [(dag_id, operator) for dag_id in DAG_IDS for operator in OPERATORS]
    rows = [_airflow_row(run) for dag_id, operator in both if (run := figures.dag_run(operator, dag_id))]
    head = ["DAG, operator", "tasks", "Pods created", "requests/task", "by kind", "of all clients, audit log / metrics"]
    return table(head, rows)


def _airflow_row(run: dict[str, Any]) -> list[str]:
    tasks, requests = run["tasks"], run["requests"]
    return [
        f"{run['dag_id']}, {OPERATORS[run['operator']]}",
        str(tasks),
        str(run["pods"]),
        f"{sum(requests.values()) / tasks:.2f}",
        ", ".join(f"{count / tasks:.2f} {what}" for what, count in requests.items()),
        f"{run['by_audit']} / {run['by_metrics']}",
    ]


def seconds_table(figures: Measurements) -> str:
    """Return how long one short task takes in Airflow."""
    rows = []
    for mode in MODES:
        cells = []
        for operator in OPERATORS:
            times = figures.airflow["seconds"].get(operator, {}).get(f"{mode}_once", [])
            middle = figures.seconds(operator, f"{mode}_once")
            ends = f" ({min(times):.1f}-{max(times):.1f}, {len(times)} runs)" if times else ""
            cells.append(_number(middle, "{:.1f} s") + ends)
        rows.append([mode, *cells])
    return table(["mode", *OPERATORS.values()], rows)


def other_table(figures: Measurements) -> str:
    """Return memory, restart and deletion."""
    cases = (
        ("standing", ("held_rss_mib",), "own memory, all tasks live", "{:.0f} MiB"),
        ("standing", ("restart_first_task_seconds",), "from a restart until a new task has ended", "{:.1f} s"),
        ("standing", ("restart_cpu_seconds",), "CPU time of that restart", "{:.1f} s"),
        ("finished", ("held_rss_mib",), "own memory, all tasks finished, with 64 KiB of result each", "{:.0f} MiB"),
        ("finished", ("peak_rss_mib",), "peak memory since that start", "{:.0f} MiB"),
        ("cleaning", ("tasks_per_second",), "tasks with a TTL of 0, finished", "{:.1f}/s"),
        ("cleaning", ("last_gone_seconds_after_last_end",), "last object deleted after the last end", "{:.1f} s"),
        ("cleaning", ("cpu_ms_per_task", "system"), "own CPU per task, deletion included", "{:.1f} ms"),
    )
    rows = [
        [f"{load}, {system}: {what}", f"{figures.of(load, system)[0]['tasks']:,}", _number(found, form)]
        for load, path, what, form in cases
        for system in figures.systems(load)
        if (found := figures.median(load, system, *path)) is not None
    ]
    return table(["", "tasks", ""], rows)


def cpu_table(figures: Measurements) -> str:
    """Return the CPU time that one task takes in a burst, by process."""
    systems = [s for s in figures.systems("burst") if figures.median("burst", s, "cpu_ms_per_task", "apiserver")]
    rows = [
        [shown, *(_number(figures.median("burst", s, "cpu_ms_per_task", who), "{:.1f}") for s in systems)]
        for who, shown in PROCESSES.items()
    ]
    totals = [
        sum(
            figures.median("burst", s, "cpu_ms_per_task", who) or 0.0
            for who in PROCESSES
            if who != "system" or not s.startswith("Job")  # which is the controller manager
        )
        for s in systems
    ]
    return table(["ms a task", *systems], [*rows, ["all", *(f"{total:.1f}" for total in totals)]])


PARTS: dict[str, Callable[[Measurements], str]] = {
    "gains": gain_table,
    "budgets": budget_table,
    "loads": load_table,
    "cpu": cpu_table,
    "requests": request_table,
    "our-requests": our_request_table,
    "airflow": airflow_table,
    "seconds": seconds_table,
    "other": other_table,
    "profile": lambda figures: figures.profile,
    "busy": lambda figures: figures.busy(),
}


def files(figures: Measurements) -> dict[Path, str]:
    """Return the text of every generated file by its path."""
    charts = plots.all_charts(figures)
    lines = [line for line in TEMPLATE.read_text().splitlines() if not _has_no_chart(line, charts)]
    page = "\n".join([*lines, ""])
    for name, make in PARTS.items():
        page = page.replace("{{" + name + "}}", make(figures))
    return {PAGE: page, **{KEPT / f"{name}.svg": text for name, text in charts.items()}}


def main() -> int:
    """Write the files, or compare them; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file differs")
    if parser.parse_args().check:
        wrong = [p for p, text in files(Measurements.read()).items() if not p.exists() or p.read_text() != text]
        for path in wrong:
            print(f"{path.relative_to(ROOT)} differs from its figures: run `python -m bench.pages`", file=sys.stderr)
        return 1 if wrong else 0
    print("new figures:", ", ".join(copy_new()) or "none")
    for path, text in files(Measurements.read()).items():
        path.write_text(text)
        print(path.relative_to(ROOT))
    return 0


def _has_no_chart(line: str, charts: Collection[str]) -> bool:
    """Return whether a line of the template shows a chart for which there are no figures."""
    chart = re.search(r"\(performance/([a-z-]+)\.svg\)", line)
    return chart is not None and chart[1] not in charts


def _number(value: float | None, form: str) -> str:
    return NO_FIGURE if value is None else form.format(value)


def _failed(figures: Measurements, load: str, system: str) -> str:
    most = figures.spread(load, system, "failed")
    return f" ({most[1]:.0f} failed)" if most and most[1] else ""


def _pair(figures: Measurements, load: str, system: str, key: str) -> str:
    """Return median and 99th percentile, with the range of the latter over the rounds."""
    low, high = (figures.median(load, system, key, quantile) for quantile in ("p50", "p99"))
    if low is None or high is None:
        return NO_FIGURE
    more = _range(figures.spread(load, system, key, "p99"), _duration)
    return f"{_duration(low)}, {_duration(high)}{more}{QUEUE_MARK if figures.is_queue(load, system) else ''}"


def _with_spread(figures: Measurements, load: str, system: str) -> str:
    middle = figures.median(load, system, "tasks_per_second")
    return _number(middle, "{:.1f}") + _range(figures.spread(load, system, "tasks_per_second"), "{:.1f}".format)


def _range(ends: tuple[float, float] | None, form: Callable[[float], str]) -> str:
    """Return the range in brackets; nothing where both ends read the same, as with a single round."""
    low, high = map(form, ends or (0.0, 0.0))
    return f" ({low}-{high})" if low != high else ""


def _duration(milliseconds: float) -> str:
    return f"{milliseconds:,.0f} ms" if round(milliseconds) < 1000 else f"{milliseconds / 1000:,.1f} s"


if __name__ == "__main__":
    sys.exit(main())
