"""kill -9 of the controller at every write, before and after the server has received it.

The proxy kills the process in the very moment in which a write is under way, so nothing is left to luck. In the one
case the write has not happened and is made again by the next process; in the other it has, and must not be.
"""

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.faultproxy.proxy import Fault, FaultProxy, Seen
from tests.harness.controller import Controller
from tests.harness.tasks import Namespace
from tests.integration.controller.kubelet import Kubelet, by_attempt

pytestmark = pytest.mark.apiserver

# Two attempts: Pod, Running, end, release; and again; then both Pods are deleted. Running may be skipped.
WRITES_OF_THIS_LIFE = 8


class Killer:
    """Kills the running controller at each write, and counts the kills."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._spare_next = False
        self.victim: Controller | None = None
        self.kills: list[Seen] = []
        self.killed = threading.Event()

    def judge(self, seen: Seen) -> Fault:
        """Let a write pass that was killed before it was made, or there would be no progress."""
        if not seen.is_write or "/events" in seen.path or self.killed.is_set():
            return Fault.NONE
        if self._spare_next:
            self._spare_next = False
            return Fault.NONE
        self._spare_next = self._fault is Fault.DROP
        return self._fault

    def kill(self, seen: Seen) -> None:
        """Kill the process."""
        if seen.is_write and self.victim is not None and not self.killed.is_set():
            self.kills.append(seen)
            os.kill(self.victim.pid, signal.SIGKILL)
            self.killed.set()


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.LOSE_REPLY], ids=lambda f: f.value)
def test_a_controller_killed_at_every_write_runs_each_attempt_once(
    fault: Fault, namespace: Namespace, kubeconfig: Path, tmp_path: Path
) -> None:
    killer = Killer(fault)
    flags = (f"--namespace={namespace.name}", "--pod-hold-seconds=0")
    with (
        Kubelet(kubeconfig, namespace.name, by_attempt(7, 0)) as kubelet,
        FaultProxy(kubeconfig, rule=killer.judge, after_loss=killer.kill) as proxy,
    ):
        through = proxy.kubeconfig(tmp_path / "kubeconfig")
        namespace.create("life", image="i", backoffLimit=1, backoff={"initialSeconds": 1})
        _live_and_die(killer, through, flags, namespace)
        status = namespace.get("life")["status"]
    assert len(killer.kills) >= WRITES_OF_THIS_LIFE, [k.path for k in killer.kills]
    assert sorted(kubelet.created.values()) == sorted({a["podName"] for a in status["attempts"]})
    assert (status["phase"], status["attemptCount"], status["failureCount"]) == ("Succeeded", 2, 1)
    assert [(a["number"], a["exitCode"], a["outcome"]) for a in status["attempts"]] == [
        (1, 7, "Failed"),
        (2, 0, "Succeeded"),
    ]
    assert all("podtask.dev/outcome" not in p["metadata"].get("finalizers", []) for p in _task_pods(namespace))


def _live_and_die(killer: Killer, through: Path, flags: tuple[str, ...], namespace: Namespace) -> None:
    """Start controllers one after another until one of them has nothing to do."""
    for _ in range(40):
        killer.killed.clear()
        with Controller(through, *flags, without="hold") as controller:
            killer.victim = controller
            while not killer.killed.wait(0.2):
                if _is_over(namespace):
                    return
    raise AssertionError("the task does not end")


def _is_over(namespace: Namespace) -> bool:
    task = namespace.get("life")
    return task.get("status", {}).get("phase") == "Succeeded" and not _task_pods(namespace)


def _task_pods(namespace: Namespace) -> list[dict[str, object]]:
    listed = namespace.core.list_namespaced_pod(namespace.name, label_selector="podtask.dev/task-uid")
    return [namespace.api_client.sanitize_for_serialization(p) for p in listed.items]
