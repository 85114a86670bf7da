"""Requests, retries, credentials and streams, against an API server of plain HTTP that says what a test wants."""

import json
import threading
import time
from pathlib import Path

import pytest
import wire
from podtask_airflow.hooks import api_errors
from podtask_airflow.hooks import podtask as hook


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "MAX_DELAY", 0.01)


def test_requests_go_to_the_right_place(tmp_path: Path) -> None:
    with wire.fake(lambda r: r.json({"items": [], "metadata": {}}), tmp_path) as (api, one):
        one.create("ns", wire.task("a"))
        one.get("ns", "a")
        one.patch("ns", "a", [{"op": "test", "path": "/x", "value": 1}])
        assert list(one.list("ns", "k=v")) == []
        one.events("ns", "uid-1")
    base = "/apis/podtask.dev/v1alpha1/namespaces/ns/podtasks"
    assert [(r.method, r.path) for r in api.requests] == [
        ("POST", base),
        ("GET", f"{base}/a"),
        ("PATCH", f"{base}/a"),
        ("GET", base),
        ("GET", "/api/v1/namespaces/ns/events"),
    ]
    assert api.requests[0].query == {"fieldValidation": "Strict"}
    assert json.loads(api.requests[0].body) == wire.task("a")
    assert [r.headers.get("content-type") for r in api.requests[:3]] == [
        "application/json",
        None,
        "application/json-patch+json",
    ]
    assert api.requests[3].query == {"labelSelector": "k=v", "limit": "500"}
    assert api.requests[4].query["fieldSelector"] == "involvedObject.uid=uid-1"
    assert api.connections == 1, "one connection is kept alive"


def test_a_name_cannot_leave_its_path(tmp_path: Path) -> None:
    with wire.fake(lambda r: r.json({}), tmp_path) as (api, one):
        one.get("ns", "../../x?y")
    assert api.requests[0].path.endswith("/podtasks/..%2F..%2Fx%3Fy")


def test_a_list_goes_page_by_page(tmp_path: Path) -> None:
    def answer(request: wire.Request) -> None:
        page = int(request.query.get("continue", "0"))
        more = str(page + 1) if page < 2 else ""
        request.json({"items": [{"n": page}], "metadata": {"continue": more}})

    with wire.fake(answer, tmp_path) as (_, one):
        assert [item["n"] for item in one.list("ns")] == [0, 1, 2]


@pytest.mark.parametrize("code", [429, 500, 503])
def test_what_passes_by_itself_is_tried_again(tmp_path: Path, code: int) -> None:
    def answer(request: wire.Request) -> None:
        if request.number < 4:
            request.reply(code, wire.status(code, "R", "later"), Retry_After="0")
        else:
            request.json({"ok": True})

    with wire.fake(answer, tmp_path) as (api, one):
        assert one.create("ns", wire.task("a")) == {"ok": True}
    assert len(api.requests) == 4


def test_a_cut_reply_is_tried_again(tmp_path: Path) -> None:
    def answer(request: wire.Request) -> None:
        if request.number == 1:
            request.cut()
        elif request.number == 2:
            request.handler.send_response(200)
            request.handler.send_header("Content-Length", "100")
            request.handler.end_headers()
            request.handler.wfile.write(b'{"half":')
            request.cut()
        else:
            request.json({"ok": True})

    with wire.fake(answer, tmp_path) as (api, one):
        assert one.get("ns", "a") == {"ok": True}
    assert len(api.requests) == 3


def test_the_server_says_how_long_to_wait(tmp_path: Path) -> None:
    def answer(request: wire.Request) -> None:
        if request.number == 1:
            request.reply(429, wire.status(429, "TooManyRequests", "slow down"), Retry_After="1")
        else:
            request.json({})

    with wire.fake(answer, tmp_path) as (_, one):
        began = time.monotonic()
        one.get("ns", "a")
    assert time.monotonic() - began >= 1


def test_the_budget_ends_it(tmp_path: Path) -> None:
    answer = lambda r: r.reply(503, wire.status(503, "R", "no"))  # noqa: E731
    with wire.fake(answer, tmp_path, budget=1.0) as (api, one), pytest.raises(api_errors.Unreachable):
        one.get("ns", "a")
    assert len(api.requests) > 1


def test_a_wait_longer_than_the_budget_is_not_begun(tmp_path: Path) -> None:
    answer = lambda r: r.reply(429, wire.status(429, "R", "no"), Retry_After="3600")  # noqa: E731
    with wire.fake(answer, tmp_path) as (api, one), pytest.raises(api_errors.TooManyRequests):
        one.get("ns", "a")
    assert len(api.requests) == 1


def test_closing_ends_a_wait(tmp_path: Path) -> None:
    answer = lambda r: r.reply(429, wire.status(429, "R", "no"), Retry_After="30")  # noqa: E731
    with wire.fake(answer, tmp_path) as (_, one):
        threading.Timer(0.2, one.close).start()
        began = time.monotonic()
        with pytest.raises(api_errors.TooManyRequests):
            one.get("ns", "a")
        assert time.monotonic() - began < 30, "the wait was not sat out"


@pytest.mark.parametrize("code", [400, 403, 404, 409, 410, 422])
def test_a_refusal_is_not_tried_again(tmp_path: Path, code: int) -> None:
    answer = lambda r: r.reply(code, wire.status(code, "R", "no"))  # noqa: E731
    with wire.fake(answer, tmp_path) as (api, one), pytest.raises(api_errors.ApiError) as caught:
        one.create("ns", wire.task("a"))
    assert caught.value.status == code
    assert len(api.requests) == 1


def test_nobody_listens(tmp_path: Path) -> None:
    with wire.FakeApi(lambda r: r.json({})) as api:
        path = wire.kubeconfig_of(api.url, tmp_path / "k")
    with pytest.raises(api_errors.Unreachable, match="check that it is up"):
        wire.client_of(path, budget=0.1).get("ns", "a")


def test_a_patch_whose_test_failed_is_told_from_a_refused_object(tmp_path: Path) -> None:
    messages = ["the server rejected our request due to an error in our request", "spec.image: Forbidden"]
    with wire.fake(lambda r: r.reply(422, wire.status(422, "Invalid", messages[r.number - 1])), tmp_path) as (_, one):
        with pytest.raises(api_errors.PatchTestFailed):
            one.patch("ns", "a", [])
        with pytest.raises(api_errors.Invalid) as caught:
            one.patch("ns", "a", [])
    assert type(caught.value) is api_errors.Invalid


def make_counting(api: wire.FakeApi) -> tuple[hook.PodTaskClient, list[int]]:
    from kubernetes.client import ApiClient, Configuration

    made: list[int] = []

    def connect() -> ApiClient:
        made.append(1)
        configuration = Configuration()
        configuration.host = api.url
        configuration.auth_settings = lambda: {  # type: ignore[method-assign]
            "x": {"key": "authorization", "value": f"Bearer {len(made)}"}
        }
        return ApiClient(configuration)

    return hook.PodTaskClient(connect), made


def test_a_401_renews_the_credentials_once_for_all_threads() -> None:
    def answer(request: wire.Request) -> None:
        if request.headers["authorization"] == "Bearer 1":
            barrier.wait(5)
            request.reply(401, wire.status(401, "Unauthorized", "Unauthorized"))
        else:
            request.json({"ok": True})

    barrier = threading.Barrier(8)
    with wire.FakeApi(answer) as api:
        one, made = make_counting(api)
        found: list[object] = []
        threads = [threading.Thread(target=lambda: found.append(one.get("ns", "a"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert found == [{"ok": True}] * 8
    assert len(made) == 2


def test_a_401_again_is_the_end() -> None:
    with wire.FakeApi(lambda r: r.reply(401, wire.status(401, "Unauthorized", "Unauthorized"))) as api:
        one, made = make_counting(api)
        with pytest.raises(api_errors.Unauthorized):
            one.get("ns", "a")
    assert len(made) == 2
    assert len(api.requests) == 2


def test_a_watch_gives_events_as_they_come(tmp_path: Path) -> None:
    go_on = threading.Event()

    def answer(request: wire.Request) -> None:
        request.begin()
        line = json.dumps({"type": "ADDED", "object": {"n": 1}}).encode() + b"\n"
        request.chunk(line[:7])
        request.chunk(line[7:] + line)
        go_on.wait(5)
        request.chunk(json.dumps({"type": "DELETED", "object": {"n": 2}}).encode() + b"\n")
        request.chunk(b"")

    with wire.fake(answer, tmp_path) as (api, one):
        events = iter(one.watch("ns", selector="a=b", resource_version="7"))
        assert next(events) == next(events) == ("ADDED", {"n": 1})
        go_on.set()
        assert list(events) == [("DELETED", {"n": 2})]
        one.pod_log("ns", "p", "c").close()
        assert api.connections == 1, "a watch that has ended gives its connection back"
    assert api.requests[0].query["resourceVersion"] == "7"
    assert api.requests[0].query["allowWatchBookmarks"] == "true"


@pytest.mark.parametrize("whole", [True, False])
def test_an_old_version_is_expired(tmp_path: Path, whole: bool) -> None:
    def answer(request: wire.Request) -> None:
        if whole:
            request.reply(410, wire.status(410, "Expired", "too old"))
            return
        request.begin()
        request.chunk(b'{"type":"ERROR","object":' + wire.status(410, "Expired", "too old") + b"}\n")
        request.chunk(b"")

    with wire.fake(answer, tmp_path) as (_, one), pytest.raises(api_errors.Expired):
        list(one.watch("ns", resource_version="1"))


def test_a_cut_stream_is_an_error_and_a_closed_one_an_end(tmp_path: Path) -> None:
    is_read = threading.Event()

    def answer(request: wire.Request) -> None:
        request.begin()
        request.chunk(b"one\ntw")
        if request.query["container"] == "cut":
            request.cut()
        else:
            is_read.wait(30)

    with wire.fake(answer, tmp_path) as (_, one):
        lines = iter(one.pod_log("ns", "p", "cut", follow=True))
        assert next(lines) == b"one"
        with pytest.raises(api_errors.Unreachable):
            next(lines)
        stream = one.pod_log("ns", "p", "open", follow=True)
        found: list[bytes] = []
        thread = threading.Thread(target=lambda: found.extend(stream))
        thread.start()
        wire.until_true(lambda: found)
        began = time.monotonic()
        stream.close()
        thread.join(wire.HANG_SECONDS)
        assert time.monotonic() - began < 30, "the server would have ended it then"
        is_read.set()
        assert found == [b"one"]


def test_closing_the_client_ends_its_streams(tmp_path: Path) -> None:
    is_read = threading.Event()

    def answer(request: wire.Request) -> None:
        request.begin()
        request.chunk(b"one\n")
        is_read.wait(30)

    with wire.fake(answer, tmp_path) as (_, one):
        found: list[bytes] = []
        threads = [
            threading.Thread(target=found.extend, args=(one.pod_log("ns", "p", "c", follow=True),)) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        wire.until_true(lambda: len(found) == 3)
        began = time.monotonic()
        one.close()
        for thread in threads:
            thread.join(wire.HANG_SECONDS)
        assert time.monotonic() - began < 30, "the server would have ended them then"
        is_read.set()


def cpu_seconds_of_a_line(tmp_path: Path, mib: int) -> float:
    line = b"x" * (mib * 1024 * 1024)

    def answer(request: wire.Request) -> None:
        request.begin()
        for begin in range(0, len(line), 4096):
            request.chunk(line[begin : begin + 4096])
        request.chunk(b"\nrest")
        request.chunk(b"")

    with wire.fake(answer, tmp_path) as (_, one):
        stream = one.pod_log("ns", "p", "c")
        began = time.process_time()
        assert list(stream) == [line, b"rest"]
        assert stream.is_cut
        return time.process_time() - began


def test_a_long_line_costs_linear_time(tmp_path: Path) -> None:
    """Eight times the length would cost 64 times as much if each piece were looked at anew."""
    short, long = (cpu_seconds_of_a_line(tmp_path, mib) for mib in (4, 32))
    print(f"4 MiB: {short:.2f} s of CPU, 32 MiB: {long:.2f} s")
    assert long < 24 * short
