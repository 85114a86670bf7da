"""The trigger: what its row contains, what it says at the end, and whom it cancels."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import wire
from airflow.triggers.base import BaseTrigger, TaskSkippedEvent, TaskSuccessEvent
from podtask_airflow.hooks import api_errors, cluster_config
from podtask_airflow.triggers import podtask as trigger
from podtask_airflow.triggers.podtask import PodTaskTrigger
from podtask_airflow.utils import informer

POINTER = {"namespace": "ns", "name": "a", "uid": "u", "deployment": "airflow"}
SECRET = "very-secret-token"
NAMES = ["Name", "Phase", "Reason", "Pod"]


class Server:
    """One PodTask that has the state a test gives it."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {"phase": "Pending"}
        self.spec: dict[str, Any] = {"xcom": {}}
        self.patches: list[Any] = []
        self.patch_code = 200
        self.refusal: tuple[int, bytes] | None = None
        self.log = b""
        self.logs_open = 0

    @property
    def object(self) -> dict[str, Any]:
        return {
            **wire.task("a", metadata={"uid": "u", "resourceVersion": "5"}),
            "spec": self.spec,
            "status": self.status,
        }

    def __call__(self, request: wire.Request) -> None:
        if request.path.endswith("/log"):
            request.begin()
            if self.log:
                request.chunk(self.log)
            self.logs_open += 1
            return request.chunk(b"")
        if self.refusal is not None:
            return request.reply(*self.refusal)
        if request.method == "PATCH":
            self.patches.append(json.loads(request.body))
            if self.patch_code != 200:
                message = "the server rejected our request due to an error in our request"
                return request.reply(self.patch_code, wire.status(self.patch_code, "Invalid", message))
            return request.json(self.object)
        if request.query.get("watch"):
            request.begin()
            return request.chunk(b"")
        if request.path.endswith("/podtasks"):
            attempts = self.status.get("attempts") or [{}]
            cells = ["a", self.status["phase"], self.status.get("reason"), attempts[-1].get("podName")]
            rows = [{"cells": cells, "object": {"metadata": self.object["metadata"]}}]
            columns = [{"name": name} for name in NAMES]
            return request.json({"metadata": {"resourceVersion": "5"}, "columnDefinitions": columns, "rows": rows})
        return request.json(self.object)


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    # On 3.x a trigger's log is structlog's.
    monkeypatch.setattr(PodTaskTrigger, "log", logging.getLogger("of a trigger"), raising=False)
    monkeypatch.setattr(informer, "LINGER_SECONDS", 0.0)
    monkeypatch.setattr(informer, "REQUEST_SECONDS", 0.1)
    made = Server()
    with wire.FakeApi(made) as api:
        path = wire.kubeconfig_of(api.url, tmp_path / "k", {"token": SECRET})

        async def resolve(of: cluster_config.ClusterRef) -> cluster_config.ClusterConfig:
            return cluster_config.resolve(
                cluster_config.ClusterRef(conn_id=None, config_file=str(path)), wire.no_connection
            )

        monkeypatch.setattr(informer, "resolve_in_triggerer", resolve)
        monkeypatch.setattr(informer.wait, "__kwdefaults__", {**informer.wait.__kwdefaults__, "resolve": resolve})
        monkeypatch.setattr(informer.subscribe.__wrapped__, "__kwdefaults__", {"resolve": resolve})
        yield made
        async with asyncio.timeout(wire.HANG_SECONDS):
            while informer._informers:  # noqa: ASYNC110 (no event tells)
                await asyncio.sleep(0.01)


async def events(of: PodTaskTrigger) -> list[Any]:
    async with asyncio.timeout(wire.HANG_SECONDS):
        return [event async for event in of.run()]


def ended(server: Server, phase: str = "Succeeded", **more: Any) -> None:
    server.status = {"phase": phase, "attempts": [{"podName": "a-1"}], **more}


def test_a_row_holds_what_differs_and_no_secret() -> None:
    path, kwargs = PodTaskTrigger(**POINTER).serialize()
    assert path == "podtask_airflow.triggers.podtask.PodTaskTrigger"
    assert kwargs == POINTER
    more = {**POINTER, "conn_id": "mine", "config_file": "/k", "owner": "ti", "containers": ["base"], "tolerance": 5.0}
    path, kwargs = PodTaskTrigger(**more).serialize()
    assert kwargs == more
    assert PodTaskTrigger(**kwargs).serialize() == (path, kwargs)
    assert SECRET not in json.dumps(kwargs)


def test_everything_that_can_be_given_comes_back() -> None:
    given = {
        **POINTER,
        **dict(zip(trigger._DEFAULTS, range(100, 200), strict=False)),
        "containers": ["x"],
        "init_containers": ["y"],
    }
    assert PodTaskTrigger(**given).serialize()[1] == given


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Cancelled", "Skipped"])
async def test_the_event_is_the_phase_and_where(server: Server, phase: str) -> None:
    ended(server, phase, xcom={"state": "Collected", "value": '"the result"'})
    (event,) = await events(PodTaskTrigger(**POINTER))
    assert event.payload == {"phase": phase, "pod_name": "a-1", "name": "a", "namespace": "ns", "uid": "u"}


async def test_the_first_run_has_time_to_end(server: Server) -> None:
    """Otherwise Airflow 3 takes the end of execute for that of execute_complete, and fails a running task."""
    ended(server)
    not_before = time.time() + 0.5
    await events(PodTaskTrigger(**POINTER, not_before=not_before))
    assert not_before <= time.time()


async def test_a_clock_that_is_far_off_keeps_nobody_waiting(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger, "DEFERRAL_GUARD_SECONDS", 0.1)
    ended(server)
    assert await events(PodTaskTrigger(**POINTER, not_before=time.time() + 3600))


async def test_the_event_after_a_deletion(server: Server) -> None:
    (event,) = await events(PodTaskTrigger(**{**POINTER, "uid": "older"}))
    assert event.payload["phase"] == "Deleted"


async def test_trouble_is_an_event_and_not_a_failure(server: Server) -> None:
    server.refusal = (403, wire.status(403, "Forbidden", 'User "u" cannot list'))
    (event,) = await events(PodTaskTrigger(**POINTER))
    assert event.payload["phase"] == "WatchError"
    assert "bind PodTask's role" in event.payload["message"]


async def test_a_broken_connection_is_trouble_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(of: cluster_config.ClusterRef) -> cluster_config.ClusterConfig:
        raise api_errors.ClusterConfigError("There is no Airflow connection 'x'")

    monkeypatch.setattr(informer.subscribe.__wrapped__, "__kwdefaults__", {"resolve": broken})
    (event,) = await events(PodTaskTrigger(**POINTER))
    assert event.payload["message"] == "There is no Airflow connection 'x'"


async def test_untouched(server: Server) -> None:
    (event,) = await events(PodTaskTrigger(**POINTER, not_reconciled_seconds=0.1))
    assert event.payload["phase"] == "NotReconciled"
    assert event.payload["not_reconciled_seconds"] == 0.1


KEPT = {**POINTER, "owner": "ti", "remove_cancel_time_seconds": 0.05}


async def until_patched(server: Server, count: int) -> None:
    async with asyncio.timeout(wire.HANG_SECONDS):
        while len(server.patches) < count:  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(0.01)


async def test_a_longer_task_is_not_left_to_its_bound(server: Server) -> None:
    waiting = asyncio.create_task(events(PodTaskTrigger(**KEPT)))
    await until_patched(server, 1)
    await asyncio.sleep(0.2)
    waiting.cancel()
    (patch,) = server.patches
    assert patch == [
        {"op": "test", "path": "/metadata/uid", "value": "u"},
        {"op": "test", "path": "/metadata/annotations/podtask.dev~1owner", "value": "ti"},
        {"op": "remove", "path": "/spec/cancelTime"},
    ]


@pytest.mark.parametrize(("code", "wanted"), [(422, 1), (404, 1), (403, 2)])
async def test_the_bound_is_lifted_again_and_again_where_that_can_help(server: Server, code: int, wanted: int) -> None:
    server.patch_code = code
    waiting = asyncio.create_task(events(PodTaskTrigger(**KEPT)))
    await until_patched(server, wanted)
    await asyncio.sleep(0.2)
    assert not waiting.done()
    waiting.cancel()
    assert (len(server.patches) > 1) == (wanted > 1)


async def test_a_short_task_needs_no_request_for_that(server: Server) -> None:
    ended(server)
    await events(PodTaskTrigger(**{**KEPT, "remove_cancel_time_seconds": 0.5}))
    await asyncio.sleep(0.6)
    assert server.patches == []


ENDING = {**POINTER, "owner": "ti", "end_from_trigger": True, "do_xcom_push": True}


async def test_success_may_end_here(server: Server) -> None:
    ended(server, xcom={"state": "Collected", "value": '{"k": null, "n": 1}'})
    (event,) = await events(PodTaskTrigger(**ENDING, multiple_outputs=True))
    assert isinstance(event, TaskSuccessEvent)
    assert event.xcoms == {"pod_name": "a-1", "return_value": {"k": None, "n": 1}, "k": None, "n": 1}
    (patch,) = server.patches
    assert [op["op"] for op in patch] == ["test", "test", "add"]
    assert {"ti", "u"} <= {op["value"] for op in patch}


class Sink:
    """The end of a triggerer's pipe: what comes here could be encoded."""

    def write(self, data: bytes) -> None:
        raise ConnectionError(data)


async def sent(event: Any) -> None:
    """Take the step of Airflow 3.3's triggerer in which an event that cannot be encoded would end it."""
    from airflow.jobs import triggerer_job_runner as runner_module

    if not hasattr(runner_module, "TriggerEventEntry"):
        return  # the triggerer of another version has no such step
    decoder = runner_module.TriggerCommsDecoder(async_writer=Sink(), async_reader=None, socket=None)
    decoder._loop = asyncio.get_running_loop()
    runner = runner_module.TriggerRunner()
    runner.comms_decoder = decoder
    runner.events.append(runner_module.TriggerEventEntry(1, event, None))
    with pytest.raises(ConnectionError):
        await runner.sync_state_to_supervisor([1])


@pytest.mark.parametrize(
    "value",
    [
        r'{"file": "\udcff.csv"}',
        r'{"\ud800": 1}',
        '{"id": 12345678901234567890123}',
        r'{"note": "a\u0000b"}',
        "[1e999]",
        "9" * 5000,
        "[" * 500 + "]" * 500,
        json.dumps({"k" * 513: 1}),
    ],
    ids=lambda value: value[:30],
)
async def test_a_result_that_airflow_cannot_carry_ends_on_a_worker(server: Server, value: str) -> None:
    ended(server, xcom={"state": "Collected", "value": value})
    (event,) = await events(PodTaskTrigger(**ENDING, multiple_outputs=True))
    assert not isinstance(event, TaskSuccessEvent)
    assert event.payload["phase"] == "Succeeded"
    await sent(event)


async def test_a_result_that_airflow_carries_is_sent(server: Server) -> None:
    ended(server, xcom={"state": "Collected", "value": r'{"city": "\u0141\u00f3d\u017a", "n": 18446744073709551615}'})
    (event,) = await events(PodTaskTrigger(**ENDING, multiple_outputs=True))
    assert isinstance(event, TaskSuccessEvent)
    await sent(event)


async def test_what_a_server_says_can_be_sent(server: Server) -> None:
    server.refusal = (403, wire.status(403, "Forbidden", "quota of \udcff"))
    (event,) = await events(PodTaskTrigger(**POINTER))
    assert "quota of ?" in event.payload["message"]
    await sent(event)


async def test_without_xcom_only_the_pod_is_told(server: Server) -> None:
    ended(server, xcom={"state": "Collected", "value": "1"})
    (event,) = await events(PodTaskTrigger(**{**ENDING, "do_xcom_push": False}))
    assert event.xcoms == {"pod_name": "a-1"}


async def test_a_skip_may_end_here(server: Server) -> None:
    ended(server, "Skipped")
    (event,) = await events(PodTaskTrigger(**ENDING))
    assert isinstance(event, TaskSkippedEvent)


async def test_the_result_of_a_skipped_task_comes_along(server: Server) -> None:
    ended(server, "Skipped", xcom={"state": "Collected", "value": "1"})
    (event,) = await events(PodTaskTrigger(**ENDING))
    assert event.xcoms == {"pod_name": "a-1", "return_value": 1}


@pytest.mark.parametrize("phase", ["Failed", "Cancelled"])
async def test_a_failure_ends_on_a_worker(server: Server, phase: str) -> None:
    ended(server, phase)
    (event,) = await events(PodTaskTrigger(**ENDING))
    assert event.payload["phase"] == phase
    assert server.patches == []


@pytest.mark.parametrize("case", ["lost result", "another owner"])
async def test_what_needs_words_ends_on_a_worker(server: Server, case: str) -> None:
    ended(server, xcom={"state": "Failed", "reason": "XComTooLarge"} if case == "lost result" else {})
    server.patch_code = 200 if case == "lost result" else 422
    (event,) = await events(PodTaskTrigger(**ENDING))
    assert event.payload["phase"] == "Succeeded"


class Asked:
    """What Airflow says about the task's state."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Any, has_on_kill: bool = True) -> None:
        self.count = 0

        async def is_deferred(ti: Any) -> bool:
            self.count += 1
            if isinstance(answer, Exception):
                raise answer
            return bool(answer)

        monkeypatch.setattr(trigger, "is_deferred", is_deferred)
        if has_on_kill:
            monkeypatch.setattr(BaseTrigger, "on_kill", PodTaskTrigger.on_kill, raising=False)
        else:
            monkeypatch.delattr(BaseTrigger, "on_kill", raising=False)


async def test_a_kill_cancels(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    Asked(monkeypatch, answer=False)
    await PodTaskTrigger(**POINTER, owner="ti").on_kill()
    (patch,) = server.patches
    assert {"op": "add", "path": "/spec/cancel", "value": True} in patch
    assert {"op": "test", "path": "/metadata/annotations/podtask.dev~1owner", "value": "ti"} in patch
    assert {"op": "test", "path": "/metadata/uid", "value": "u"} in patch


@pytest.mark.parametrize("answer", [True, RuntimeError("no comms")])
async def test_a_move_to_another_triggerer_does_not(
    server: Server, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    asked = Asked(monkeypatch, answer=answer)
    await PodTaskTrigger(**POINTER, owner="ti").on_kill()
    assert asked.count == 1
    assert server.patches == []


async def test_a_kill_that_airflow_cancels_while_it_asks_still_cancels(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow 3.3 did so: the first question of a triggerer's life takes seconds, and it cancels each second anew."""
    answer = asyncio.Event()

    async def is_deferred(ti: Any) -> bool:
        await answer.wait()
        return False

    monkeypatch.setattr(trigger, "is_deferred", is_deferred)
    killing = asyncio.create_task(PodTaskTrigger(**POINTER, owner="ti").on_kill())
    await asyncio.sleep(0.05)
    killing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killing
    answer.set()
    await until_patched(server, 1)


async def test_a_trigger_without_an_owner_cancels_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    Asked(monkeypatch, answer=False)
    await PodTaskTrigger(**POINTER).on_kill()
    assert server.patches == []


async def test_nor_one_that_has_told_its_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, answer=False, has_on_kill=False)
    ended(server)
    one = PodTaskTrigger(**POINTER, owner="ti")
    await events(one)
    await one.cleanup()
    assert asked.count == 0
    assert server.patches == []


@pytest.mark.parametrize("has_on_kill", [True, False])
async def test_cleanup_kills_only_where_there_is_no_on_kill(
    server: Server, monkeypatch: pytest.MonkeyPatch, has_on_kill: bool
) -> None:
    Asked(monkeypatch, answer=False, has_on_kill=has_on_kill)
    await PodTaskTrigger(**POINTER, owner="ti").cleanup()
    assert len(server.patches) == (0 if has_on_kill else 1)


@pytest.mark.parametrize("code", [422, 404, 403])
async def test_a_cancel_that_is_refused_raises_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    Asked(monkeypatch, answer=False)
    server.patch_code = code
    await PodTaskTrigger(**POINTER, owner="ti").on_kill()
    assert len(server.patches) == 1


async def test_a_live_log_goes_into_the_triggers_own(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    server.log = b"2026-01-02T03:04:05.000000001Z hello\n"
    ended(server)
    (event,) = await events(PodTaskTrigger(**POINTER, logging_interval=1, containers=["base"]))
    assert [r.getMessage() for r in caplog.records if "hello" in r.getMessage()] == ["[base] hello"]
    assert event.payload["log_positions"] == {"a-1/base": ("2026-01-02T03:04:05.000000001Z", 1)}


async def test_live_logs_have_a_cap(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    caplog.set_level("INFO")
    cap = threading.BoundedSemaphore(1)
    monkeypatch.setattr(trigger, "_streams", cap)
    ended(server)
    more = {**POINTER, "logging_interval": 1}
    (event,) = await events(PodTaskTrigger(**more, containers=["base", "side"]))
    assert "is shown when it ends" in caplog.text
    assert "log_positions" not in event.payload
    assert server.logs_open == 0
    (event,) = await events(PodTaskTrigger(**more, containers=["base"]))
    assert server.logs_open > 0
    assert cap.acquire(blocking=False), "it is given back"
