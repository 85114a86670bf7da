"""Two replicas on a real API server: one is stopped, killed, or suspended and resumed."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kubernetes import client, watch

from tests.faultproxy.proxy import Fault, FaultProxy, Seen
from tests.harness import HANG_SECONDS, story
from tests.harness.controller import Controller
from tests.harness.tasks import Namespace, NothingCameTrue
from tests.integration.controller.kubelet import Kubelet, always

pytestmark = pytest.mark.apiserver

STREAM_SECONDS = 0.1
"""Interval of new tasks, before, during and after the takeover."""
MOST_WAITING = 20
"""No new task while so many have no Pod, so that a slow machine is not overloaded."""


def flags(namespace: Namespace, *more: str) -> tuple[str, ...]:
    """Return the flags of a replica that works on one namespace, and shares the work there."""
    where = (f"--namespace={namespace.name}", f"--leader-election-namespace={namespace.name}")
    return (*where, "--leader-election=on", *more)


class Stream:
    """Creates tasks until it is stopped; `begun` has the time of each."""

    def __init__(self, namespace: Namespace, kubelet: Kubelet) -> None:
        self._namespace = namespace
        self._kubelet = kubelet
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._flows = threading.Event()
        self.begun: dict[str, float] = {}

    def __enter__(self) -> "Stream":
        """Wait until the first task exists: a quick takeover would otherwise happen before."""
        self._thread.start()
        assert self._flows.wait(HANG_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(HANG_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(STREAM_SECONDS):
            if len(self.begun) - len(self._kubelet.created) >= MOST_WAITING:
                continue
            name = f"task-{len(self.begun)}"
            self.begun[name] = time.monotonic()
            self._namespace.create(name, image="i")
            self._flows.set()


class Holders:
    """The holders of a namespace's Lease, in order; "" is a released Lease."""

    def __init__(self, namespace: Namespace) -> None:
        self._leases = client.CoordinationV1Api(namespace.api_client)
        self._name = namespace.name
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seen: list[str] = []

    def __enter__(self) -> "Holders":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the Lease's deletion, which ends the watch."""
        self._leases.delete_collection_namespaced_lease(self._name)
        self._thread.join(HANG_SECONDS)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        stream = watch.Watch()
        for event in stream.stream(self._leases.list_namespaced_lease, self._name, timeout_seconds=3 * HANG_SECONDS):
            if event["type"] == "DELETED":
                stream.stop()
            holder = event["raw_object"]["spec"].get("holderIdentity") or ""
            if self.seen[-1:] != [holder]:
                self.seen.append(holder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_standby_takes_over_and_each_task_runs_once(
    number: signal.Signals, namespace: Namespace, kubeconfig: Path
) -> None:
    """A stopped leader releases the Lease, so that the standby need not wait until it expires; a killed one cannot.

    How soon follows from the Lease's times, which tests/unit/runtime/test_election.py shows in virtual time.
    """
    with (
        Holders(namespace) as holders,
        Kubelet(kubeconfig, namespace.name, always(0)) as kubelet,
        Controller(kubeconfig, *flags(namespace)) as first,
    ):
        first.wait_logged("Lease acquired, leading")
        with Controller(kubeconfig, *flags(namespace)) as second, Stream(namespace, kubelet) as stream:
            namespace.create("before", image="i")
            namespace.wait_finished("before")
            assert not second.has_logged("Lease acquired, leading")
            begun = time.monotonic()
            first.send(number)
            takeover = second.wait_logged("Lease acquired, leading") - begun
            namespace.create("after", image="i")
            namespace.wait_finished("after")
            stream.__exit__()
            ends = {name: namespace.wait_finished(name) for name in stream.begun}
            code = first.wait_ended()
    late = _longest_wait(namespace)
    print(f"\nno task waited longer than {late} s for its Pod, in whole seconds")
    print(f"{number.name}: the standby leads after {takeover:.2f} s; {len(ends)} tasks meanwhile; exit code {code}")
    first_holder, *released, second_holder = holders.seen[:3] if number is signal.SIGTERM else holders.seen[:2]
    assert released == ([""] if number is signal.SIGTERM else []), holders.seen
    assert first_holder != second_holder
    assert code == (0 if number is signal.SIGTERM else -signal.SIGKILL)
    assert {status["phase"] for status in ends.values()} == {"Succeeded"}
    assert {status["attemptCount"] for status in ends.values()} == {1}
    names = list(kubelet.created.values())
    assert len(names) == len(set(names)) == len(ends) + 2, "each task had one Pod"


def _longest_wait(namespace: Namespace) -> float:
    """Return the longest time from a task's creation to its Pod's, by the API server's clock."""
    tasks = namespace.custom.list_namespaced_custom_object("podtask.dev", "v1alpha1", namespace.name, "podtasks")
    begun = {task["metadata"]["uid"]: task["metadata"]["creationTimestamp"] for task in tasks["items"]}
    waits = [
        story.time(pod["metadata"]["creationTimestamp"]) - story.time(begun[owner["uid"]])
        for pod in namespace.pods()
        for owner in pod["metadata"].get("ownerReferences", [])
    ]
    return max(waits).total_seconds()


class Holding:
    """Holds one request of the leader at the worst moment, and reports when it has it."""

    def __init__(self, fault: Fault, method: str, end: str) -> None:
        self._fault, self._method, self._end = fault, method, end
        self.held = threading.Event()

    def judge(self, seen: Seen) -> Fault:
        """The rule of the proxy."""
        if self.held.is_set() or seen.method != self._method or not seen.path.endswith(self._end):
            return Fault.NONE
        self.held.set()
        return self._fault


def _run_with_a_deposed_leader(
    fault: Holding, namespace: Namespace, kubeconfig: Path, directory: Path, hold_seconds: int, guard: str = ""
) -> int:
    """Suspend the leader, let the standby finish its task, resume the leader; return the number of Pods."""
    guards = ",".join(filter(None, ("hold", guard)))
    common = flags(namespace, f"--pod-hold-seconds={hold_seconds}")
    with (
        Kubelet(kubeconfig, namespace.name, always(0)) as kubelet,
        FaultProxy(kubeconfig, rule=fault.judge) as proxy,
        Controller(proxy.kubeconfig(directory / "kubeconfig"), *common, without=guards) as first,
    ):
        first.wait_logged("Lease acquired, leading")
        with Controller(kubeconfig, *common, without="hold") as second:
            namespace.create("task", image="i")
            assert fault.held.wait(HANG_SECONDS)
            first.send(signal.SIGSTOP)
            second.wait_logged("Lease acquired, leading")
            assert namespace.wait_finished("task")["phase"] == "Succeeded"
            (uid, name) = next(iter(kubelet.created.items()))
            if not hold_seconds:
                namespace.wait_pod_gone(name)
            first.send(signal.SIGCONT)
            proxy.let_go()
            if guard:
                namespace.wait_pod(lambda _, pod: pod["metadata"]["uid"] != uid, 20)
            else:
                assert proxy.let_through.wait(HANG_SECONDS)
                assert first.wait_ended() == 1, "a process that lost the Lease ends"
            # What was made before this one is seen before it by the stand-in for the kubelet.
            namespace.create("last", image="i")
            namespace.wait_finished("last")
            assert namespace.get("task")["status"]["attemptCount"] == 1
    return sum(made.startswith("task") for made in kubelet.created.values())


def _asks_for_the_task() -> Holding:
    """The leader's live read before the create: its reply is the last that the leader receives."""
    return Holding(Fault.HOLD_REPLY, "GET", "/podtasks/task")


def _creates_the_pod() -> Holding:
    """The leader has sent the create."""
    return Holding(Fault.HOLD, "POST", "/pods")


@pytest.mark.parametrize(("guard", "pods"), [("", 1), ("gate", 2)])
def test_a_leader_that_resumes_sends_no_write(
    guard: str, pods: int, make_namespace: Callable[[], Namespace], kubeconfig: Path, tmp_path: Path
) -> None:
    """The first Pod is deleted by then, so that nothing else prevents a second one.

    Without its gate the leader races with its own end: it is enough that it gets through once.
    """
    made = 0
    for _ in range(3 if guard else 1):
        with contextlib.suppress(NothingCameTrue) if guard else contextlib.nullcontext():
            made = _run_with_a_deposed_leader(
                _asks_for_the_task(), make_namespace(), kubeconfig, tmp_path, hold_seconds=0, guard=guard
            )
            break
    assert made == pods


@pytest.mark.parametrize(("hold_seconds", "pods"), [(60, 1), (0, 2)])
def test_a_late_create_conflicts_with_its_finished_pod(
    hold_seconds: int, pods: int, namespace: Namespace, kubeconfig: Path, tmp_path: Path
) -> None:
    """No check can stop a request that is sent. Without the hold there would be a second Pod."""
    made = _run_with_a_deposed_leader(_creates_the_pod(), namespace, kubeconfig, tmp_path, hold_seconds=hold_seconds)
    assert made == pods
