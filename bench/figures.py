"""The measured figures in docs/performance/*.json, read from the files, with medians over the rounds."""

import json
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NEW = ROOT / "build/bench"
KEPT = ROOT / "docs/performance"
NAMES = ("runs.json", "airflow.json", "kubelet.json", "imports.json")
PROFILES = ("full", "machine", "short")
"""From large to small. The page shows the largest profile that each load was run with."""

OURS, JOBS, BARE, FLOOR = "PodTask", "Job, unthrottled", "Pod alone", "Loop without decisions"
KPO, KPO_DEFERRABLE = "KubernetesPodOperator", "KubernetesPodOperator, deferrable"
COMMON = "burst-small"
"""The load that every system takes part in."""
KEPT_UP = 0.8
"""Share of the offered rate. A run lasts until its last task has ended: 90 tasks of 5 s at 3/s give 2.6/s at most."""


def copy_new() -> list[str]:
    """Copy the files that were measured on this machine into the docs; return their names."""
    KEPT.mkdir(exist_ok=True)
    found = [name for name in NAMES if (NEW / name).exists()]
    for name in found:
        shutil.copy(NEW / name, KEPT / name)
    return found


@dataclass(frozen=True)
class Measurements:
    """All figures of the page."""

    runs: list[dict[str, Any]]
    """Of `python -m bench`: one for each load, system and round, with its measurements under `figures`."""
    airflow: dict[str, Any]
    """Of tests.airflow.requests_per_task: `played` (requests of each DAG run) and `seconds` by operator and DAG."""
    kubelet: dict[str, dict[str, float]]
    """Of bench.kubelet: seconds by case."""
    imports: dict[str, list[float]] = field(default_factory=dict)
    """Of bench.imports: CPU seconds of each run, by operator."""

    @classmethod
    def read(cls, directory: Path = KEPT) -> "Measurements":
        """Read the files; a file that is missing counts as not measured."""
        runs, airflow, kubelet, imports = (_json(directory / name) for name in NAMES)
        largest: dict[str, str] = {}
        for run in sorted(runs or [], key=lambda r: PROFILES.index(r["profile"])):
            largest.setdefault(run["scenario"], run["profile"])
        chosen = [r for r in runs or [] if r["profile"] == largest[r["scenario"]]]
        return cls(chosen, airflow or {"played": [], "seconds": {}}, kubelet or {}, imports or {})

    @property
    def profile(self) -> str:
        """The profiles, each with its loads, their number of rounds and their days."""
        sizes: dict[str, dict[str, None]] = {}
        for run in self.runs:
            sizes.setdefault(run["profile"], {})[run["scenario"]] = None
        runs = {
            size: ", ".join(f"{load} {self.rounds(load)} on {self.days(load)}" for load in sizes[size])
            for size in PROFILES
            if size in sizes
        }
        return "; ".join(f"`{size}` ({loads})" for size, loads in runs.items()) or "none"

    def rounds(self, load: str) -> int:
        """Return how often a load was run."""
        return len({r["round"] for r in self.runs if r["scenario"] == load})

    def days(self, load: str) -> str:
        """Return the days on which a load was run."""
        return " and ".join(sorted({r["day"] for r in self.runs if r["scenario"] == load}))

    def busy(self) -> str:
        """Return the machine's load average before the runs: median and range."""
        loads = sorted(r["machine_load_before"] for r in self.runs)
        return f"{statistics.median(loads):.1f} ({loads[0]:.1f}-{loads[-1]:.1f})" if loads else "unknown"

    def loads(self) -> list[str]:
        """Return the names of the loads, in the order of the file."""
        return list(dict.fromkeys(r["scenario"] for r in self.runs))

    def systems(self, load: str) -> list[str]:
        """Return the systems that a load was run on: PodTask, then Jobs, then the others by name."""
        names = sorted({r["system"] for r in self.runs if r["scenario"] == load})
        return sorted(names, key=lambda name: (name != OURS, not name.startswith("Job"), name))

    def tasks(self, load: str) -> int:
        """Return the number of tasks of a load; 0 where it was not run."""
        return next((run["tasks"] for run in self.runs if run["scenario"] == load), 0)

    def of(self, load: str, system: str) -> list[dict[str, Any]]:
        """Return all rounds of one load on one system."""
        return [r for r in self.runs if (r["scenario"], r["system"]) == (load, system)]

    def median(self, load: str, system: str, *path: str) -> float | None:
        """Return one figure's median over the rounds; None where it was not measured."""
        values = [v for r in self.of(load, system) if (v := _at(r["figures"], path)) is not None]
        return statistics.median(values) if values else None

    def spread(self, load: str, system: str, *path: str) -> tuple[float, float] | None:
        """Return one figure's minimum and maximum; None where it was not measured."""
        values = [v for r in self.of(load, system) if (v := _at(r["figures"], path)) is not None]
        return (min(values), max(values)) if values else None

    def ratios(self, load: str, one: str, other: str, *path: str) -> list[float]:
        """Return a figure of `one` divided by that of `other`, per common round: the machine's speed cancels out."""
        theirs = {r["round"]: _at(r["figures"], path) for r in self.of(load, other)}
        ours = [(_at(r["figures"], path), theirs.get(r["round"])) for r in self.of(load, one)]
        return [mine / its for mine, its in ours if mine is not None and its]

    def requests(self, load: str, system: str) -> float | None:
        """Return the requests that the API server answered per task, from all clients; None where not measured."""
        kinds = {kind for run in self.of(load, system) for kind in run["figures"].get("requests_per_task", {})}
        return sum(self.median(load, system, "requests_per_task", k) or 0 for k in sorted(kinds)) if kinds else None

    def throughput(self, system: str) -> float | None:
        """Return the tasks per second in the load that every system takes part in."""
        return self.median(COMMON, system, "tasks_per_second")

    def paced(self) -> Iterator[tuple[float, str]]:
        """Yield rate and name of the loads that offer tasks at a fixed rate, by rate."""
        names = [n for n in self.loads() if n.startswith("paced-")]
        yield from sorted((float(n.removeprefix("paced-")), n) for n in names)

    def kept_up(self, system: str) -> list[tuple[float, str]]:
        """Return rate and name of the paced loads whose tasks ended nearly as fast as they were offered, by rate."""
        return [
            (rate, name)
            for rate, name in self.paced()
            if (done := self.median(name, system, "tasks_per_second")) is not None and done >= KEPT_UP * rate
        ]

    def is_queue(self, load: str, system: str) -> bool:
        """Return whether the load offered more than was done, so that its latencies are the length of a queue."""
        rate, done = (self.median(load, system, key) for key in ("offered_per_second", "tasks_per_second"))
        return rate is None or done is None or done < KEPT_UP * rate

    def seconds(self, operator: str, dag_id: str) -> float | None:
        """Return the median duration of a short task in Airflow, in seconds."""
        times = self.airflow["seconds"].get(operator, {}).get(dag_id)
        return statistics.median(times) if times else None

    def airflow_requests(self, operator: str, dag_id: str) -> float | None:
        """Return Airflow's own requests per task."""
        run = self.dag_run(operator, dag_id)
        return sum(run["requests"].values()) / run["tasks"] if run else None

    def dag_run(self, operator: str, dag_id: str) -> dict[str, Any] | None:
        """Return the counted requests of one DAG run."""
        return next((p for p in self.airflow["played"] if (p["operator"], p["dag_id"]) == (operator, dag_id)), None)

    def import_seconds(self, operator: str) -> float | None:
        """Return the median CPU time of an operator's import, in seconds."""
        times = self.imports.get(operator)
        return statistics.median(times) if times else None


def _at(figures: dict[str, Any], path: tuple[str, ...]) -> float | None:
    found: Any = figures
    for key in path:
        found = found.get(key) if found else None
    return None if found is None else float(found)


def _json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None
