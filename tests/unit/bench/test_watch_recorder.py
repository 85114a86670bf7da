"""Facts that the recorder takes from Pods, from tasks, and from a system itself."""

import asyncio
from typing import Any, cast

import msgspec
import pytest

from bench.systems import PODTASKS
from bench.watch_recorder import Seen, WatchRecorder
from podtask.kube.http import HttpClient

Clock = list[float]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    now = [0.0]
    monkeypatch.setattr("bench.watch_recorder.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def recorder(clock: Clock) -> WatchRecorder:
    return WatchRecorder(cast("HttpClient", None), PODTASKS)


def seen(name: str, *, owner: str = "", load: str = "", ended: bool = False, condition: str = "") -> Seen:
    metadata: dict[str, Any] = {
        "name": name,
        "uid": name,
        "resourceVersion": "1",
        "labels": {"load": load} if load else {},
    }
    if owner:
        metadata["ownerReferences"] = [{"uid": owner}]
    state: dict[str, Any] = {"terminated": {}} if ended else {"running": {}}
    conditions = [{"type": condition, "status": "True"}] if condition else []
    status = {"containerStatuses": [{"state": state}], "conditions": conditions}
    return msgspec.convert({"metadata": metadata, "status": status}, Seen)


def test_the_end_is_that_of_the_last_attempt(recorder: WatchRecorder, clock: Clock) -> None:
    for at, number in ((1.0, 1), (5.0, 2)):
        clock[0] = at
        recorder._pod(None, running := seen(f"pod-{number}", owner="task"))
        clock[0] = at + 1
        recorder._pod(running, ended := seen(f"pod-{number}", owner="task", ended=True))
        clock[0] = at + 2
        recorder._pod(ended, ended)
    assert recorder.facts["task"] == {"pod": 1.0, "ended": 6.0}
    assert recorder.pods_made == 2


def test_a_task_is_over_once(recorder: WatchRecorder, clock: Clock) -> None:
    recorder._task(None, first := seen("task"))
    clock[0] = 3.0
    recorder._task(first, last := seen("task", condition="Finished"))
    clock[0] = 4.0
    recorder._task(last, last)
    assert (recorder.over, recorder.present) == (1, 1)
    assert recorder.between("task", "over") == [3000.0]
    assert recorder.span() == 3.0


RUNNING: dict[str, dict[str, Any]] = {"a PodTask says so": {"phase": "Running"}, "a Job counts its Pods": {"ready": 1}}


@pytest.mark.parametrize("status", RUNNING.values(), ids=RUNNING.keys())
def test_tasks_that_run_are_counted(recorder: WatchRecorder, status: dict[str, Any]) -> None:
    waiting, ended = seen("task"), seen("task", condition="Finished")
    runs = msgspec.structs.replace(waiting, status=msgspec.convert(status, type(waiting.status)))
    counted = []
    for old, new in ((None, waiting), (waiting, runs), (runs, ended)):
        recorder._task(old, new)
        counted.append(recorder.running)
    assert counted == [0, 1, 0]


def test_a_pod_without_owner_is_known_by_its_label(recorder: WatchRecorder, clock: Clock) -> None:
    recorder.record("7", "task", 1.0)
    clock[0] = 2.0
    recorder._pod(None, seen("pod", load="7"))
    recorder._pod(None, seen("stranger"))
    recorder.record("7", "over", 4.0)
    assert recorder.facts == {"7": {"task": 1.0, "pod": 2.0, "over": 4.0}}
    assert recorder.over == 1


async def test_a_system_that_has_ended_ends_the_wait(recorder: WatchRecorder) -> None:
    waiting = asyncio.create_task(recorder.until(lambda recorder: recorder.over == 1, 60))
    await asyncio.sleep(0)
    recorder.abort_wait("it has ended")
    with pytest.raises(RuntimeError, match="it has ended"):
        await waiting
