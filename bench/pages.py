"""`python -m bench.pages`: writes docs/performance.md and its plots out of the figures.

What is new in build/bench is copied to docs/performance first, so the page can be written again from the repository
alone. `--check` writes nothing and fails where page, plots and figures do not agree.
"""

import argparse
import re
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from . import budgets, plots
from .figures import KEPT, OURS, ROOT, GaugeSnapshot, take

PAGE = ROOT / "docs/performance.md"
TEMPLATE = Path(__file__).with_name("page.md")
DAG_IDS = ("sync_mapped_without_xcom", "sync_mapped", "deferrable_mapped_without_xcom", "deferrable_mapped")
NO_FIGURE = "-"
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
    """A Markdown table; all columns but the first hold figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def budget_table(figures: GaugeSnapshot) -> str:
    """Every budget."""
    lines = [["budget (design §7)", "limit", "measured", "", "command"], ["---"] * 5]
    lines += [[r.what, r.budget, r.measured, r.verdict, f"`{r.command}`"] for r in budgets.rows(figures)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def load_table(figures: GaugeSnapshot) -> str:
    """What each load gave on each system."""
    head = ["load, system", "tasks", "tasks/s", "created → Pod p50, p99 ms", "ended → final p50, p99 ms"]
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


def _load_row(figures: GaugeSnapshot, load: str, system: str) -> list[str]:
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
        _number(plots.requests_per_task(figures, load, system), "{:.1f}"),
    ]


def request_table(figures: GaugeSnapshot) -> str:
    """Which requests a task is made of, in the load that all systems take part in."""
    systems = figures.systems(plots.COMMON)
    return _requests(figures, {system: (plots.COMMON, system) for system in systems})


def our_request_table(figures: GaugeSnapshot) -> str:
    """Which requests a PodTask is made of, in each load."""
    return _requests(figures, {load: (load, OURS) for load in figures.loads() if OURS in figures.systems(load)})


def _requests(figures: GaugeSnapshot, columns: dict[str, tuple[str, str]]) -> str:
    asked = [run["figures"].get("requests_per_task", {}) for place in columns.values() for run in figures.of(*place)]
    rows = [
        [kind, *(_number(figures.median(*place, "requests_per_task", kind), "{:.2f}") for place in columns.values())]
        for kind in sorted({kind for run in asked for kind in run})
    ]
    return table(["request", *columns], rows)


def airflow_table(figures: GaugeSnapshot) -> str:
    """Airflow's own requests for each DAG."""
    both = [(dag_id, operator) for dag_id in DAG_IDS for operator in ("ours", "original")]
    rows = [_airflow_row(played) for dag_id, operator in both if (played := figures.played(operator, dag_id))]
    head = ["DAG, operator", "tasks", "Pods made", "requests/task", "which", "everybody's, audit log / metrics"]
    return table(head, rows)


def _airflow_row(played: dict[str, Any]) -> list[str]:
    tasks, requests = played["tasks"], played["requests"]
    return [
        f"{played['dag_id']}, {played['operator']}",
        str(tasks),
        str(played["pods"]),
        f"{sum(requests.values()) / tasks:.2f}",
        ", ".join(f"{count / tasks:.2f} {what}" for what, count in requests.items()),
        f"{played['by_audit']} / {played['by_metrics']}",
    ]


def seconds_table(figures: GaugeSnapshot) -> str:
    """How long one short task takes in Airflow."""
    rows = []
    for mode in ("sync", "deferrable"):
        cells = []
        for operator in ("ours", "original"):
            times = figures.airflow["seconds"].get(operator, {}).get(f"{mode}_once", [])
            middle = figures.seconds(operator, f"{mode}_once")
            ends = f" ({min(times):.1f}-{max(times):.1f}, {len(times)} runs)" if times else ""
            cells.append(_number(middle, "{:.1f} s") + ends)
        rows.append([mode, *cells])
    return table(["mode", "PodTaskOperator", "KubernetesPodOperator"], rows)


def other_table(figures: GaugeSnapshot) -> str:
    """What stands and what is cleaned away."""
    cases = (
        ("standing", ("held_rss_mib",), "own memory, all tasks live", "{:.0f} MiB"),
        ("standing", ("restart_first_task_seconds",), "restarted, has ended a new task", "{:.1f} s"),
        ("standing", ("restart_cpu_seconds",), "CPU of that restart", "{:.1f} s"),
        ("finished", ("held_rss_mib",), "own memory, all tasks over, with 64 KiB of result", "{:.0f} MiB"),
        ("finished", ("peak_rss_mib",), "the most of it since that start", "{:.0f} MiB"),
        ("cleaning", ("tasks_per_second",), "tasks with a TTL of 0, ended", "{:.1f}/s"),
        ("cleaning", ("last_gone_seconds_after_last_end",), "last object gone after last end", "{:.1f} s"),
        ("cleaning", ("cpu_ms_per_task", "system"), "own CPU per task, deletion included", "{:.1f} ms"),
    )
    rows = [
        [f"{load}, {system}: {what}", f"{figures.of(load, system)[0]['tasks']:,}", _number(found, form)]
        for load, path, what, form in cases
        for system in figures.systems(load)
        if (found := figures.median(load, system, *path)) is not None
    ]
    return table(["", "tasks", ""], rows)


def cpu_table(figures: GaugeSnapshot) -> str:
    """Whose CPU time one task takes in a burst."""
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


PARTS: dict[str, Callable[[GaugeSnapshot], str]] = {
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


def files(figures: GaugeSnapshot) -> dict[Path, str]:
    """All that is generated."""
    drawn = plots.all_plots(figures)
    lines = [line for line in TEMPLATE.read_text().splitlines() if not _shows_nothing(line, drawn)]
    page = "\n".join([*lines, ""])
    for name, make in PARTS.items():
        page = page.replace("{{" + name + "}}", make(figures))
    return {PAGE: page, **{KEPT / f"{name}.svg": text for name, text in drawn.items()}}


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where a file is not what the figures say")
    if parser.parse_args().check:
        wrong = [p for p, text in files(GaugeSnapshot.read()).items() if not p.exists() or p.read_text() != text]
        for path in wrong:
            print(f"{path.relative_to(ROOT)} is not what its figures say: `python -m bench.pages`", file=sys.stderr)
        return 1 if wrong else 0
    print("new figures:", ", ".join(take()) or "none")
    for path, text in files(GaugeSnapshot.read()).items():
        path.write_text(text)
        print(path.relative_to(ROOT))
    return 0


def _shows_nothing(line: str, drawn: Collection[str]) -> bool:
    """Whether it is the place of a plot that there are no figures for."""
    plot = re.search(r"\(performance/([a-z-]+)\.svg\)", line)
    return plot is not None and plot[1] not in drawn


def _number(value: float | None, form: str) -> str:
    return NO_FIGURE if value is None else form.format(value)


def _failed(figures: GaugeSnapshot, load: str, system: str) -> str:
    most = figures.spread(load, system, "failed")
    return f" ({most[1]:.0f} failed)" if most and most[1] else ""


def _pair(figures: GaugeSnapshot, load: str, system: str, key: str) -> str:
    low, high = (figures.median(load, system, key, quantile) for quantile in ("p50", "p99"))
    ends = figures.spread(load, system, key, "p99")
    more = f" ({ends[0]:,.0f}-{ends[1]:,.0f})" if ends and figures.rounds(load) > 1 else ""
    return f"{_number(low, '{:,.0f}')}, {_number(high, '{:,.0f}')}{more}"


def _with_spread(figures: GaugeSnapshot, load: str, system: str) -> str:
    middle = figures.median(load, system, "tasks_per_second")
    ends = figures.spread(load, system, "tasks_per_second")
    more = f" ({ends[0]:.1f}-{ends[1]:.1f})" if ends and figures.rounds(load) > 1 else ""
    return _number(middle, "{:.1f}") + more


if __name__ == "__main__":
    sys.exit(main())
