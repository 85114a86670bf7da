"""Faults of the controller's own process, which a Pod of the chart cannot be given: so it runs beside the cluster.

- An expired token. A kubelet's tokens live for an hour at least; ours is bound to a Secret, and dies with it. The
  process finds it as it would in a Pod, by the file at the usual place, in a mount namespace of its own.
- A clock that jumps. A container shares the machine's clock, so a library before the C library moves the wall clock
  of this one process. It proves what the controller makes of a wrong clock, and nothing about a cluster's other clocks.
- A full queue: thousands of tasks on simulated nodes, because the real one starts two Pods a second.
"""

import base64
import json
import math
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cluster import Form, down, up
from tests.chaos.play import PATIENCE_SECONDS
from tests.chaos.report import FRESH_MIB, TASK_MIB, Outcome
from tests.chaos.stand import Memory, Stand
from tests.chaos.workload import Batch, Verdict
from tests.chart.rendered import NAMESPACE
from tests.harness import crd
from tests.harness.controller import Controller
from tests.harness.recorder import Recorder
from tests.harness.tasks import TERMINAL, Namespace

FULL_QUEUE = "full queue"
SECONDS = 20.0
_ACCOUNT, _SECRET = "podtask", "chaos-token"
_FLAGS = ("--leader-election=off", "--pod-hold-seconds=40")
_IN_A_POD = (
    "mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io"
    ' && ln -s "$0" /run/secrets/kubernetes.io/serviceaccount && exec "$@"'
)
_JUMP = timedelta(hours=1)
_STEP_BACK = timedelta(seconds=20)


class TokenOf:
    """A service account's token in the file where a Pod would have it, and its expiry at will."""

    def __init__(self, stand: Stand, folder: Path) -> None:
        self._stand = stand
        self._folder = folder
        user = json.loads(stand.cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
        (folder / "ca.crt").write_bytes(base64.b64decode(user["certificate-authority-data"]))
        (folder / "namespace").write_text(NAMESPACE)
        self.renew()

    def renew(self) -> None:
        """Write a fresh token, in one step as the kubelet does."""
        self.expire()
        here = ("-n", NAMESPACE)
        self._stand.cluster.kubectl("create", "secret", "generic", _SECRET, *here)
        bound = ("--bound-object-kind=Secret", f"--bound-object-name={_SECRET}")
        token = self._stand.cluster.kubectl("create", "token", _ACCOUNT, *here, *bound)
        (self._folder / "new").write_text(token)
        (self._folder / "new").rename(self._folder / "token")

    def expire(self) -> None:
        """The server refuses what is in the file from now on, as soon as it has forgotten that it knew it."""
        self._stand.cluster.kubectl("delete", "secret", _SECRET, "-n", NAMESPACE, "--ignore-not-found")


@contextmanager
def _with_token(stand: Stand, folder: Path) -> Iterator[tuple[Controller, Callable[[], str]]]:
    token = TokenOf(stand, folder)
    where = stand.cluster.record.placement
    variables = {"KUBERNETES_SERVICE_HOST": where.address, "KUBERNETES_SERVICE_PORT": str(where.port)}
    through = ("unshare", "--mount", "sh", "-c", _IN_A_POD, str(folder))
    with Controller(stand.cluster.kubeconfig, *_FLAGS, variables=variables, through=through) as process:

        def strike() -> str:
            token.expire()
            deadline = time.monotonic() + 40
            while not _refused(process) and time.monotonic() < deadline:
                time.sleep(0.2)
            time.sleep(SECONDS / 2)
            refused = _refused(process)
            token.renew()
            assert refused, "no request was refused"
            return f"{refused} complaints of a 401"

        yield process, strike


def _refused(process: Controller) -> int:
    return sum("Unauthorized" in line for line in process.lines)


@contextmanager
def _with_clock(stand: Stand, folder: Path) -> Iterator[tuple[Controller, Callable[[], str]]]:
    library, offset = folder / "wall_clock.so", folder / "offset"
    source = Path(__file__).with_name("wall_clock.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    _set_clock(offset, timedelta())
    variables = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET": str(offset)}
    with Controller(stand.cluster.kubeconfig, *_FLAGS, variables=variables) as process:

        def strike() -> str:
            time.sleep(SECONDS / 2)
            _set_clock(offset, _JUMP)
            time.sleep(SECONDS / 2)
            _set_clock(offset, _JUMP - _STEP_BACK)
            latest = max(_log_times(process))
            assert latest > datetime.now(UTC) + _JUMP / 2, "the clock has not moved"
            return f"clock {_JUMP} ahead, then {_STEP_BACK} back"

        yield process, strike


def _set_clock(file: Path, ahead: timedelta) -> None:
    """The process has it mapped, so it is written in place."""
    with file.open("r+b" if file.exists() else "wb") as opened:
        opened.write(int(ahead.total_seconds()).to_bytes(8, "little", signed=True))


def _log_times(process: Controller) -> list[datetime]:
    return [datetime.fromisoformat(json.loads(line)["ts"]) for line in process.lines if line.startswith("{")]


FAULTS = {"expired token": _with_token, "clock jump": _with_clock}


def play(stand: Stand, name: str, tasks: int, seed: int) -> Outcome:
    """Run a controller beside the cluster, let tasks arrive, and strike."""
    begun = time.monotonic()
    prefix = f"{name.replace(' ', '-')}-{random.Random(seed).randrange(10**6)}"
    batch = Batch(stand.namespace, stand.runs, prefix, tasks, seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        stand.without_chart(),
        FAULTS[name](stand, Path(folder)) as (process, strike),
    ):
        before = _memory(process.pid)
        with batch.arriving(SECONDS):
            proof = strike()
        verdict = batch.wait(PATIENCE_SECONDS)
        after = _memory(process.pid)
        assert process.terminate() == 0
    if name == "clock jump":
        verdict.longest_delay_seconds = math.nan  # by a clock that is wrong
        stand.clear()
    return Outcome(name, proof, verdict, 0, before, after, time.monotonic() - begun, allowed_mib=FRESH_MIB)


def full_queue(tasks: int) -> Outcome:
    """Everything is there before the controller, stopped in its tracks, may look at it."""
    begun = time.monotonic()
    down("podtask-chaos-queue")
    cluster = up("podtask-chaos-queue", Form.SIMULATED)
    try:
        crd.install(cluster)
        with (
            closing(Namespace(cluster.kubeconfig)) as namespace,
            Controller(cluster.kubeconfig, *_FLAGS) as process,
        ):
            namespace.wait_service_account()
            recorder = Recorder(namespace)
            before = _memory(process.pid)
            process.send(signal.SIGSTOP)
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda number: namespace.create(f"task-{number}", image="simulated"), range(tasks)))
            process.send(signal.SIGCONT)
            recorder.until(lambda seen: _ended(seen) == tasks, 600)
            verdict = _verdict(recorder, tasks)
            recorder.stop()
            after = _memory(process.pid)
            took, allowed = time.monotonic() - begun, FRESH_MIB + TASK_MIB * tasks
            proof = f"{tasks} tasks at once"
            return Outcome(FULL_QUEUE, proof, verdict, 0, before, after, took, allowed_mib=allowed)
    finally:
        cluster.down()


def _ended(seen: Recorder) -> int:
    return sum(task.get("status", {}).get("phase") in TERMINAL for task in seen.tasks.values())


def _verdict(seen: Recorder, tasks: int) -> Verdict:
    statuses = [task["status"] for task in seen.tasks.values()]
    right = sum(status["phase"] == "Succeeded" and status["attemptCount"] == 1 for status in statuses)
    ends = [datetime.fromisoformat(status["completionTime"]) for status in statuses]
    delay = (max(ends) - min(ends)).total_seconds()
    return Verdict(tasks, right, len(seen.pods) - tasks, delay)


def _memory(pid: int) -> Memory:
    """Return what is resident; this process serves no metrics."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Memory(pages * os.sysconf("SC_PAGESIZE") / 2**20, 0)
