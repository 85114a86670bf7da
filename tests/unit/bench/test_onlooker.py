"""What the onlooker takes out of Pods, of tasks, and of what a system tells."""

import asyncio
from typing import Any, cast

import msgspec
import pytest

from bench.onlooker import Onlooker, Seen
from bench.systems import PODTASKS
from podtask.kube.http import HttpClient

Clock = list[float]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    now = [0.0]
    monkeypatch.setattr("bench.onlooker.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def onlooker(clock: Clock) -> Onlooker:
    return Onlooker(cast("HttpClient", None), PODTASKS)


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


def test_the_end_is_that_of_the_last_attempt(onlooker: Onlooker, clock: Clock) -> None:
    for at, number in ((1.0, 1), (5.0, 2)):
        clock[0] = at
        onlooker._pod(None, running := seen(f"pod-{number}", owner="task"))
        clock[0] = at + 1
        onlooker._pod(running, ended := seen(f"pod-{number}", owner="task", ended=True))
        clock[0] = at + 2
        onlooker._pod(ended, ended)
    assert onlooker.facts["task"] == {"pod": 1.0, "ended": 6.0}
    assert onlooker.pods_made == 2


def test_a_task_is_over_once(onlooker: Onlooker, clock: Clock) -> None:
    onlooker._task(None, first := seen("task"))
    clock[0] = 3.0
    onlooker._task(first, last := seen("task", condition="Finished"))
    clock[0] = 4.0
    onlooker._task(last, last)
    assert (onlooker.over, onlooker.present) == (1, 1)
    assert onlooker.between("task", "over") == [3000.0]
    assert onlooker.span() == 3.0


RUNNING: dict[str, dict[str, Any]] = {"a PodTask says so": {"phase": "Running"}, "a Job counts its Pods": {"ready": 1}}


@pytest.mark.parametrize("status", RUNNING.values(), ids=RUNNING.keys())
def test_tasks_that_run_are_counted(onlooker: Onlooker, status: dict[str, Any]) -> None:
    waiting, ended = seen("task"), seen("task", condition="Finished")
    runs = msgspec.structs.replace(waiting, status=msgspec.convert(status, type(waiting.status)))
    counted = []
    for old, new in ((None, waiting), (waiting, runs), (runs, ended)):
        onlooker._task(old, new)
        counted.append(onlooker.running)
    assert counted == [0, 1, 0]


def test_a_pod_without_owner_is_known_by_its_label(onlooker: Onlooker, clock: Clock) -> None:
    onlooker.told("7", "task", 1.0)
    clock[0] = 2.0
    onlooker._pod(None, seen("pod", load="7"))
    onlooker._pod(None, seen("stranger"))
    onlooker.told("7", "over", 4.0)
    assert onlooker.facts == {"7": {"task": 1.0, "pod": 2.0, "over": 4.0}}
    assert onlooker.over == 1


async def test_what_ended_by_itself_is_not_waited_for(onlooker: Onlooker) -> None:
    waiting = asyncio.create_task(onlooker.until(lambda seen: seen.over == 1, 60))
    await asyncio.sleep(0)
    onlooker.abandon("it is gone")
    with pytest.raises(RuntimeError, match="it is gone"):
        await waiting
