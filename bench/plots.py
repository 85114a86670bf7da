"""The plots of docs/performance, each from the figures."""

from .figures import JOBS, OURS, GaugeSnapshot
from .svg import Series, bars, lines

COMMON = "burst-small"
"""The load that every system takes part in."""
COLOURS = {OURS: 0, JOBS: 1, "Job": 4}
LATENCIES = {
    "created-to-pod": ("created_to_pod_ms", "PodTask or Job created → Pod created"),
    "ended-to-final": ("ended_to_final_ms", "Main container ended → final status"),
}


def all_plots(figures: GaugeSnapshot) -> dict[str, str]:
    """Every plot that there are figures for, by its file's name without the end."""
    found = {}
    if list(figures.paced()):
        found["throughput"] = throughput(figures)
        found |= {name: latency(figures, *what) for name, what in LATENCIES.items()}
    if figures.systems("standing"):
        found["memory"] = memory(figures)
    if figures.systems(COMMON):
        found["requests"] = requests(figures)
    if figures.airflow["played"]:
        found["airflow-requests"] = airflow_requests(figures)
    return found


def requests_per_task(figures: GaugeSnapshot, load: str, system: str) -> float | None:
    """All requests that the API server answered for one task, whoever made them."""
    kinds = {kind for run in figures.of(load, system) for kind in run["figures"].get("requests_per_task", {})}
    return (
        sum(figures.median(load, system, "requests_per_task", kind) or 0 for kind in sorted(kinds)) if kinds else None
    )


def throughput(figures: GaugeSnapshot) -> str:
    """Tasks a second against those offered."""
    series = [_over_rates(figures, system, "tasks_per_second") for system in (OURS, JOBS)]
    most = max(rate for rate, _ in figures.paced())
    offered = Series("offered", [(0, 0), (most, most)], 4, dashed=True)
    return lines("Throughput against offered load", "tasks offered a second", "tasks a second", [*series, offered])


def latency(figures: GaugeSnapshot, key: str, title: str) -> str:
    """The middle and the slowest hundredth by load."""
    series = [
        _over_rates(figures, system, key, quantile, dashed=quantile == "p50")
        for system in (OURS, JOBS)
        for quantile in ("p99", "p50")
    ]
    return lines(title, "tasks offered a second", "ms", [s for s in series if s.points], log=True)


def memory(figures: GaugeSnapshot) -> str:
    """Memory while tasks pile up, and the budget."""
    names = {OURS: "PodTask's controller", JOBS: "controller manager, with Jobs"}
    series = [
        Series(
            names[system],
            [(float(n), float(mib)) for n, mib in run["figures"]["rss_mib_by_live_tasks"]],
            COLOURS[system],
        )
        for system in figures.systems("standing")
        for run in figures.of("standing", system)[:1]
    ]
    most = max(count for one in series for count, _ in one.points)
    budget = Series("budget", [(0, 120), (most, 120)], 4, dashed=True)
    return lines("Memory against live tasks", "live tasks, each with a running Pod", "MiB resident", [*series, budget])


def requests(figures: GaugeSnapshot) -> str:
    """Requests for one task, whoever made them: kubelet and scheduler ask the same of every system."""
    rows = [(s, requests_per_task(figures, COMMON, s) or 0.0, COLOURS.get(s, 3)) for s in figures.systems(COMMON)]
    return bars("Requests to the API server per task, everybody's", rows)


def airflow_requests(figures: GaugeSnapshot) -> str:
    """What Airflow asks for one task."""
    names = {"ours": "PodTask", "original": "KPO"}
    rows = [
        (
            f"{names[p['operator']]}, {p['dag_id'].replace('_mapped', '').replace('_', ' ')}",
            sum(p["requests"].values()) / p["tasks"],
            0 if p["operator"] == "ours" else 3,
        )
        for p in sorted(figures.airflow["played"], key=lambda p: (p["dag_id"], p["operator"] != "ours"))
    ]
    return bars("Airflow's own requests per task", rows)


def _over_rates(figures: GaugeSnapshot, system: str, *path: str, dashed: bool = False) -> Series:
    points = [(rate, found) for rate, load in figures.paced() if (found := figures.median(load, system, *path))]
    name = f"{system} {path[1]}" if len(path) > 1 else system
    return Series(name, points, COLOURS[system], dashed)
