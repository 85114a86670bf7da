"""The figures of docs/performance: what was measured last, read from files, medians over the rounds."""

import json
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NEW = ROOT / "build/bench"
KEPT = ROOT / "docs/performance"
NAMES = ("runs.json", "airflow.json", "kubelet.json")
PROFILES = ("full", "machine", "short")
"""From large to small. Of each load the page shows the largest that was played."""

OURS, JOBS, BARE, FLOOR = "PodTask", "Job, unthrottled", "Pod alone", "Loop without decisions"


def take() -> list[str]:
    """Copy what was measured here since into the docs; gives the names."""
    KEPT.mkdir(exist_ok=True)
    found = [name for name in NAMES if (NEW / name).exists()]
    for name in found:
        shutil.copy(NEW / name, KEPT / name)
    return found


@dataclass(frozen=True)
class GaugeSnapshot:
    """Everything that the page is made of."""

    runs: list[dict[str, Any]]
    airflow: dict[str, Any]
    kubelet: dict[str, dict[str, float]]

    @classmethod
    def read(cls, directory: Path = KEPT) -> "GaugeSnapshot":
        """Read what is there; what is not there was not measured."""
        runs, airflow, kubelet = (_json(directory / name) for name in NAMES)
        largest: dict[str, str] = {}
        for run in sorted(runs or [], key=lambda r: PROFILES.index(r["profile"])):
            largest.setdefault(run["scenario"], run["profile"])
        chosen = [r for r in runs or [] if r["profile"] == largest[r["scenario"]]]
        return cls(chosen, airflow or {"played": [], "seconds": {}}, kubelet or {})

    @property
    def profile(self) -> str:
        """The sizes of the loads, each with those that were played at it, and how often."""
        sizes: dict[str, dict[str, None]] = {}
        for run in self.runs:
            sizes.setdefault(run["profile"], {})[run["scenario"]] = None
        played = {
            size: ", ".join(f"{load} {self.rounds(load)} on {self.days(load)}" for load in sizes[size])
            for size in PROFILES
            if size in sizes
        }
        return "; ".join(f"`{size}` ({loads})" for size, loads in played.items()) or "none"

    def rounds(self, load: str) -> int:
        """How often a load was played."""
        return len({r["round"] for r in self.runs if r["scenario"] == load})

    def days(self, load: str) -> str:
        """When a load was played."""
        return " and ".join(sorted({r["day"] for r in self.runs if r["scenario"] == load}))

    def busy(self) -> str:
        """How much else ran on the machine: the load average before each run."""
        loads = sorted(r["machine_load_before"] for r in self.runs)
        return f"{statistics.median(loads):.1f} ({loads[0]:.1f}-{loads[-1]:.1f})" if loads else "unknown"

    def loads(self) -> list[str]:
        """The loads, in the order of the file."""
        return list(dict.fromkeys(r["scenario"] for r in self.runs))

    def systems(self, load: str) -> list[str]:
        """Who took part, ours first."""
        names = sorted({r["system"] for r in self.runs if r["scenario"] == load})
        return sorted(names, key=lambda name: (name != OURS, not name.startswith("Job"), name))

    def of(self, load: str, system: str) -> list[dict[str, Any]]:
        """All rounds of one load on one system."""
        return [r for r in self.runs if (r["scenario"], r["system"]) == (load, system)]

    def median(self, load: str, system: str, *path: str) -> float | None:
        """The median over the rounds of one figure; None where it was not measured."""
        values = [v for r in self.of(load, system) if (v := _at(r["figures"], path)) is not None]
        return statistics.median(values) if values else None

    def spread(self, load: str, system: str, *path: str) -> tuple[float, float] | None:
        """The least and the greatest of one figure."""
        values = [v for r in self.of(load, system) if (v := _at(r["figures"], path)) is not None]
        return (min(values), max(values)) if values else None

    def ratios(self, load: str, one: str, other: str, *path: str) -> list[float]:
        """One system's figure in the other's, for each round that both played: the machine's speed drops out."""
        theirs = {r["round"]: _at(r["figures"], path) for r in self.of(load, other)}
        ours = [(_at(r["figures"], path), theirs.get(r["round"])) for r in self.of(load, one)]
        return [mine / its for mine, its in ours if mine is not None and its]

    def paced(self) -> Iterator[tuple[float, str]]:
        """The paced loads by rate."""
        names = [n for n in self.loads() if n.startswith("paced-")]
        yield from sorted((float(n.removeprefix("paced-")), n) for n in names)

    def kept_up(self, system: str, share: float = 0.9) -> list[tuple[float, str]]:
        """The rates at which the tasks ended nearly as fast as they came, rising, each with the name of its load."""
        return [
            (rate, name)
            for rate, name in self.paced()
            if (done := self.median(name, system, "tasks_per_second")) is not None and done >= share * rate
        ]

    def seconds(self, operator: str, dag_id: str) -> float | None:
        """The median of a short task from Airflow."""
        times = self.airflow["seconds"].get(operator, {}).get(dag_id)
        return statistics.median(times) if times else None

    def played(self, operator: str, dag_id: str) -> dict[str, Any] | None:
        """The requests of one DAG."""
        return next((p for p in self.airflow["played"] if (p["operator"], p["dag_id"]) == (operator, dag_id)), None)


def _at(figures: dict[str, Any], path: tuple[str, ...]) -> float | None:
    found: Any = figures
    for key in path:
        found = found.get(key) if found else None
    return None if found is None else float(found)


def _json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None
