"""The budgets of the design (§7), each with its measurement and verdict."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .figures import BARE, FLOOR, JOBS, OURS, Measurements

BENCH = "python -m bench"
AIRFLOW = "python -m tests.airflow.requests_per_task"
KUBELET = "python -m bench.kubelet"
LIVE = 20_000


@dataclass(frozen=True)
class Row:
    """One budget. `is_hit` is None where the figures do not show it either way."""

    what: str
    budget: str
    measured: str
    is_hit: bool | None
    command: str

    @property
    def verdict(self) -> str:
        """The verdict as the table shows it."""
        return {True: "hit", False: "**missed**", None: "not shown"}[self.is_hit]


Budget = Callable[[Measurements], Row]


def rows(figures: Measurements) -> Iterator[Row]:
    """Yield every budget, in the order of the design."""
    yield _throughput(figures)
    yield _latency(figures, "created_to_pod_ms", "PodTask created → Pod created, 100/s", least_rate=100)
    yield from _kubelet(figures)
    yield from _from_airflow(figures)
    yield _latency(figures, "ended_to_final_ms", "Pod terminal → final status", least_rate=0)
    yield _writes(figures)
    yield from _airflow_requests(figures)
    yield _cpu(figures)
    yield from _standing(figures)


def own_writes(figures: Measurements, load: str) -> float | None:
    """Return PodTask's writes per task: on Pods, on the status, and Events without the scheduler's one per Pod."""
    names = ("POST pods", "PATCH pods", "DELETE pods", "PATCH podtasks", "PATCH podtasks/status", "DELETE podtasks")
    if figures.median(load, OURS, "requests_per_task", "POST pods") is None:
        return None
    ours = sum(figures.median(load, OURS, "requests_per_task", name) or 0 for name in names)
    events = sum(figures.median(load, OURS, "requests_per_task", f"{verb} events") or 0 for verb in ("POST", "PATCH"))
    return ours + max(0.0, events - (figures.median(load, OURS, "pods_per_task") or 1))


def _throughput(figures: Measurements) -> Row:
    ours, peer, bare, floor = (
        figures.median("burst", system, "tasks_per_second") for system in (OURS, JOBS, BARE, FLOOR)
    )
    ratios = figures.ratios("burst", OURS, JOBS, "tasks_per_second")
    what, budget = "task throughput, simulated nodes", "≥ 1.5 times the Job controller, unthrottled"
    if not ratios:
        return Row(what, budget, "-", None, f"{BENCH} --only burst")
    found = statistics.median(ratios)
    ends = f", {min(ratios):.2f}-{max(ratios):.2f} in {len(ratios)} rounds" if len(ratios) > 1 else ""
    most = "" if floor is None else f"; the three writes without decisions: {floor:.1f}/s"
    most += "" if bare is None else f"; Pods alone: {bare:.1f}/s"
    measured = f"{found:.2f} times{ends} ({ours:.1f}/s against {peer:.1f}/s, a burst{most})"
    return Row(what, budget, measured, found >= 1.5, f"{BENCH} --only burst")


def _latency(figures: Measurements, key: str, what: str, least_rate: float) -> Row:
    """Judge the highest rate that was kept up with; above it a latency is the length of a queue."""
    rates = figures.kept_up(OURS)
    best = rates[-1] if rates else None
    if best is None or (found := figures.median(best[1], OURS, key, "p99")) is None:
        return Row(what, "p99 < 50 ms", "-", None, BENCH)
    rate, name = best
    lower = [(r, load, figures.median(load, OURS, key, "p99")) for r, load in rates[:-1]]
    before = "".join(f"{r:g}/s: {p99:.0f} ms{_peer(figures, load, key)}, " for r, load, p99 in lower if p99 is not None)
    most = f"{rate:g}/s, the highest rate kept up with: {found:.0f} ms{_peer(figures, name, key)}"
    measured = f"{before}{most}{_roomy(figures, key)}"
    is_hit = found < 50 if rate >= least_rate or found >= 50 else None
    return Row(what, "p99 < 50 ms", measured, is_hit, f"{BENCH} --only {name}")


def _peer(figures: Measurements, load: str, key: str) -> str:
    peers = (("Job", JOBS), ("without decisions", FLOOR))
    found = [(name, figures.median(load, system, key, "p99")) for name, system in peers]
    text = ", ".join(f"{name} {p99:.0f}" for name, p99 in found if p99 is not None)
    return f" ({text})" if text else ""


def _roomy(figures: Measurements, key: str) -> str:
    """Return the same with an API server whose garbage collector runs rarely; no budget is judged by it."""
    loads = [load for load in figures.loads() if load.startswith("roomy-")]
    found = [(load, figures.median(load, OURS, key, "p99")) for load in loads]
    return "".join(f"; {load}: {p99:.0f} ms{_peer(figures, load, key)}" for load, p99 in found if p99 is not None)


def _kubelet(figures: Measurements) -> Iterator[Row]:
    cases = (("without a result", 1.1), ("Direct", 1.1), ("with a sidecar", 3.2))
    for name, budget in cases:
        what = f"one short task on a real kubelet, created → final status, {name}"
        found = figures.kubelet.get(name, {}).get("to_end")
        measured = "-" if found is None else f"{found:.3f} s, median of 5"
        yield Row(what, f"< {budget} s", measured, None if found is None else found < budget, KUBELET)


def _from_airflow(figures: Measurements) -> Iterator[Row]:
    for mode in ("sync", "deferrable"):
        what = f"the same task from Airflow, start → end, {mode}"
        ours, peer = (figures.seconds(operator, f"{mode}_once") for operator in ("ours", "original"))
        if ours is None or peer is None:
            yield Row(what, "faster than KubernetesPodOperator", "-", None, AIRFLOW)
            continue
        yield Row(what, "faster than KubernetesPodOperator", f"{ours:.1f} s against {peer:.1f} s", ours < peer, AIRFLOW)


def _writes(figures: Measurements) -> Row:
    rates = figures.kept_up(OURS)
    load = rates[-1][1] if rates else "burst"
    found = own_writes(figures, load)
    measured = "-" if found is None else f"{found:.2f} ({load})"
    return Row("own API writes per attempt", "≤ 5", measured, None if found is None else found <= 5, BENCH)


def _airflow_requests(figures: Measurements) -> Iterator[Row]:
    budget = "≤ 3 and a share of one watch"
    for more, with_what in (("", "with XCom"), ("_without_xcom", "without XCom")):
        what = f"Airflow's requests per deferred task, {with_what}"
        ours, peer = (figures.dag_run(operator, f"deferrable_mapped{more}") for operator in ("ours", "original"))
        if ours is None or peer is None:
            yield Row(what, budget, "-", None, AIRFLOW)
            continue
        shared = sum(ours["requests"].get(f"{verb} podtasks", 0) for verb in ("list", "watch"))
        own = (sum(ours["requests"].values()) - shared) / ours["tasks"]
        theirs = sum(peer["requests"].values()) / peer["tasks"]
        measured = f"{own:.2f}, and {shared / ours['tasks']:.2f} for the watch; KubernetesPodOperator {theirs:.1f}"
        yield Row(what, budget, measured, own <= 3, AIRFLOW)


def _cpu(figures: Measurements) -> Row:
    ours = figures.median("burst", OURS, "cpu_ms_per_task", "system")
    peers = (("the Job controller", JOBS), ("the three writes without decisions", FLOOR))
    found = [(name, figures.median("burst", system, "cpu_ms_per_task", "system")) for name, system in peers]
    beside = "".join(f"; {name} {peer:.2f} ms" for name, peer in found if peer is not None)
    measured = "-" if ours is None else f"{ours:.2f} ms{beside}"
    command = f"{BENCH} --only burst"
    return Row("controller CPU per task", "≤ 1.5 ms", measured, None if ours is None else ours <= 1.5, command)


def _standing(figures: Measurements) -> Iterator[Row]:
    held = figures.median("standing", OURS, "held_rss_mib")
    resumed = figures.median("standing", OURS, "restart_first_task_seconds")
    runs = figures.of("standing", OURS)
    command = f"{BENCH} --only standing"
    cases = (
        ("controller memory at 20,000 live tasks", "≤ 120 MiB", held, 120, "MiB"),
        ("restart with 20,000 tasks", "caught up < 10 s", resumed, 10, "s until a new task had ended"),
    )
    for what, budget, found, most, unit in cases:
        if found is None:
            yield Row(what, budget, "-", None, command)
            continue
        tasks = runs[0]["tasks"]
        is_hit = found <= most if tasks >= LIVE or found > most else None
        yield Row(what, budget, f"{found:.1f} {unit}, {tasks:,} tasks", is_hit, command)
