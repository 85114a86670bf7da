"""How many requests one task costs the API server: ours against the original, the same DAGs on the same cluster.

Each Airflow has a user of its own, and the API server's audit log says what it requested, whichever other client
is busy. Beside it stands what the server's own metrics counted in the same time, for everybody, as a cross-check.
Both Airflows are up together and take turns. By the way it says how long one short task takes, from its start to its
end in Airflow.

python -m tests.airflow.requests_per_task --tasks 20

The times by themselves, on a quiet machine: `--dag --runs 5 --add`.
"""

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError

from airflows import environments, versions
from bench import accounts, meter
from bench.audit import Audit, Counts
from cluster import Cluster, Form, down, up
from tests.airflow.chaos import DAGS, ENVIRONMENTS, recorded
from tests.harness import crd
from tests.harness.airflow import Airflow, RunState
from tests.harness.airflow.settings import connection
from tests.harness.controller import ROOT, Controller
from tests.harness.programs import PYTHON

FIGURES = ROOT / "build/bench/airflow.json"
PATIENCE_SECONDS = 900.0
SCRIPT = "sleep 2; echo '{\"number\": NUMBER}' > /airflow/xcom/return.json"
RESULT = "echo '{}' > /airflow/xcom/return.json"
DAG_IDS = tuple(f"{mode}_mapped{more}" for mode in ("sync", "deferrable") for more in ("", "_without_xcom"))
SHORT_DAG_IDS = ("sync_once", "deferrable_once")
ACCOUNTS = "default"
"""The namespace of Airflow's service accounts."""
LONG = ("watch ", "get pods/log", "get pods/exec", "create pods/exec")
"""The metrics count these at their end, or as CONNECT."""


@dataclass
class Played:
    """One run of a DAG."""

    operator: str
    dag_id: str
    tasks: int
    pods: int
    """More than tasks where Airflow began a task again, as it does on a machine that is too busy for it."""
    requests: dict[str, int]
    by_audit: int
    """Everybody's short requests by the audit log, and by the metrics."""
    by_metrics: int

    @property
    def per_task(self) -> float:
        """Airflow's requests for one task."""
        return sum(self.requests.values()) / self.tasks


@dataclass
class Measurements:
    """What one run of this program gave."""

    played: list[Played] = field(default_factory=list)
    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Of short tasks, by operator and DAG."""

    @classmethod
    def read(cls) -> "Measurements":
        """What earlier commands have measured."""
        found = json.loads(FIGURES.read_text())
        return cls([Played(**played) for played in found["played"]], found["seconds"])

    def add(self, played: Played) -> None:
        """Keep one run; it replaces an earlier one of the same DAG."""
        same = (played.operator, played.dag_id)
        self.played = [*(p for p in self.played if (p.operator, p.dag_id) != same), played]
        self.write()

    def write(self) -> None:
        """Keep what there is so far."""
        FIGURES.parent.mkdir(parents=True, exist_ok=True)
        FIGURES.write_text(json.dumps(asdict(self), indent=1) + "\n")


def user(operator: str) -> str:
    """How the API server knows that Airflow."""
    return f"system:serviceaccount:{ACCOUNTS}:airflow-{operator}"


@contextlib.contextmanager
def installed(cluster: Cluster, operator: str, dag_ids: list[str], directory: Path) -> Iterator[Airflow]:
    """Give an Airflow whose DAGs use that operator."""
    environment = versions.find(ENVIRONMENTS[operator])
    environments.ensure(environment)
    config = accounts.of_admin(cluster, ACCOUNTS, f"airflow-{operator}")
    variables = {
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": connection(config, xcom_sidecar_container_image=PYTHON),
        "PODTASK_TEST_OPERATOR": operator,
    }
    home = directory / operator
    with Airflow(environment.name, home, dags={DAGS: [*dag_ids, *SHORT_DAG_IDS]}, environment=variables) as airflow:
        yield airflow


def run_to_end(airflow: Airflow, dag_id: str, **conf: Any) -> RunState:
    """Run a DAG once. On a busy machine Airflow's API now and then takes longer to answer than anybody waits for it."""
    run_id = airflow.api.trigger(dag_id, **conf)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return airflow.api.wait_run(dag_id, run_id, deadline - time.monotonic())
        except (TimeoutError, URLError) as error:
            assert time.monotonic() < deadline, f"{dag_id} goes on and on"
            print(f"{airflow.version} does not answer: {error}", file=sys.stderr, flush=True)


def play(cluster: Cluster, audit: Audit, airflow: Airflow, operator: str, dag_id: str, tasks: int) -> Played:
    """Run a DAG once, and count."""
    script = "sleep 2" if dag_id.endswith("_without_xcom") else SCRIPT
    with recorded(cluster) as (namespace, recorder):
        before = _metrics(cluster)
        audit.news()
        run = run_to_end(airflow, dag_id, namespace=namespace.name, script=script, count=tasks)
        asked = audit.news()
        counted = _metrics(cluster) - before
        assert run.state == "success", run
        pods = len(recorder.pods)
    mine = dict(asked[user(operator)].most_common())
    return Played(operator, dag_id, tasks, pods, mine, _short(asked), counted)


def short_seconds(cluster: Cluster, airflow: Airflow, dag_id: str) -> float:
    """How long a task takes that does next to nothing."""
    with recorded(cluster) as (namespace, _):
        run = run_to_end(airflow, dag_id, namespace=namespace.name, script=RESULT)
        assert run.state == "success", run
        task = airflow.api.task(dag_id, run.run_id, "task")
    return (datetime.fromisoformat(task["end_date"]) - datetime.fromisoformat(task["start_date"])).total_seconds()


def measure(cluster: Cluster, audit: Audit, given: argparse.Namespace, directory: Path) -> Measurements:
    """Have the operators take turns."""
    figures = Measurements.read() if given.add and FIGURES.exists() else Measurements()
    with contextlib.ExitStack() as stack:
        stack.enter_context(Controller(cluster.kubeconfig, "--pod-hold-seconds=10", without="hold"))
        airflows = {o: stack.enter_context(installed(cluster, o, given.dag, directory)) for o in given.operator}
        for dag_id in given.dag:
            for operator, airflow in airflows.items():
                figures.add(play(cluster, audit, airflow, operator, dag_id, given.tasks))
                print(report(figures.played[-1]), flush=True)
        for dag_id in SHORT_DAG_IDS if given.runs else ():
            times: dict[str, list[float]] = {operator: [] for operator in airflows}
            for _ in range(given.runs):
                for operator, airflow in airflows.items():
                    times[operator].append(short_seconds(cluster, airflow, dag_id))
                    print(f"{operator}, {dag_id}: {times[operator][-1]:.2f} s", flush=True)
            for operator, found in times.items():
                figures.seconds.setdefault(operator, {})[dag_id] = found
            figures.write()
    return figures


def report(played: Played) -> str:
    """One line a kind of request, most frequent first, and their sum."""
    lines = [f"{played.operator}, {played.dag_id}: {played.per_task:.2f} requests per task, {played.pods} Pods made"]
    lines += [f"  {count / played.tasks:6.2f}  {what}" for what, count in played.requests.items()]
    seen = f"everybody's, without {', '.join(map(str.strip, LONG))}"
    return "\n".join([*lines, f"  ({seen}: {played.by_audit} by the audit log, {played.by_metrics} by the metrics)"])


def table(figures: Measurements) -> str:
    """Everything in a few lines."""
    lines = [f"{p.operator:9} {p.dag_id:30} {p.per_task:6.2f} requests per task" for p in figures.played]
    for operator, dags in figures.seconds.items():
        for dag_id, times in dags.items():
            middle, ends = statistics.median(times), f"{min(times):.2f}-{max(times):.2f}"
            lines.append(f"{operator:9} {dag_id:30} {middle:6.2f} s for one short task ({len(times)} runs, {ends})")
    return "\n".join(lines)


def _metrics(cluster: Cluster) -> int:
    text = cluster.kubectl("get", "--raw", "/metrics")
    return sum(value for labels, value in meter.samples(text) if labels["resource"] and _is_short(labels["verb"]))


def _is_short(verb: str) -> bool:
    return verb not in {"WATCH", "CONNECT"}


def _short(asked: dict[str, Counts]) -> int:
    total: Counter[str] = sum(asked.values(), Counter())
    return sum(count for what, count in total.items() if not what.startswith(LONG))


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.airflow.requests_per_task")
    parser.add_argument("--cluster", default="airflow-requests")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5, help="of a short task, each")
    parser.add_argument("--add", action="store_true", help="keep what earlier commands measured")
    parser.add_argument("--dag", nargs="*", choices=DAG_IDS, default=DAG_IDS)
    parser.add_argument("--operator", nargs="+", choices=list(ENVIRONMENTS), default=list(ENVIRONMENTS))
    return parser.parse_args()


def main() -> int:
    """Measure both, print, and keep the figures for the docs."""
    given = _arguments()
    with tempfile.TemporaryDirectory(prefix="podtask-requests-", ignore_cleanup_errors=True) as directory:
        audit = Audit(Path(directory))
        down(given.cluster)  # what a killed run left has another audit log
        cluster = up(given.cluster, Form.NODE, extra_apiserver_args=audit.arguments())
        try:
            crd.install(cluster)
            figures = measure(cluster, audit, given, Path(directory))
        finally:
            down(given.cluster)
    print(table(figures))
    return 0 if all(p.pods == p.tasks for p in figures.played if p.operator == "ours") else 1


if __name__ == "__main__":
    sys.exit(main())
