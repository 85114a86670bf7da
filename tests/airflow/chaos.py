"""Chaos: worker, triggerer and controller are killed at random moments while many mapped tasks run.

What must be true in the end: every task ended once, with its own result, and for each exactly one Pod was made. The
same run with the original KubernetesPodOperator beside it shows what that is worth.

python -m tests.airflow.chaos --tasks 200 --mode sync deferrable --operator ours original --seed 1
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from airflows import environments, versions
from cluster import Cluster, Form, up
from tests.harness import crd
from tests.harness.airflow import Airflow, RunState
from tests.harness.airflow.rest import HANG_SECONDS, RestError
from tests.harness.airflow.settings import connection
from tests.harness.controller import Controller
from tests.harness.programs import PYTHON
from tests.harness.recorder import Recorder
from tests.harness.tasks import Namespace, Object

DAGS = Path(__file__).parent / "real/dags/podtasks.py"
ENVIRONMENTS = {"ours": "3.3.2", "original": "kpo-3.3.2"}
VICTIMS = {"ours": ("worker", "triggerer", "controller"), "original": ("worker", "triggerer")}
SCRIPT = "sleep 3; echo '{\"number\": NUMBER}' > /airflow/xcom/return.json"
TASK = "task"


@dataclass
class Outcome:
    """What became of the tasks of one run."""

    operator: str
    mode: str
    tasks: int
    kills: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    succeeded: int = 0
    own_result: int = 0
    pods: int = 0
    tries: int = 0
    left: int = 0
    """Pods that still ran when the DAG's run was over."""
    wrong: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Every task ended once, with its own result."""
        return self.succeeded == self.own_result == self.pods == self.tasks


class Killer:
    """Kills with -9, one victim at a time, at moments that a seed decides, until `stop`."""

    def __init__(self, airflow: Airflow, run_id: str, dag_id: str, controller: Controller, victims: tuple[str, ...]):
        self.kills = dict.fromkeys(victims, 0)
        self._airflow = airflow
        self._run = (dag_id, run_id)
        self._controller = controller
        self._stop = threading.Event()

    def run(self, chance: random.Random, gap_seconds: float) -> None:
        """Go on until `stop`. The process that was killed least comes first, so that a short run kills each."""
        while not self._stop.wait(chance.uniform(0.5, 1.5) * gap_seconds):
            for victim in sorted(self.kills, key=lambda name: (self.kills[name], chance.random())):
                if getattr(self, f"_kill_{victim}")(chance):
                    self.kills[victim] += 1
                    break

    def stop(self) -> None:
        """Kill no more."""
        self._stop.set()

    def _kill_worker(self, chance: random.Random) -> bool:
        tasks = [t for t in self._airflow.api.tasks(*self._run) if t["state"] == "running" and t["pid"]]
        tasks = [t for t in tasks if t["task_id"] == TASK]
        if not tasks:
            return False
        with suppress(ProcessLookupError):
            os.kill(int(chance.choice(tasks)["pid"]), signal.SIGKILL)
            return True
        return False

    def _kill_triggerer(self, _: random.Random) -> bool:
        self._airflow.kill("triggerer")
        self._airflow.restart("triggerer")
        return True

    def _kill_controller(self, _: random.Random) -> bool:
        self._controller.kill()
        self._controller.start()
        return True


def play(
    cluster: Cluster, operator: str, modes: Sequence[str], tasks: int, seed: int, gap_seconds: float = 5
) -> Iterator[Outcome]:
    """Run the tasks under kills, one mode after the other on one Airflow."""
    environment = versions.find(ENVIRONMENTS[operator])
    environments.ensure(environment)
    variables = {
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": connection(cluster.kubeconfig, xcom_sidecar_container_image=PYTHON),
        "PODTASK_TEST_OPERATOR": operator,
        "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "64",
        # The scheduler is not killed here; if it is slow, it must not take itself for dead and its tasks for orphans.
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "600",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
        # The triggerer is killed again and again: its triggers move sooner than elsewhere in the tests.
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
    }
    dags = {DAGS: tuple(f"{mode}_mapped" for mode in modes)}
    with (
        tempfile.TemporaryDirectory(prefix="podtask-chaos-", ignore_cleanup_errors=True) as home,
        Controller(cluster.kubeconfig, "--pod-hold-seconds=10", without="hold") as controller,
        Airflow(environment.name, Path(home) / "home", dags=dags, environment=variables) as airflow,
    ):
        for mode in modes:
            with recorded(cluster) as (namespace, recorder):
                yield _play(airflow, controller, namespace, recorder, Outcome(operator, mode, tasks), seed, gap_seconds)


@contextmanager
def recorded(cluster: Cluster) -> Iterator[tuple[Namespace, Recorder]]:
    """Give a fresh namespace, and what is made in it."""
    namespace = Namespace(cluster.kubeconfig)
    namespace.wait_service_account()
    namespace.wait_root_certificate()
    recorder = Recorder(namespace)
    try:
        yield namespace, recorder
    finally:
        recorder.stop()
        namespace.close()


def _play(
    airflow: Airflow,
    controller: Controller,
    namespace: Namespace,
    recorder: Recorder,
    outcome: Outcome,
    seed: int,
    gap_seconds: float,
) -> Outcome:
    begun = time.monotonic()
    dag_id = f"{outcome.mode}_mapped"
    run_id = airflow.api.trigger(dag_id, namespace=namespace.name, script=SCRIPT, count=outcome.tasks)
    recorder.until(lambda r: bool(r.pods), HANG_SECONDS)
    killer = Killer(airflow, run_id, dag_id, controller, VICTIMS[outcome.operator])
    chaos = threading.Thread(target=killer.run, args=(random.Random(seed), gap_seconds), daemon=True)
    chaos.start()
    try:
        end = airflow.api.wait_run(dag_id, run_id, 120 + 15 * outcome.tasks)
    finally:
        killer.stop()
        chaos.join(60)
    outcome.seconds = time.monotonic() - begun
    outcome.kills = killer.kills
    return _judge(airflow, end, recorder, outcome)


def _judge(airflow: Airflow, end: RunState, recorder: Recorder, outcome: Outcome) -> Outcome:
    found = [t for t in airflow.api.tasks(end.dag_id, end.run_id) if t["task_id"] == TASK]
    outcome.pods = len(recorder.pods)
    outcome.left = sum(pod["status"].get("phase") in {"Pending", "Running"} for pod in recorder.pods.values())
    for task in found:
        outcome.tries += task["try_number"]
        outcome.succeeded += task["state"] == "success"
        if _has_own_result(airflow, end, task):
            outcome.own_result += 1
        else:
            outcome.wrong.append(f"{task['map_index']}: {task['state']}, try {task['try_number']}")
    return outcome


def _has_own_result(airflow: Airflow, end: RunState, task: Object) -> bool:
    if task["state"] != "success":
        return False
    index = int(task["map_index"])
    try:
        return bool(airflow.api.xcom(end.dag_id, end.run_id, TASK, map_index=index) == {"number": index})
    except RestError as error:
        if error.status != 404:
            raise
        return False  # a success without its result


COLUMNS = ("operator", "mode", "tasks", "ended well", "own result", "Pods made", "tries", "still run", "kills", "s")


def table(outcomes: list[Outcome]) -> str:
    """The outcomes side by side."""
    rows = [
        (o.operator, o.mode, o.tasks, o.succeeded, o.own_result, o.pods, o.tries, o.left, _kills(o), f"{o.seconds:.0f}")
        for o in outcomes
    ]
    lines = [COLUMNS, *[tuple(str(cell) for cell in row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _kills(outcome: Outcome) -> str:
    return ", ".join(f"{name} {count}" for name, count in outcome.kills.items())


def main() -> int:
    """Play what the command line asks for, and print the table. Ours has to be clean."""
    parser = argparse.ArgumentParser(prog="python -m tests.airflow.chaos")
    parser.add_argument("--cluster", default="airflow-chaos")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gap", type=float, default=5, help="seconds between kills, on average")
    parser.add_argument("--mode", nargs="+", choices=["sync", "deferrable"], default=["sync", "deferrable"])
    parser.add_argument("--operator", nargs="+", choices=list(ENVIRONMENTS), default=["ours"])
    given = parser.parse_args()
    cluster = up(given.cluster, Form.NODE)
    crd.install(cluster)
    outcomes = []
    for operator in given.operator:
        for outcome in play(cluster, operator, given.mode, given.tasks, given.seed, given.gap):
            outcomes.append(outcome)
            print(table([outcome]), *outcome.wrong, sep="\n", flush=True)
    print(f"\nseed {given.seed}\n{table(outcomes)}")
    return 0 if all(o.is_clean for o in outcomes if o.operator == "ours") else 1


if __name__ == "__main__":
    sys.exit(main())
