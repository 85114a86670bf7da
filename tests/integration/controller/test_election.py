"""Two replicas on a real API server: who works when one stops, dies, or stands still and comes back."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faultproxy.proxy import Fault, FaultProxy, Seen
from tests.harness import story
from tests.harness.controller import Controller
from tests.harness.tasks import Namespace, NothingCameTrue
from tests.integration.controller.kubelet import Kubelet, always

pytestmark = pytest.mark.apiserver

CLEAN_STOP_SECONDS = 2.0
KILL_SECONDS = 15.0
STREAM_SECONDS = 0.1
"""A new task this often, before, while and after the work changes hands."""


def flags(namespace: Namespace, *more: str) -> tuple[str, ...]:
    """Give the flags of a replica that works on one namespace, and shares the work there."""
    where = (f"--namespace={namespace.name}", f"--leader-election-namespace={namespace.name}")
    return (*where, "--leader-election=on", *more)


class Stream:
    """Creates a task every now and then, until told to stop; `begun` has the time of each."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.begun: dict[str, float] = {}

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._stop.wait(STREAM_SECONDS):
            name = f"task-{len(self.begun)}"
            self.begun[name] = time.monotonic()
            self._namespace.create(name, image="i")


@pytest.mark.parametrize(
    ("number", "budget_seconds"), [(signal.SIGTERM, CLEAN_STOP_SECONDS), (signal.SIGKILL, KILL_SECONDS)]
)
def test_the_standby_takes_over_in_time_and_no_task_is_late_or_runs_twice(
    number: signal.Signals, budget_seconds: float, namespace: Namespace, kubeconfig: Path
) -> None:
    with (
        Kubelet(kubeconfig, namespace.name, always(0)) as kubelet,
        Controller(kubeconfig, *flags(namespace)) as first,
    ):
        first.wait_said("leading")
        with Controller(kubeconfig, *flags(namespace)) as second, Stream(namespace) as stream:
            namespace.create("before", image="i")
            namespace.wait_finished("before")
            assert not second.has_said("leading")
            begun = time.monotonic()
            first.send(number)
            takeover = second.wait_said("leading") - begun
            namespace.create("after", image="i")
            namespace.wait_finished("after")
            stream.__exit__()
            ends = {name: namespace.wait_finished(name) for name in stream.begun}
            code = first.wait_ended()
    late = _longest_wait(namespace)
    print(f"\nno task waited longer than {late} s for its Pod, in whole seconds")
    print(f"{number.name}: the standby leads after {takeover:.2f} s; {len(ends)} tasks meanwhile; exit code {code}")
    assert takeover <= budget_seconds
    assert late <= budget_seconds + 1
    assert code == (0 if number is signal.SIGTERM else -signal.SIGKILL)
    assert {status["phase"] for status in ends.values()} == {"Succeeded"}
    assert {status["attemptCount"] for status in ends.values()} == {1}
    names = list(kubelet.created.values())
    assert len(names) == len(set(names)) == len(ends) + 2, "each task had one Pod"


def _longest_wait(namespace: Namespace) -> float:
    """Give the longest time from a task's creation to its Pod's, by the API server's clock."""
    tasks = namespace.custom.list_namespaced_custom_object("podtask.dev", "v1alpha1", namespace.name, "podtasks")
    begun = {task["metadata"]["uid"]: task["metadata"]["creationTimestamp"] for task in tasks["items"]}
    waits = [
        story.time(pod["metadata"]["creationTimestamp"]) - story.time(begun[owner["uid"]])
        for pod in namespace.pods()
        for owner in pod["metadata"].get("ownerReferences", [])
    ]
    return max(waits).total_seconds()


class Holding:
    """Holds one request of the leader at the worst moment, and says when it has it."""

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
    """Stop the leader in its tracks, let the standby finish its task, wake the leader; gives the number of Pods."""
    guards = ",".join(filter(None, ("hold", guard)))
    common = flags(namespace, f"--pod-hold-seconds={hold_seconds}")
    with (
        Kubelet(kubeconfig, namespace.name, always(0)) as kubelet,
        FaultProxy(kubeconfig, rule=fault.judge) as proxy,
        Controller(proxy.kubeconfig(directory / "kubeconfig"), *common, without=guards) as first,
    ):
        first.wait_said("leading")
        with Controller(kubeconfig, *common, without="hold") as second:
            namespace.create("task", image="i")
            assert fault.held.wait(20)
            first.send(signal.SIGSTOP)
            second.wait_said("leading")
            assert namespace.wait_finished("task")["phase"] == "Succeeded"
            (uid, name) = next(iter(kubelet.created.items()))
            if not hold_seconds:
                namespace.wait_pod_gone(name)
            first.send(signal.SIGCONT)
            proxy.let_go()
            if guard:
                namespace.wait_pod(lambda _, pod: pod["metadata"]["uid"] != uid, 20)
            else:
                assert proxy.let_through.wait(20)
                assert first.wait_ended() == 1, "a process that lost the Lease ends"
            # What was made before this one is seen before it by the stand-in for the kubelet.
            namespace.create("last", image="i")
            namespace.wait_finished("last")
            assert namespace.get("task")["status"]["attemptCount"] == 1
    return sum(made.startswith("task") for made in kubelet.created.values())


def _asks_for_the_task() -> Holding:
    """The leader has looked whether the attempt is still due. It is, and the answer is the last it hears."""
    return Holding(Fault.HOLD_REPLY, "GET", "/podtasks/task")


def _creates_the_pod() -> Holding:
    """The create has left the leader, and is on its way."""
    return Holding(Fault.HOLD, "POST", "/pods")


@pytest.mark.parametrize(("guard", "pods"), [("", 1), ("gate", 2)])
def test_a_leader_that_comes_to_itself_sends_nothing(
    guard: str, pods: int, make_namespace: Callable[[], Namespace], kubeconfig: Path, tmp_path: Path
) -> None:
    """The first Pod is gone by then, so that nothing else stands in the way of a second one.

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
def test_a_create_that_arrives_late_finds_its_pod_still_there(
    hold_seconds: int, pods: int, namespace: Namespace, kubeconfig: Path, tmp_path: Path
) -> None:
    """No gate can hold back what is on its way. Without the hold there is a second Pod."""
    made = _run_with_a_deposed_leader(_creates_the_pod(), namespace, kubeconfig, tmp_path, hold_seconds=hold_seconds)
    assert made == pods
