"""Tasks of several kinds whose containers record that they ran, and the expected end of each.

Every container adds a line to a file of the node before it does anything else. That file, and nothing that the
controller says, records how often a task ran.
"""

import contextlib
import json
import random
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client

from tests.harness import HANG_SECONDS
from tests.harness.tasks import GROUP, PLURAL, TERMINAL, VERSION, Namespace

IMAGE = "localhost/podtask/python:dev"
_RUNS = "/runs"
_NOTE = f'echo "$HOSTNAME" >> {_RUNS}/$TASK'
_RESULT = 'printf "%s" "\\"$TASK\\"" > /airflow/xcom/return.json'


@dataclass(frozen=True)
class Kind:
    """One kind of task, and its only right end."""

    script: str
    phase: str = "Succeeded"
    runs: int = 1
    has_result: bool = True
    spec: dict[str, Any] = field(default_factory=dict)

    def manifest(self, name: str, runs: Path) -> dict[str, Any]:
        """Return a PodTask."""
        spec = {
            "image": IMAGE,
            "command": ["sh", "-c", f"{_NOTE}; {self.script}"],
            "env": [{"name": "TASK", "value": name}],
            "volumes": [{"name": "runs", "hostPath": {"path": str(runs)}}],
            "volumeMounts": [{"name": "runs", "mountPath": _RUNS}],
            "terminationGracePeriodSeconds": 1,
            **({"xcom": {"required": True}} if self.has_result else {}),
            **self.spec,
        }
        return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "PodTask", "metadata": {"name": name}, "spec": spec}


_ONCE_MORE = {"backoffLimit": 1, "backoff": {"initialSeconds": 1}}
KINDS = {
    "quick": Kind(_RESULT),
    "steady": Kind(f"sleep 4; {_RESULT}"),
    "stubborn": Kind(f'test "$(wc -l < {_RUNS}/$TASK)" = 2 || exit 1; {_RESULT}', runs=2, spec=_ONCE_MORE),
    "hopeless": Kind("exit 3", phase="Failed", runs=2, has_result=False, spec=_ONCE_MORE),
}
_WEIGHTS = (4, 3, 2, 1)


@dataclass
class Verdict:
    """The result of a batch."""

    tasks: int = 0
    right: int = 0
    duplicates: int = 0
    """Runs beyond those that the task's own failures explain."""
    longest_delay_seconds: float = 0.0
    """The longest that a task waited for the controller: for its Pod, or for its end to be recorded."""
    longest_start_seconds: float = 0.0
    """The first of the two alone. The second holds the kubelet's own pauses: it tells an end again after 10 s."""
    wrong: list[str] = field(default_factory=list)
    starts: list[tuple[datetime, float]] = field(default_factory=list)
    """When each task was created, and how long it waited for its Pod."""

    def longest_start_since(self, moment: datetime) -> float:
        """Return the longest wait for a Pod of those that were created after a moment."""
        return max((seconds for created, seconds in self.starts if created >= moment), default=0.0)


class Batch:
    """Tasks that are created one after another over some seconds, whether the API server answers or not."""

    def __init__(self, namespace: Namespace, runs: Path, prefix: str, count: int, seed: int) -> None:
        chance = random.Random(seed)
        drawn = chance.choices(list(KINDS), _WEIGHTS, k=count)
        self.kinds = {f"{prefix}-{number}-{kind}": KINDS[kind] for number, kind in enumerate(drawn)}
        self._namespace = namespace
        self._runs = runs
        runs.chmod(0o777)

    @contextlib.contextmanager
    def arriving(self, seconds: float) -> Any:
        """Create them in the background, the first at once; all are there at the end."""
        begun = threading.Event()
        thread = threading.Thread(target=self._create_all, args=(seconds, begun), daemon=True)
        thread.start()
        assert begun.wait(HANG_SECONDS)
        yield
        thread.join(seconds + 120)
        assert not thread.is_alive(), "the API server does not take tasks"

    def _create_all(self, seconds: float, begun: threading.Event) -> None:
        start = time.monotonic()
        for number, (name, kind) in enumerate(self.kinds.items()):
            time.sleep(max(0.0, start + seconds * number / len(self.kinds) - time.monotonic()))
            self._create(kind.manifest(name, self._runs))
            begun.set()

    def _create(self, body: dict[str, Any]) -> None:
        for _ in range(300):
            try:
                self._namespace.custom.create_namespaced_custom_object(
                    GROUP, VERSION, self._namespace.name, PLURAL, body, _request_timeout=5
                )
            except client.ApiException as error:
                if error.status == 409:  # the reply to an earlier try was lost
                    return
            except (urllib3.exceptions.HTTPError, OSError):
                pass
            else:
                return
            time.sleep(0.3)
        raise AssertionError("the API server takes no task")

    def wait(self, seconds: float) -> Verdict:
        """Wait until each has ended, and say how."""
        deadline = time.monotonic() + seconds
        verdict = Verdict(len(self.kinds))
        for name, kind in self.kinds.items():
            try:
                task = self._namespace.wait(name, _has_ended, max(1.0, deadline - time.monotonic()))
            except AssertionError as error:
                verdict.wrong.append(f"{name}: {error}"[:600])
                continue
            self._judge(task, kind, verdict)
        return verdict

    def _judge(self, task: dict[str, Any], kind: Kind, verdict: Verdict) -> None:
        name, status = task["metadata"]["name"], task["status"]
        ran = (self._runs / name).read_text().splitlines()
        # A disruption (none of these faults should make one) is a run of its own, and counted by the controller.
        allowed = kind.runs + status.get("disruptionCount", 0)
        verdict.duplicates += max(0, len(ran) - allowed)
        start, record = _delays(task)
        verdict.starts.append((_time(task["metadata"]["creationTimestamp"]), start))
        verdict.longest_start_seconds = max(verdict.longest_start_seconds, start)
        verdict.longest_delay_seconds = max(verdict.longest_delay_seconds, start, record)
        result = status.get("xcom", {}).get("value")
        found = (status["phase"], len(ran), len(set(ran)), result)
        wanted = (kind.phase, allowed, allowed, json.dumps(name) if kind.has_result else None)
        if found == wanted:
            verdict.right += 1
        else:
            verdict.wrong.append(f"{name}: {found}, not {wanted}: {json.dumps(status)[:600]}")


def _has_ended(task: dict[str, Any]) -> bool:
    return task.get("status", {}).get("phase") in TERMINAL


def _delays(task: dict[str, Any]) -> tuple[float, float]:
    """Return both waits for the controller. Whole seconds: those are the API's times."""
    status = task["status"]
    attempts = status.get("attempts", [])
    if not attempts:
        return 0.0, 0.0
    start = _between(task["metadata"]["creationTimestamp"], attempts[0].get("creationTime"))
    return start, _between(attempts[-1].get("completionTime"), status.get("completionTime"))


def _between(begin: str | None, end: str | None) -> float:
    return (_time(end) - _time(begin)).total_seconds() if begin and end else 0.0


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
