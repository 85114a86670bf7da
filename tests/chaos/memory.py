"""Is memory released? Rounds of tasks that run, end and are deleted, with one controller process.

Resident memory alone cannot tell: the C library gives pages back in part. What Python holds can: with no task left,
its count of blocks is nearly what it was after the round before. The first two rounds are a warm-up: the second one,
which begins faster, still leaves some 1,400 blocks of caches and buffers behind, later ones 75 to 120 for 200 tasks. A
leak of one dictionary entry for each task leaves 500; `subject` plants one, and the test run wants to see it found.
"""

import contextlib
import itertools
import json
import statistics
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

from cluster import Cluster, Form, down, up
from tests.chaos.stand import Memory, memory_of
from tests.harness import crd, sockets
from tests.harness.controller import Controller
from tests.harness.tasks import TASKS, TERMINAL, Namespace

CLUSTER = "podtask-chaos-memory"
WARM_UP_ROUNDS = 2
BLOCKS_A_TASK = 1.5
"""What a round may leave behind for each of its tasks. The least leak is a dictionary entry: its key, and its value."""
MIB = 8.0
"""What resident memory may grow by after the warm-up."""
_SUBJECT = (sys.executable, "-m", "tests.chaos.subject")
_LOOKS = 5


class Growth(NamedTuple):
    """Memory after the warm-up and after each round, with no task left."""

    tasks: int
    """In each round."""
    readings: list[Memory]

    @property
    def blocks_a_task(self) -> float:
        """Python's blocks for each task that came and went. The median of the rounds: one may have left garbage."""
        rounds = [after.blocks - before.blocks for before, after in itertools.pairwise(self.readings)]
        return statistics.median(rounds) / self.tasks

    @property
    def mib(self) -> float:
        """What resident memory grew by."""
        return self.readings[-1].mib - self.readings[0].mib

    @property
    def is_clean(self) -> bool:
        """Return whether memory came back."""
        return self.blocks_a_task < BLOCKS_A_TASK and self.mib < MIB

    def __str__(self) -> str:
        blocks = ", ".join(f"{reading.blocks:,.0f}" for reading in self.readings)
        return (
            f"rounds of {self.tasks} tasks: {self.blocks_a_task:+.2f} blocks a task ({blocks}),"
            f" {self.mib:+.1f} MiB ({self.readings[-1].mib:.1f})"
        )


@contextlib.contextmanager
def standing() -> Iterator[Cluster]:
    """A cluster whose nodes are simulated: what the containers do is of no interest here."""
    down(CLUSTER)
    cluster = up(CLUSTER, Form.SIMULATED)
    try:
        crd.install(cluster)
        yield cluster
    finally:
        cluster.down()


def measure(cluster: Cluster, *, rounds: int, tasks: int, leaks: bool = False) -> Growth:
    """Run `rounds` of tasks after a warm-up."""
    port = sockets.free_port()
    flags = ("--leader-election=off", "--pod-hold-seconds=1", f"--metrics-port={port}", "--http-address=127.0.0.1")
    with (
        closing(Namespace(cluster.kubeconfig)) as namespace,
        Controller(cluster.kubeconfig, *flags, through=(*_SUBJECT, "leaks" if leaks else "sound")),
    ):
        namespace.wait_service_account()
        readings = []
        for number in range(WARM_UP_ROUNDS + rounds):
            _round(namespace, f"round-{number}", tasks)
            readings.append(_memory(port))
        return Growth(tasks, readings[WARM_UP_ROUNDS - 1 :])


def _round(namespace: Namespace, prefix: str, tasks: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: namespace.create(f"{prefix}-{number}", image="simulated"), range(tasks)))
    while any(task.get("status", {}).get("phase") not in TERMINAL for task in _tasks(namespace)):
        time.sleep(0.5)
    namespace.custom.delete_collection_namespaced_custom_object(
        namespace=namespace.name, propagation_policy="Background", **TASKS
    )
    while _tasks(namespace) or namespace.pods():
        time.sleep(0.5)


def _tasks(namespace: Namespace) -> list[dict[str, dict[str, str]]]:
    listed = namespace.custom.list_namespaced_custom_object(namespace=namespace.name, _preload_content=False, **TASKS)
    items: list[dict[str, dict[str, str]]] = json.loads(listed.data)["items"]
    return items


def _memory(port: int) -> Memory:
    """Return the minimum of several readings: connections are closed and garbage is collected at any time."""
    looks = []
    for _ in range(_LOOKS):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            looks.append(memory_of(answer.read().decode().splitlines()))
        time.sleep(1)
    return Memory(min(look.mib for look in looks), min(look.blocks for look in looks))
