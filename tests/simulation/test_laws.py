"""Each law fails once: on a history that is wrong in exactly one way."""

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from podtask.api import names
from podtask.kube.client import PODS, PatchType
from podtask.runtime.decode import PODTASKS

from .draws import TaskScript
from .fate import Habits
from .faults import Faults
from .laws import Laws, Watcher
from .loop import Spinning, VirtualLoop
from .model import Server
from .truth import Run, Truth
from .verdict import Verdict, judge_life

NS = "ns"


class Stage:
    """A server with its laws, on which a test plays a history by hand."""

    def __init__(self) -> None:
        self.time = 0.0
        self.server = Server(lambda: self.time)
        self.truth = Truth()
        self.laws = Laws(self.server.etcd, self.truth)
        self.server.etcd.observers.append(self._born)
        self.server.etcd.observers.append(self.laws.judge)
        body = {"metadata": {"name": "t"}, "spec": {"image": "x"}}
        self.task_uid = orjson.loads(self.server.create(PODTASKS, NS, orjson.dumps(body)))["metadata"]["uid"]

    def _born(self, change: Any) -> None:
        if change.key[0] == "pods" and change.before is None:
            meta = change.after["metadata"]
            attempt = int(meta["labels"][names.LABEL_ATTEMPT])
            run = Run(meta["uid"], meta["name"], self.task_uid, attempt, self.time, sent_at=self.time)
            self.truth.runs[run.uid] = run

    def pod(self, attempt: int = 1, name: str = "") -> Run:
        labels = {names.LABEL_TASK_UID: self.task_uid, names.LABEL_ATTEMPT: str(attempt)}
        meta = {"name": name or f"t-{attempt}", "labels": labels, "finalizers": [names.FINALIZER]}
        body = {"metadata": meta, "spec": {"containers": [{"name": "base"}]}}
        uid = orjson.loads(self.server.create(PODS, NS, orjson.dumps(body)))["metadata"]["uid"]
        return self.truth.runs[uid]

    def status(self, **status: Any) -> None:
        body = orjson.dumps({"status": status})
        self.server.patch(PODTASKS, NS, "t", body, PatchType.MERGE, subresource="status")

    def release(self, name: str) -> None:
        body = orjson.dumps({"metadata": {"$deleteFromPrimitiveList/finalizers": [names.FINALIZER]}})
        self.server.patch(PODS, NS, name, body, PatchType.STRATEGIC)

    def broken(self) -> str:
        return "; ".join(self.laws.broken)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_right_history_breaks_nothing(stage: Stage) -> None:
    run = stage.pod()
    stage.status(phase="Succeeded", attemptCount=1)
    stage.release(run.name)
    assert stage.broken() == ""


def test_a_terminal_phase_that_changes(stage: Stage) -> None:
    stage.status(phase="Succeeded")
    task = stage.server.etcd.objects["podtasks", NS, "t"]
    stage.server.etcd.put(("podtasks", NS, "t"), {**task, "status": {"phase": "Running"}})
    assert "a terminal phase changed from Succeeded to Running" in stage.broken()


def test_a_counter_that_falls(stage: Stage) -> None:
    stage.status(phase="Running", failureCount=1)
    task = stage.server.etcd.objects["podtasks", NS, "t"]
    stage.server.etcd.put(("podtasks", NS, "t"), {**task, "status": {"phase": "Running"}})
    assert "failureCount fell" in stage.broken()


def test_two_attempts_in_one_write(stage: Stage) -> None:
    stage.status(phase="Running", attemptCount=2)
    assert "two attempts were counted in one write" in stage.broken()


def test_two_live_pods(stage: Stage) -> None:
    stage.pod(1)
    stage.pod(2)
    assert "two live Pods" in stage.broken()


def test_a_pod_for_a_task_that_is_over(stage: Stage) -> None:
    stage.status(phase="Cancelled")
    stage.time = 60.0
    stage.pod()
    assert "for a task that was over" in stage.broken()


def test_a_second_life_is_excused_only_where_its_create_was_on_its_way(stage: Stage) -> None:
    stage.status(phase="Cancelled")
    stage.pod()
    assert stage.broken() == ""


def test_a_late_create_is_excused_where_somebody_freed_its_name_and_another_process_sent_it(stage: Stage) -> None:
    first = stage.pod()
    first.sent_by = "c1"
    stage.status(phase="Succeeded", attemptCount=1)
    stage.release(first.name)
    stage.server.delete(PODS, NS, first.name, uid=first.uid)
    stage.time = 60.0
    late = stage.pod()
    assert "for a task that was over" in stage.broken(), "no user had deleted the first one"
    stage.laws.broken.clear()
    stage.release(late.name)
    stage.server.delete(PODS, NS, late.name, uid=late.uid)
    first.disrupted["user-delete"] = 30.0
    stage.pod()
    assert stage.broken() == ""
    first.sent_by = ""
    stage.server.delete(PODS, NS, late.name, uid=stage.server.find(PODS, NS, late.name)["metadata"]["uid"])
    stage.release(late.name)
    stage.pod()
    assert "for a task that was over" in stage.broken(), "who made the first one has to know"


def test_a_pod_that_is_let_go_too_early(stage: Stage) -> None:
    stage.release(stage.pod().name)
    assert "let go before its outcome was recorded" in stage.broken()


def test_a_pod_that_vanishes_unrecorded(stage: Stage) -> None:
    key = ("pods", NS, stage.pod().name)
    pod = stage.server.etcd.objects[key]
    stage.server.etcd.put(key, {**pod, "metadata": {**pod["metadata"], "finalizers": []}})
    stage.laws.broken.clear()
    stage.server.etcd.remove(key)
    assert "vanished before its outcome was recorded" in stage.broken()


def test_a_request_that_is_sent_over_and_over(stage: Stage) -> None:
    for index in range(50):
        stage.laws.count("c0", "patch", "pods/a {}", index / 100)
    assert "sent patch pods/a 40 times" in stage.broken()


def test_two_main_containers_at_once(stage: Stage) -> None:
    first, second = Run("1", "a", "u", 1, 0.0, started_at=1.0), Run("2", "b", "u", 2, 0.0)
    stage.truth.runs |= {"1": first, "2": second}
    Watcher(stage.truth, stage.laws).judge(second)
    assert "b began to run while a ran" in stage.broken()


@pytest.mark.parametrize("given_up", ["1", "2"])
@pytest.mark.parametrize("attempt", [1, 2])
def test_what_was_given_up_by_force_may_run_beside_another(stage: Stage, given_up: str, attempt: int) -> None:
    first, second = Run("1", "a", "u", 1, 0.0, started_at=1.0), Run("2", "b", "u", attempt, 0.0)
    stage.truth.runs |= {"1": first, "2": second}
    stage.truth.runs[given_up].forced = True
    Watcher(stage.truth, stage.laws).judge(second)
    assert stage.broken() == ""


def test_an_attempt_that_runs_twice(stage: Stage) -> None:
    first, second = Run("1", "a", "u", 1, 0.0, started_at=1.0, ended_at=2.0), Run("2", "b", "u", 1, 0.0)
    stage.truth.runs |= {"1": first, "2": second}
    Watcher(stage.truth, stage.laws).judge(second)
    assert "attempt 1 ran twice" in stage.broken()


ENTRY = {"number": 1, "podUID": "1", "outcome": "Succeeded", "reason": "Completed"}
DONE = {"phase": "Succeeded", "reason": "Completed", "attemptCount": 1, "attempts": [ENTRY]}
FAILED = {
    "phase": "Failed",
    "reason": "NonZeroExit",
    "attemptCount": 1,
    "failureCount": 1,
    "attempts": [{**ENTRY, "outcome": "Failed", "reason": "NonZeroExit", "exitCode": 1}],
}
XCOM = {"state": "Collected", "value": '{"attempt":1,"value":"x"}', "attempt": 1}
LOST = {"state": "Failed", "reason": "XComLost"}
NO_RESULT = {**DONE, "phase": "Failed", "attempts": [{**ENTRY, "outcome": "NoResult"}]}


def _ended(code: int = 0) -> Run:
    run = Run("1", "a", "u", 1, 0.0, node="n", started_at=1.0, told_started=True, ended_at=2.0, told_end_at=2.0)
    run.by_itself, run.exit_code, run.delivered_at, run.result = True, code, 2.0, b'{"attempt":1,"value":"x"}'
    return run


VERDICTS: dict[str, tuple[dict[str, Any], dict[str, Any], Run, str]] = {
    "right": ({}, DONE, _ended(), ""),
    "right with a result": ({"xcom": {}}, {**DONE, "xcom": XCOM}, _ended(), ""),
    "right failure": ({}, FAILED, _ended(1), ""),
    "never ended": ({}, {"phase": "Running"}, _ended(), "never ended"),
    "an attempt too many": ({}, {**DONE, "attemptCount": 2}, _ended(), "counts 2 attempts"),
    "an attempt not counted": ({}, {"phase": "Cancelled"}, _ended(), "counts 0 attempts, and had [1]"),
    "a failure not counted": ({}, {**FAILED, "failureCount": 0}, _ended(1), "failureCount is 0 and should be 1"),
    "a success told as failure": ({}, FAILED, _ended(), "tells attempt 1 as Failed"),
    "a failure told as success": ({}, DONE, _ended(1), "tells attempt 1 as Succeeded"),
    "an attempt without a Pod": ({}, {**DONE, "attempts": [{**ENTRY, "podUID": "9"}]}, _ended(), "which had no Pod"),
    "a phase against its attempts": ({}, {**DONE, "phase": "Skipped"}, _ended(), "is Skipped, and attempts [1]"),
    "a cancel without a request": ({}, {**FAILED, "phase": "Cancelled"}, _ended(1), "no user asked for it"),
    "a skip without a rule": ({}, {**FAILED, "phase": "Skipped"}, _ended(1), "no rule says so"),
    "budget left": ({"backoffLimit": 1}, FAILED, _ended(1), "gave up with budget left"),
    "no result told": ({"xcom": {}}, DONE, _ended(), "has the result None"),
    "another result": ({"xcom": {}}, {**DONE, "xcom": {**XCOM, "value": "1"}}, _ended(), "collected '1'"),
    "another attempt's result": ({"xcom": {}}, {**DONE, "xcom": {**XCOM, "attempt": 2}}, _ended(), "of attempt 2"),
    "empty though written": ({"xcom": {}}, {**DONE, "xcom": {"state": "Empty"}}, _ended(), "there was one"),
    "lost though there": (
        {"xcom": {"onLost": "Drop"}},
        {**DONE, "xcom": LOST},
        _ended(),
        "lost a result that was there",
    ),
    "failed for a result that was there": ({"xcom": {}}, NO_RESULT, _ended(), "of a result that was there"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict(name: str) -> None:
    spec, status, run, expected = VERDICTS[name]
    stage = Stage()
    stage.truth.runs["1"] = run
    task = {"metadata": {"uid": "u", "name": "t", "namespace": NS}, "spec": spec, "status": status}
    script = TaskScript("t", spec, Habits(result=b"x"))
    Verdict(stage.laws, stage.truth, Faults(), script, task).judge(exists=True)
    assert (expected in stage.broken()) if expected else (stage.broken() == "")


def test_a_pod_that_is_never_let_go_or_left_running(stage: Stage) -> None:
    stage.pod(1)
    pod = stage.server.etcd.objects["pods", NS, "t-1"]
    meta = {**pod["metadata"], "name": "t-2", "finalizers": [], "ownerReferences": [{"uid": "u"}], "uid": "2"}
    stage.truth.runs["2"] = Run("2", "t-2", stage.task_uid, 2, 0.0)
    stage.server.etcd.put(("pods", NS, "t-2"), {**pod, "metadata": meta})
    judge_life(stage.laws, stage.server, stage.truth, Faults(), [])
    assert "t-1 was never let go" in stage.broken()
    assert "t-2 was left running" in stage.broken()


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop(end=100.0)
    asyncio.set_event_loop(made)
    yield made
    made.finish()
    asyncio.set_event_loop(None)


def test_a_program_that_spins(loop: VirtualLoop) -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    loop.create_task(spin())
    with pytest.raises(Spinning):
        loop.run_out()


def test_a_life_without_end(loop: VirtualLoop) -> None:
    async def tick() -> None:
        while True:
            await asyncio.sleep(1)

    task = loop.create_task(tick())
    assert not loop.run_out()
    assert loop.time() == pytest.approx(100)
    task.cancel()


def test_a_life_that_ends(loop: VirtualLoop) -> None:
    task = loop.create_task(asyncio.sleep(30))
    assert loop.run_out()
    assert (task.done(), loop.time()) == (True, pytest.approx(30))
