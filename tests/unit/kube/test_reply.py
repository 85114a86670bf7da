"""What answers mean."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podtask.kube import client, errors, reply


def status(**fields: object) -> bytes:
    return orjson.dumps({"kind": "Status", "apiVersion": "v1"} | fields)


ERRORS = {
    "a status": (
        (409, "application/json", "", status(reason="AlreadyExists", message="exists", code=409)),
        (errors.Conflict, "AlreadyExists", "exists", None),
    ),
    "Retry-After as a header": (
        (429, "application/json", "3", status(reason="TooManyRequests", message="later")),
        (errors.TooManyRequests, "TooManyRequests", "later", 3.0),
    ),
    "Retry-After in the details": (
        (503, "application/json", "", status(message="m", details={"retryAfterSeconds": 2})),
        (errors.ServerError, "", "m", 2.0),
    ),
    "Retry-After as a date is none": (
        (429, "application/json", "Wed, 21 Oct 2015 07:28:00 GMT", status(message="m")),
        (errors.TooManyRequests, "", "m", None),
    ),
    "HTML is not repeated": (
        (502, "text/html; charset=utf-8", "", b"<html>secret</html>"),
        (errors.ServerError, "", "HTTP 502 with a body of text/html, not a Kubernetes Status", None),
    ),
    "JSON of another kind is not repeated": (
        (403, "application/json", "", b'{"message": "secret"}'),
        (errors.Forbidden, "", "HTTP 403 with a body of application/json, not a Kubernetes Status", None),
    ),
    "a status with nulls": (
        (404, "application/json", "", status(reason=None, message=None, details=None)),
        (errors.NotFound, "", "HTTP 404", None),
    ),
    "no body and no type": (
        (500, "", "", b""),
        (errors.ServerError, "", "HTTP 500 with a body of unknown type, not a Kubernetes Status", None),
    ),
    "a redirect is an error": (
        (302, "text/plain", "", b""),
        (errors.ApiError, "", "HTTP 302 with a body of text/plain, not a Kubernetes Status", None),
    ),
}


@pytest.mark.parametrize(("given_answer", "want"), ERRORS.values(), ids=ERRORS.keys())
def test_error(
    given_answer: tuple[int, str, str, bytes], want: tuple[type[errors.ApiError], str, str, float | None]
) -> None:
    got = reply.error(*given_answer)
    assert (type(got), got.reason, got.message, got.retry_after) == want
    assert got.code == given_answer[0]


def test_a_long_message_is_cut() -> None:
    got = reply.error(422, "application/json", "", status(message="x" * 5000))
    assert got.message == "x" * errors.MESSAGE_LIMIT
    assert str(got) == got.message


@pytest.mark.parametrize("kind", list(client.EventType))
def test_a_watch_event(kind: client.EventType) -> None:
    raw = b'{"type":"' + kind.encode() + b'","object":{"metadata":{"name":"a"}}}'
    assert reply.watch_event(raw) == client.WatchEvent(kind, b'{"metadata":{"name":"a"}}')


@pytest.mark.parametrize(
    ("code", "want"),
    [(410, errors.Gone), (500, errors.ServerError), (403, errors.Forbidden), (504, errors.ServerError)],
)
def test_an_error_event_is_raised(code: int, want: type[errors.ApiError]) -> None:
    with pytest.raises(want, match="too old") as caught:
        reply.watch_event(b'{"type":"ERROR","object":' + status(code=code, message="too old", reason="R") + b"}")
    assert (caught.value.code, caught.value.reason) == (code, "R")


@pytest.mark.parametrize(
    "raw", [b"nonsense", b'{"type":"ADDED"}', b'{"type":"RENAMED","object":{}}', b'{"type":"ADDED","object":{"a"']
)
def test_a_line_that_cannot_be_read(raw: bytes) -> None:
    with pytest.raises(errors.TransportError):
        reply.watch_event(raw)


def test_an_error_event_that_is_no_status() -> None:
    with pytest.raises(errors.ServerError):
        reply.watch_event(b'{"type":"ERROR","object":{"kind":"Pod"}}')


@given(st.lists(st.binary(max_size=20).filter(lambda raw: b"\n" not in raw and raw)), st.lists(st.integers(1, 7)))
def test_lines_do_not_depend_on_how_the_stream_is_cut(want: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in want)
    lines = reply.Lines()
    got = []
    for size in sizes:
        got += lines.feed(stream[:size])
        stream = stream[size:]
    got += lines.feed(stream)
    assert got == want


def test_an_unfinished_line_is_not_given_out() -> None:
    lines = reply.Lines()
    assert lines.feed(b"a\n\nb") == [b"a"]
    assert lines.feed(b"c") == []
    assert lines.feed(b"\n") == [b"bc"]


def test_a_line_without_end_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply, "_LONGEST_LINE", 10)
    lines = reply.Lines()
    lines.feed(b"12345")
    with pytest.raises(errors.TransportError, match="longer than 10"):
        lines.feed(b"678901")
