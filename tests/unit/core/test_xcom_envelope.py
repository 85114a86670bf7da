"""Envelopes, logs and results: valid, damaged and hostile ones."""

import base64
import gzip
import hashlib
import json
from typing import Any

import pytest

from podtask.core import xcom_envelope
from podtask.core.xcom_envelope import Envelope, XComError, XComMissing

DATA = b'{"a": 1}'


def packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data)).decode()


def sealed(data: bytes = DATA, **fields: Any) -> Envelope:
    wire: dict[str, Any] = {
        "v": 1,
        "state": "inline",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "encoding": "raw",
        "payload": data.decode(),
    }
    return xcom_envelope.parse_envelope(json.dumps(wire | fields))


def reason(error: pytest.ExceptionInfo[XComError]) -> str:
    return error.value.reason.value


def test_inline() -> None:
    assert xcom_envelope.open_envelope(sealed(), 100) == DATA
    assert xcom_envelope.open_envelope(sealed(encoding="gzip+base64", payload=packed(DATA)), 100) == DATA
    assert xcom_envelope.open_envelope(sealed(b""), 100) == b""


def test_missing() -> None:
    with pytest.raises(XComMissing):
        xcom_envelope.open_envelope(xcom_envelope.parse_envelope('{"v":1,"state":"missing"}'), 100)


MESSAGES = {
    "not JSON": "oops",
    "empty": "",
    "another version": '{"v":2,"state":"missing"}',
    "no state": '{"v":1}',
    "a number of another kind": '{"v":1,"state":"inline","size":1e400}',
    "NaN": '{"v":1,"state":"inline","size":NaN}',
    "a list": "[]",
    "nested without end": '{"x":' + "[" * 100_000,
    "a byte order mark": '\ufeff{"v":1,"state":"missing"}',
    "a lone surrogate": '{"v":1,"state":"\\ud800"}',
    "cut by the kubelet": '{"v":1,"state":"inline","payl',
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_what_is_no_envelope(message: str) -> None:
    with pytest.raises(XComError) as error:
        xcom_envelope.parse_envelope(message)
    assert reason(error) == "XComSidecarFailed"


LOSSES: dict[str, tuple[dict[str, Any], str]] = {
    "too large": ({"state": "tooLarge", "size": 10**6}, "XComTooLarge"),
    "too large, size unknown": ({"state": "tooLarge", "size": 0}, "XComTooLarge"),
    "no room for a header": ({"state": "noRoom", "size": 90}, "XComSidecarFailed"),
    "no room for a header, as older sidecars say it": ({"state": "tooLarge", "size": 90}, "XComSidecarFailed"),
    "unreadable": ({"state": "unreadable", "message": "permission denied"}, "XComUnreadable"),
    "an unknown state": ({"state": "later"}, "XComSidecarFailed"),
    "an unknown encoding": ({"encoding": "rot13"}, "XComSidecarFailed"),
    "a wrong size": ({"size": 3}, "XComLost"),
    "a negative size": ({"size": -3}, "XComLost"),
    "a size beyond all numbers": ({"size": 10**30}, "XComLost"),
    "a wrong digest": ({"sha256": "00"}, "XComLost"),
    "no base64": ({"encoding": "gzip+base64", "payload": "%%%"}, "XComSidecarFailed"),
    "no gzip": ({"encoding": "gzip+base64", "payload": "aGVsbG8="}, "XComSidecarFailed"),
    "gzip that is cut": ({"encoding": "gzip+base64", "payload": packed(DATA)[:24]}, "XComSidecarFailed"),
    "a bomb": ({"encoding": "gzip+base64", "payload": packed(b"0" * 10_000_000), "size": 10_000_000}, "XComLost"),
}


@pytest.mark.parametrize(("fields", "want"), LOSSES.values(), ids=LOSSES)
def test_losses(fields: dict[str, Any], want: str) -> None:
    with pytest.raises(XComError) as error:
        xcom_envelope.open_envelope(sealed(**fields), 100)
    assert reason(error) == want


def frames(data: bytes, size: int = 8) -> tuple[Envelope, list[bytes]]:
    payload = packed(data)
    parts = [payload[i : i + size] for i in range(0, len(payload), size)]
    envelope = sealed(data, state="log", encoding="gzip+base64", chunks=len(parts), payload="")
    mark = envelope.sha256[:16]
    return envelope, [f"podtask-xcom/1 {mark} {i}/{len(parts)} {p}".encode() for i, p in enumerate(parts, 1)]


def test_log() -> None:
    envelope, lines = frames(DATA)
    assert xcom_envelope.open_log(b"\n".join(lines), envelope, 100) == DATA
    foreign = [b"hello", b"podtask-xcom/1 0000000000000000 1/9 AAAA", lines[0].replace(b"1/", b"1/9"), b"\xff\xfe"]
    shuffled = [*reversed(lines), *foreign, *lines]
    assert xcom_envelope.open_log(b"\n".join(shuffled), envelope, 100) == DATA


def test_log_with_a_hole() -> None:
    envelope, lines = frames(DATA)
    with pytest.raises(XComError, match="1 of ") as error:
        xcom_envelope.open_log(b"\n".join(lines[1:]), envelope, 100)
    assert reason(error) == "XComLost"


@pytest.mark.parametrize("chunks", [0, -1, 10**12, 10**30])
def test_log_with_a_number_of_chunks_that_nobody_could_send(chunks: int) -> None:
    envelope, lines = frames(DATA)
    hostile = sealed(state="log", encoding="gzip+base64", chunks=chunks, payload="", sha256=envelope.sha256)
    mark = lines[0].split()[1].decode()
    lines.append(f"podtask-xcom/1 {mark} {'9' * 5000}/{chunks} AAAA".encode())
    with pytest.raises(XComError) as error:
        xcom_envelope.open_log(b"\n".join(lines), hostile, 100)
    assert reason(error) == "XComLost"


JUDGED: dict[str, tuple[bytes, str | None]] = {
    "an object": (b'{"a": [1, null]}', None),
    "null": (b"null", None),
    "text with white space around": (b' "x"\n', None),
    "an escaped pair of surrogates": (b'"\\ud83d\\ude00"', None),
    "what only looks like an escape": (b'"\\\\ud800 \\\\u0000"', None),
    "a number just within a double": (b"[1.7e308, 1e-999]", None),
    "as many digits as Python converts": (b"[" + b"1" * 4300 + b"]", None),
    "cut short": (b'{"a"', "XComInvalid"),
    "two values": (b"1 2", "XComInvalid"),
    "NaN": (b"[NaN]", "XComInvalid"),
    "infinity": (b"-Infinity", "XComInvalid"),
    "Latin-1": (b'"\xe9"', "XComInvalid"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "XComInvalid"),
    "nested without end": (b"[" * 50_000, "XComInvalid"),
    "over the limit": (b'"' + b"x" * 60_000 + b'"', "XComTooLarge"),
}


@pytest.mark.parametrize(("content", "want"), JUDGED.values(), ids=JUDGED)
def test_judge(content: bytes, want: str | None) -> None:
    if want is None:
        got = xcom_envelope.to_status(content, 50_000, 2)
        assert (got.state, got.value, got.size_bytes, got.attempt) == ("Collected", content.decode(), len(content), 2)
        assert got.sha256 == hashlib.sha256(content).hexdigest()
        return
    with pytest.raises(XComError) as error:
        xcom_envelope.to_status(content, 50_000, 2)
    assert reason(error) == want


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "a lone surrogate": (b'{"\xc3\xa9": "a\\udcff"}', r"at byte 7 a string has the lone surrogate \\udcff"),
    "half a pair": (b'["\\uDE00\\uD83D"]', r"at byte 1 a string has the lone surrogate \\ude00"),
    "in a key": (b'{"\\ud800": 1}', r"at byte 1 a string has the lone surrogate \\ud800"),
    "NUL": (b'["x", "a\\u0000"]', r"at byte 6 a string has the character \\u0000 \(NUL\)"),
    "beyond a double": (b'["1e999", 1e999]', "at byte 10 the number 1e999 is beyond what a double holds"),
    "and below": (b"[-1.5E+400]", "at byte 1 the number -1.5E\\+400 is beyond what a double holds"),
    "by its digits": (b"[" + b"9" * 310 + b".0]", "at byte 1 the number 9{40} is beyond what a double holds"),
    "more digits than Python converts": (b'{"n": -' + b"9" * 5000 + b"}", "at byte 6 a number has 5000 digits"),
}


@pytest.mark.parametrize(("content", "words"), UNREADABLE.values(), ids=UNREADABLE)
def test_json_that_not_every_reader_takes_is_refused_by_its_place(content: bytes, words: str) -> None:
    with pytest.raises(XComError, match=words) as error:
        xcom_envelope.to_status(content, 50_000, 2)
    assert reason(error) == "XComInvalid"
    assert "not JSON" not in str(error.value)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_python_constants_are_named(constant: str) -> None:
    with pytest.raises(XComError, match=f"the result is not JSON: {constant} is not a JSON number"):
        xcom_envelope.to_status(f"[{constant}]".encode(), 50_000, 2)


@pytest.mark.parametrize("blank", [b"", b" \n\t"])
def test_a_blank_file_is_missing(blank: bytes) -> None:
    with pytest.raises(XComMissing):
        xcom_envelope.to_status(blank, 100, 1)


def test_words_of_the_task_never_break_the_status_limits() -> None:
    with pytest.raises(XComError) as error:
        xcom_envelope.open_envelope(sealed(state="unreadable", message="\x00" * 5000), 100)
    assert len(xcom_envelope.failed_status(error.value, 1).message) <= 1024
    assert xcom_envelope.empty_status(3).attempt == 3


def test_a_bomb_is_never_unpacked_whole() -> None:
    with pytest.raises(XComError, match="101 of 10000000 bytes"):
        xcom_envelope.open_envelope(
            sealed(encoding="gzip+base64", payload=packed(b"0" * 10_000_000), size=10_000_000), max_bytes=100
        )
