"""Events: recording never blocks, texts are cut, repeats are dropped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podtask.kube import errors
from podtask.kube.client import Client, Resource
from podtask.runtime.event_recorder import EVENTS, Event, EventKind, EventRecorder, ObjectReference, manifest
from tests.unit.kube.doubles import JumpingClock

TASK = ObjectReference("podtask.dev/v1alpha1", "PodTask", "ns", "t", "uid-1")
EVENT = Event(TASK, EventKind.WARNING, "AttemptFailed", "CreatePod", "quota exceeded")
AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


@dataclass
class FakeApi:
    created: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        await self.open.wait()
        if self.faults:
            raise self.faults.pop(0)
        assert (resource, namespace) == (EVENTS, "ns")
        self.created.append(orjson.loads(body))
        return body

    @property
    def notes(self) -> list[str]:
        return [body["note"] for body in self.created]


def make(api: FakeApi, clock: JumpingClock, capacity: int = 10) -> EventRecorder:
    return EventRecorder(
        cast("Client", api),
        controller="podtask.dev/controller",
        instance="pod-1",
        now=lambda: AT,
        time_source=clock,
        capacity=capacity,
    )


@asynccontextmanager
async def running(recorder: EventRecorder) -> AsyncIterator[None]:
    task = asyncio.create_task(recorder.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_the_manifest() -> None:
    got = manifest(EVENT, AT, controller="podtask.dev/controller", instance="pod-1")
    metadata = cast("dict[str, str]", got.pop("metadata"))
    assert metadata["namespace"] == "ns"
    assert metadata["name"].startswith("t.")
    assert got == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "eventTime": "2026-01-02T03:04:05.000006Z",
        "reportingController": "podtask.dev/controller",
        "reportingInstance": "pod-1",
        "type": "Warning",
        "reason": "AttemptFailed",
        "action": "CreatePod",
        "note": "quota exceeded",
        "regarding": {
            "apiVersion": "podtask.dev/v1alpha1",
            "kind": "PodTask",
            "namespace": "ns",
            "name": "t",
            "uid": "uid-1",
        },
    }


def test_the_event_time_is_in_utc() -> None:
    there = AT.astimezone(timezone(timedelta(hours=5)))
    assert manifest(EVENT, there, controller="c", instance="i")["eventTime"] == "2026-01-02T03:04:05.000006Z"


def test_names_differ_by_note_and_by_time() -> None:
    variants = [
        manifest(event, at, controller="c", instance="i")
        for event in (EVENT, replace(EVENT, note="other"))
        for at in (AT, AT + timedelta(microseconds=1))
    ]
    assert len({cast("dict[str, str]", one["metadata"])["name"] for one in variants}) == 4


@given(st.text(), st.text(), st.text(min_size=1, max_size=253, alphabet="a.-"))
def test_every_field_is_within_the_servers_limits(note: str, word: str, name: str) -> None:
    event = replace(EVENT, note=note * 9, reason=word * 9, action=word * 9, regarding=replace(TASK, name=name))
    got = manifest(event, AT, controller="c", instance=word * 9)
    assert len(cast("dict[str, str]", got["metadata"])["name"]) <= 253
    assert len(cast("str", got["note"]).encode()) <= 1024
    for field_name in ("reason", "action", "reportingInstance"):
        assert len(cast("str", got[field_name]).encode()) <= 128


@pytest.mark.parametrize("size", [1022, 1023, 1024, 1025, 5000])
def test_a_text_is_not_cut_within_a_character(size: int) -> None:
    note = "ä" * (size // 2) + "x" * (size % 2)
    got = cast("str", manifest(replace(EVENT, note=note), AT, controller="c", instance="i")["note"])
    assert got == note if size <= 1024 else got == "ä" * 510 + "…"


async def test_a_repeat_is_dropped_for_ten_minutes() -> None:
    api, clock = FakeApi(), JumpingClock()
    api.open.set()
    recorder = make(api, clock)
    async with running(recorder):
        recorder.record(EVENT)
        recorder.record(EVENT)
        recorder.record(replace(EVENT, note="other"))
        recorder.record(replace(EVENT, reason="Other"))
        recorder.record(replace(EVENT, regarding=replace(TASK, uid="uid-2")))
        clock.now += 599
        recorder.record(EVENT)
        await recorder.drained()
        assert len(api.created) == 4
        clock.now += 2
        recorder.record(EVENT)
        await recorder.drained()
    assert len(api.created) == 5
    assert recorder.dropped == 0


async def test_events_beyond_the_capacity_are_dropped_and_counted() -> None:
    api = FakeApi()
    recorder = make(api, JumpingClock(), capacity=2)
    async with running(recorder):
        for number in range(5):
            recorder.record(replace(EVENT, note=str(number)))
        assert recorder.dropped == 3
        api.open.set()
        await recorder.drained()
        assert api.notes == ["0", "1"]
        recorder.record(replace(EVENT, note="4"))
        await recorder.drained()
        assert api.notes[-1] == "4", "a dropped Event does not count for repeats"


async def test_refused_events_are_dropped_and_counted() -> None:
    api = FakeApi(faults=[errors.Forbidden("terminating"), errors.ReplyLost("lost")])
    api.open.set()
    recorder = make(api, JumpingClock())
    async with running(recorder):
        for note in ("a", "b", "\ud800", "d"):
            recorder.record(replace(EVENT, note=note))
        await recorder.drained()
    assert recorder.dropped == 2
    assert api.notes == ["?", "d"]


async def test_memory_of_repeats_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podtask.runtime.event_recorder._MAX_RECENT", 3)
    recorder = make(FakeApi(), JumpingClock(), capacity=100)
    for number in range(50):
        recorder.record(replace(EVENT, note=str(number)))
    assert len(recorder._recent) <= 3
