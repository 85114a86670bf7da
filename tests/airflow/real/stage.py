"""A run of one test DAG and what it leaves on both sides: Airflow's states, and the cluster's Pods and PodTasks."""

import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import Cluster
from tests.harness.airflow import Airflow
from tests.harness.airflow.rest import HANG_SECONDS
from tests.harness.recorder import Recorder
from tests.harness.tasks import Namespace, Object

TASK = "task"
RESULT = "/airflow/xcom/return.json"
GO = "/tmp/go"


def result(number: int, begin: str = "true") -> str:
    """A script that leaves a result."""
    return f"{begin}; echo '{{\"number\": {number}}}' > {RESULT}"


def waits(number: int) -> str:
    """A script that says that it began, waits until it is let go, and leaves a result. It obeys SIGTERM."""
    wait = f"trap 'exit 143' TERM; echo started; until [ -e {GO} ]; do sleep 0.1; done"
    return result(number, begin=wait)


@dataclass
class Stage:
    """One namespace of one test, and an Airflow."""

    airflow: Airflow
    cluster: Cluster
    namespace: Namespace
    recorder: Recorder

    def start(self, dag_id: str, script: str, *, run_id: str | None = None, **conf: Any) -> "Run":
        """Trigger a DAG."""
        given = self.airflow.api.trigger(dag_id, run_id, namespace=self.namespace.name, script=script, **conf)
        return Run(self, dag_id, given)


@dataclass
class Run:
    """One run of one DAG."""

    stage: Stage
    dag_id: str
    run_id: str

    @property
    def airflow(self) -> Airflow:
        """The installation that it runs on."""
        return self.stage.airflow

    @property
    def recorder(self) -> Recorder:
        """What it made in the cluster."""
        return self.stage.recorder

    # ---- Airflow's side ----

    def task(self) -> Object:
        """The task instance."""
        return self.airflow.api.task(self.dag_id, self.run_id, TASK)

    def wait(self, state: str, seconds: float = HANG_SECONDS) -> Object:
        """Return the task instance once it is in this state."""
        return self.airflow.api.wait_task(self.dag_id, self.run_id, TASK, state, seconds)

    def wait_try(self, number: int, seconds: float = HANG_SECONDS) -> Object:
        """Return the task instance once this try of it runs."""

        def runs(task: Object) -> bool:
            return bool(task["try_number"] == number and task["state"] == "running" and task["pid"])

        return self.airflow.api.wait_task(self.dag_id, self.run_id, TASK, runs, seconds)

    def wait_waiting(self, mode: str, try_number: int = 1) -> None:
        """Return once the task's process or its trigger waits for the Pod; of the latter only a log line shows it."""
        if mode == "sync":
            self.wait_try(try_number)
            return
        self.wait("deferred")
        folder = self.airflow.home / f"logs/dag_id={self.dag_id}/run_id={self.run_id}/task_id={TASK}"
        wanted = f"attempt={try_number}.log.trigger.*"
        self.airflow.api.until(lambda: {"logs": list(folder.glob(wanted))}, lambda found: bool(found["logs"]))

    def end(self, seconds: float = HANG_SECONDS) -> str:
        """The run's last state."""
        return self.airflow.api.wait_run(self.dag_id, self.run_id, seconds).state

    def wait_told(self, seconds: float = HANG_SECONDS) -> None:
        """Return once the scheduler has its executor's word of the end, of which only its log tells.

        The word names no more than the run's id and the try: a new run of the same id would be taken for ended by it.
        """
        run = f"dag_id={re.escape(self.dag_id)}, .*run_id={re.escape(self.run_id)}"
        end = re.compile(f"TaskInstance Finished: {run}, .* state=success, ")
        log = self.airflow.components["scheduler"].log
        self.airflow.api.until(lambda: {"is": end.search(log.read_text())}, lambda told: bool(told["is"]), seconds)

    def xcom(self, key: str = "return_value") -> Any:
        """What the task left."""
        return self.airflow.api.xcom(self.dag_id, self.run_id, TASK, key)

    def wait_pushed(self, key: str) -> None:
        """Return once the task has pushed a value under this key."""
        self.airflow.api.wait_xcom(self.dag_id, self.run_id, TASK, key)

    def log(self, try_number: int = 1) -> str:
        """The log of one try."""
        return self.airflow.api.log(self.dag_id, self.run_id, TASK, try_number)

    def clear(self) -> None:
        """Clear the task."""
        self.airflow.api.clear(self.dag_id, self.run_id, TASK)

    def mark(self, state: str) -> None:
        """Mark the task."""
        self.airflow.api.mark(self.dag_id, self.run_id, TASK, state)

    def kill_try(self, number: int) -> None:
        """Kill the process of a try, as the kernel's memory killer would."""
        os.kill(int(self.wait_try(number)["pid"]), signal.SIGKILL)

    def shut_worker_down(self) -> None:
        """Tell the task's worker to stop, as a deployment does: its supervisor on Airflow 3, its process on 2."""
        pid = int(self.wait_try(1)["pid"])
        os.kill(_parent(pid) if self.airflow.major == 3 else pid, signal.SIGTERM)

    # ---- the cluster's side ----

    def wait_started(self, pods: int = 1, seconds: float = HANG_SECONDS) -> Object:
        """Return the newest Pod once this many were made and the newest one's container runs."""

        def runs(recorder: Recorder) -> bool:
            return len(recorder.pods) == pods and _newest(recorder)["status"].get("phase") == "Running"

        self.recorder.until(runs, seconds)
        return _newest(self.recorder)

    def let_go(self) -> None:
        """Let the newest Pod's script go on."""
        pod = _newest(self.recorder)["metadata"]["name"]
        self.stage.cluster.kubectl(
            "exec", f"--namespace={self.stage.namespace.name}", pod, "-c", "base", "--", "touch", GO
        )

    def wait_phases(self, *phases: str, seconds: float = HANG_SECONDS) -> None:
        """Return once the PodTasks, in the order of their making, have ended like this."""
        self.recorder.until(lambda recorder: recorder.phases() == list(phases), seconds)

    def check_made(self, *, pods: int, phases: list[str]) -> None:
        """Hold what was made in the cluster against what should have been."""
        self.wait_phases(*phases)
        assert len(self.recorder.pods) == pods, self.recorder.story()


def _newest(recorder: Recorder) -> Object:
    return max(recorder.pods.values(), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
