"""Is memory released? Rounds of tasks that run, end and are deleted, with one controller process.

Resident memory alone cannot tell: a controller at work keeps 64 TLS connections with a buffer of 256 KiB each for a
minute, and the C library gives pages back in part. What Python holds can: with no task left, its count of blocks is
back where it was after the first round, to within what a few seconds' chance makes of it. A leak of a dictionary's
entry for each task is more than that; `subject` plants one, and the test run wants to see it found.
"""

import contextlib
import json
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
STRAY_BLOCKS = 1500
"""What chance makes of it: garbage not collected yet, a cache that grew a little more."""
BLOCKS_A_TASK = 1.0
"""And for each task. The least leak is an entry in a dictionary: its key, and what it holds."""
MIB = 8.0
"""What resident memory may grow after the first round."""
_SUBJECT = (sys.executable, "-m", "tests.chaos.subject")
_LOOKS = 5


class Growth(NamedTuple):
    """What was kept, from the end of the first round to the end of the last."""

    tasks: int
    before: Memory
    after: Memory

    @property
    def blocks_a_task(self) -> float:
        """Python's blocks, for each task that came and went."""
        return (self.after.blocks - self.before.blocks) / self.tasks

    @property
    def is_clean(self) -> bool:
        """Return whether memory came back."""
        kept = self.after.blocks - self.before.blocks
        return kept < STRAY_BLOCKS + BLOCKS_A_TASK * self.tasks and self.after.mib - self.before.mib < MIB

    def __str__(self) -> str:
        return (
            f"{self.tasks} tasks came and went: {self.blocks_a_task:+.2f} blocks a task,"
            f" {self.before.mib:.1f} MiB before and {self.after.mib:.1f} MiB after"
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
    """Run `rounds` of tasks after a first round as a warm-up."""
    port = sockets.free_port()
    flags = ("--leader-election=off", "--pod-hold-seconds=1", f"--metrics-port={port}", "--http-address=127.0.0.1")
    with (
        closing(Namespace(cluster.kubeconfig)) as namespace,
        Controller(cluster.kubeconfig, *flags, through=(*_SUBJECT, "leaks" if leaks else "sound")),
    ):
        namespace.wait_service_account()
        _round(namespace, "warm", tasks)
        before = _memory(port)
        for number in range(rounds):
            _round(namespace, f"round-{number}", tasks)
        return Growth(rounds * tasks, before, _memory(port))


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
