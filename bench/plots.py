"""The charts of docs/performance, drawn by matplotlib. The same figures give the same bytes in every process."""

import io
from collections.abc import Callable, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import COMMON, JOBS, KPO, KPO_DEFERRABLE, OURS, Measurements

COLOURS = {
    OURS: "#0969da",
    JOBS: "#cf5b00",
    "Job": "#f0a868",
    "KubernetesExecutor": "#1a7f37",
    KPO: "#8250df",
    KPO_DEFERRABLE: "#b794f4",
}
GREY = "#777777"
MEMORY_BUDGET_MIB = 120
STYLE = {
    "svg.hashsalt": "podtask",  # without it the ids in the file are random
    "svg.fonttype": "none",  # text stays text
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so the layout does not depend on the machine's fonts
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "lines.marker": "o",
    "lines.markersize": 4,
    "legend.frameon": False,
}
mpl.rcParams.update(STYLE)

Bar = tuple[str, float, str]
"""Label, value, colour."""


def all_charts(figures: Measurements) -> dict[str, str]:
    """Return each chart for which there are figures, as SVG text by the name of its file without the suffix."""
    charts: dict[str, Callable[[Measurements], str]] = {}
    if figures.systems(COMMON):
        charts |= {"against-kpo": against_kpo, "throughput": throughput, "requests": requests}
    if figures.kept_up(OURS):
        charts |= {"created-to-pod": created_to_pod, "ended-to-final": ended_to_final}
    if figures.systems("standing"):
        charts["memory"] = memory
    return {name: draw(figures) for name, draw in charts.items()}


def against_kpo(figures: Measurements) -> str:
    """What a user gains, a panel for each measure; a bar that was not measured is left out."""
    panels = {
        "Airflow's requests per task": _modes(figures.airflow_requests, "mapped"),
        "Seconds for one short task": _modes(figures.seconds, "once"),
        "CPU seconds to import the operator": _systems([OURS, KPO], figures.import_seconds),
        _burst(figures): _systems([OURS, KPO, KPO_DEFERRABLE], figures.throughput),
    }
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for axes, (title, rows) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        _bars(axes, title, rows, space=4)
    return _svg(figure)


def throughput(figures: Measurements) -> str:
    """Tasks per second of every system in the common load."""
    return _bar_chart(_burst(figures), _systems(figures.systems(COMMON), figures.throughput))


def requests(figures: Measurements) -> str:
    """Requests per task to the API server from all clients; scheduler's and kubelets' are the same for all systems."""
    rows = _systems(figures.systems(COMMON), lambda system: figures.requests(COMMON, system))
    return _bar_chart("Requests to the API server per task, from all clients", rows)


def created_to_pod(figures: Measurements) -> str:
    """Time until the Pod exists."""
    return _latency(figures, "created_to_pod_ms", "Task created → Pod created")


def ended_to_final(figures: Measurements) -> str:
    """Time until the result is known."""
    return _latency(figures, "ended_to_final_ms", "Container ended → result known")


def memory(figures: Measurements) -> str:
    """Memory while the number of live tasks grows, with the budget."""
    names = {OURS: "PodTask's controller", JOBS: "controller manager, with Jobs"}
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.set(title="Resident memory", xlabel="live tasks, each with a running Pod", ylabel="MiB")
    for system in figures.systems("standing"):
        points = figures.of("standing", system)[0]["figures"]["rss_mib_by_live_tasks"]
        axes.plot(*zip(*points, strict=True), color=COLOURS[system], label=names[system])
    axes.axhline(MEMORY_BUDGET_MIB, color=GREY, linestyle="--", marker="", label="budget")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend()
    return _svg(figure)


def _burst(figures: Measurements) -> str:
    return f"Tasks per second, {figures.tasks(COMMON):,} at once"


def _modes(measure: Callable[[str, str], float | None], dag: str) -> list[Bar]:
    return [
        (f"{operator}, {mode}", value, COLOURS[system])
        for mode, kpo in (("sync", KPO), ("deferrable", KPO_DEFERRABLE))
        for operator, system, key in (("PodTask", OURS, "ours"), ("KPO", kpo, "original"))
        if (value := measure(key, f"{mode}_{dag}")) is not None
    ]


def _systems(systems: Sequence[str], measure: Callable[[str], float | None]) -> list[Bar]:
    measured = [(system, value) for system in systems if (value := measure(system)) is not None]
    return [(system.replace(KPO, "KPO"), value, COLOURS[system]) for system, value in measured]


def _bar_chart(title: str, rows: Sequence[Bar]) -> str:
    figure = Figure(figsize=(7, 0.5 + 0.32 * len(rows)), layout="constrained")
    _bars(figure.subplots(), title, rows, space=len(rows))
    return _svg(figure)


def _bars(axes: Axes, title: str, rows: Sequence[Bar], *, space: int) -> None:
    """Draw one bar for each row, from the top, as thick as if there were `space` rows."""
    for label, value, colour in rows:
        axes.bar_label(axes.barh(label, value, color=colour), fmt="{:.3g}", padding=3)
    axes.set(title=title, ylim=(space - 0.5, -0.5))
    axes.margins(x=0.12)
    axes.grid(visible=False)
    axes.tick_params(left=False)
    axes.xaxis.set_visible(False)
    axes.spines[:].set_visible(False)


def _latency(figures: Measurements, key: str, title: str) -> str:
    """Draw the median and the 99th percentile of each system at the rates that it kept up with."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    kept_up = {system: rates for system in COLOURS if (rates := figures.kept_up(system))}
    for axes, quantile, name in zip(panels, ("p50", "p99"), ("median", "99th percentile"), strict=True):
        for system, rates in kept_up.items():
            points = [(rate, figures.median(load, system, key, quantile)) for rate, load in rates]
            axes.plot(*zip(*points, strict=True), color=COLOURS[system], label=system)
        axes.set(title=f"{title}, {name}", xlabel="tasks offered per second", yscale="log", ylim=(1, 10_000))
        axes.set_xticks(sorted({rate for rates in kept_up.values() for rate, _ in rates}))
        axes.yaxis.set_major_formatter("{x:,.0f} ms")
        axes.minorticks_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
