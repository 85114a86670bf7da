"""Decode and check the result of a task, from the sidecar's envelope and log or from a termination message.

An oversized, missing or invalid result has a specific reason. A result is never truncated. The sidecar only delivers
bytes; they are checked here. `sidecar/README.md` describes the fields of the envelope.
"""

import base64
import binascii
import gzip
import hashlib
import io
import json
import math
import re
import zlib
from typing import NoReturn

import msgspec

from ..api.reasons import Reason
from ..api.v1alpha1.values import ResultState
from .snapshot import XComStatus

_FRAME = b"podtask-xcom/1 "
_INDEX_DIGITS = 6
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][0-9.eE+-]*')
"""A string or a number in valid JSON."""
_SUSPECT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])|[0-9][eE]\+?[0-9]{2}|[0-9]{300}")
"""Matches every text with a token that some parsers refuse, and few others. Only then each token is checked."""
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_DIGITS = 4300
"""Python's limit for the conversion of an integer; most readers of results are written in Python."""
_SHOWN = 40
_TEXT_LIMIT = 1024
"""Characters of a message. It may quote what the task wrote, and the message in the status is limited."""


class Envelope(msgspec.Struct, frozen=True):
    """The sidecar's termination message."""

    v: int
    state: str
    size: int = 0
    sha256: str = ""
    encoding: str = "raw"
    payload: str = ""
    chunks: int = 0
    message: str = ""


class XComError(Exception):
    """The result cannot be collected. It has a `reason`, and the message for the status."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class XComMissing(Exception):
    """The result file is missing or blank, which is an error only if the result is required."""


def parse_envelope(message: str) -> Envelope:
    """Parse the sidecar's termination message. Raises `XComError`."""
    try:
        envelope = msgspec.json.decode(message, type=Envelope)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise XComError(Reason.XCOM_SIDECAR_FAILED, f"the sidecar's message is not an envelope: {error}") from error
    if envelope.v != 1:
        raise XComError(
            Reason.XCOM_SIDECAR_FAILED, f"the envelope has version {envelope.v}, the controller supports version 1"
        )
    return envelope


def open_envelope(envelope: Envelope, max_bytes: int) -> bytes:
    """Return the bytes of the result file from an inline envelope. Raises `XComMissing` or `XComError`."""
    match envelope.state:
        case "inline":
            return _verified(_decode(envelope.payload.encode(), envelope, max_bytes), envelope)
        case "missing":
            raise XComMissing
        case "tooLarge" if envelope.size > max_bytes or not envelope.size:
            raise too_large(envelope.size, max_bytes)
        # Older sidecars send "tooLarge", also within the limit, instead of "noRoom".
        case "noRoom" | "tooLarge":
            raise XComError(
                Reason.XCOM_SIDECAR_FAILED,
                f"the result of {envelope.size} bytes cannot be delivered: with so many containers in the Pod a"
                " termination message is too short even for the header; use fewer containers",
            )
        case "unreadable":
            raise XComError(Reason.XCOM_UNREADABLE, f"the sidecar cannot read the file: {envelope.message}")
        case other:
            raise XComError(Reason.XCOM_SIDECAR_FAILED, f"the sidecar's state {other!r} is not known")


def open_log(log: bytes, envelope: Envelope, max_bytes: int) -> bytes:
    """Return the bytes of the result file from the frames in the sidecar's log. Raises `XComError`."""
    prefix = _FRAME + envelope.sha256[:16].encode() + b" "
    parts: dict[int, bytes] = {}
    for line in log.splitlines():
        if not line.startswith(prefix):
            continue
        position, _, part = line[len(prefix) :].partition(b" ")
        index, _, total = position.partition(b"/")
        if index.isdigit() and len(index) <= _INDEX_DIGITS and total == str(envelope.chunks).encode():
            parts[int(index)] = part
    # Iterate over the received parts, because the number of chunks is untrusted and may be of any size.
    found = sorted(i for i in parts if 1 <= i <= envelope.chunks)
    if len(found) != envelope.chunks or not found:
        missing = envelope.chunks - len(found)
        raise XComError(
            Reason.XCOM_LOST, f"{missing} of {envelope.chunks} parts of the result are not in the sidecar's log"
        )
    joined = b"".join(parts[i] for i in found)
    return _verified(_decode(joined, envelope, max_bytes), envelope)


def too_large(size: int, max_bytes: int) -> XComError:
    """Return the error for a result above the limit."""
    return XComError(Reason.XCOM_TOO_LARGE, f"the result has {size} bytes, xcom.maxBytes allows {max_bytes}")


def _decode(payload: bytes, envelope: Envelope, max_bytes: int) -> bytes:
    if envelope.encoding == "raw":
        return payload
    if envelope.encoding != "gzip+base64":
        raise XComError(Reason.XCOM_SIDECAR_FAILED, f"the encoding {envelope.encoding!r} is not known")
    try:
        packed = base64.b64decode(payload, validate=True)
        # The task can write an envelope itself, so at most the allowed size is decompressed.
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            content = stream.read(max_bytes + 1)
    except (binascii.Error, OSError, EOFError, zlib.error) as error:
        raise XComError(Reason.XCOM_SIDECAR_FAILED, f"the payload cannot be decompressed: {error}") from error
    return content


def _verified(content: bytes, envelope: Envelope) -> bytes:
    if len(content) != envelope.size or hashlib.sha256(content).hexdigest() != envelope.sha256:
        raise XComError(
            Reason.XCOM_LOST, f"the result is damaged: {len(content)} of {envelope.size} bytes, or a wrong digest"
        )
    return content


def to_status(content: bytes, max_bytes: int, attempt: int) -> XComStatus:
    """Return the status for the bytes of the result file. Raises `XComMissing` if they are blank, and `XComError`."""
    if len(content) > max_bytes:
        raise too_large(len(content), max_bytes)
    if not content.strip():
        raise XComMissing
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise XComError(
            Reason.XCOM_INVALID, f"the result is not UTF-8: {error.reason} at byte {error.start}"
        ) from error
    _check_json(text)
    return XComStatus(
        state=ResultState.COLLECTED,
        value=text,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        attempt=attempt,
    )


def _check_json(text: str) -> None:
    """Refuse invalid JSON, and JSON that some parsers refuse. Raises `XComError`."""
    try:
        # Integers stay strings: Python converts at most 4,300 digits.
        json.loads(text, parse_int=str, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise XComError(Reason.XCOM_INVALID, "the result is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise XComError(Reason.XCOM_INVALID, f"the result is not JSON: {error}") from error
    if _SUSPECT.search(text):
        _check_tokens(text)


def _check_tokens(text: str) -> None:
    for found in _TOKEN.finditer(text):
        token = found[0]
        problem = _text_problem(token) if token.startswith('"') else _number_problem(token)
        if problem:
            at = len(text[: found.start()].encode())
            raise XComError(Reason.XCOM_INVALID, f"some parsers cannot read the result: at byte {at} {problem}")


def _text_problem(token: str) -> str:
    if "\\u" not in token:
        return ""
    value = json.loads(token)
    lone = _LONE_SURROGATE.search(value)
    if lone:
        return (
            f"a string has the lone surrogate \\u{ord(lone[0]):04x}, which is not a character; write it as valid UTF-8"
        )
    if "\0" in value:
        return "a string has the character \\u0000 (NUL), which databases refuse; leave it out"
    return ""


def _number_problem(token: str) -> str:
    if set(token) & set(".eE"):
        is_beyond = math.isinf(float(token))
        return f"the number {token[:_SHOWN]} is beyond what a double holds, and reads as Infinity" if is_beyond else ""
    digits = len(token.lstrip("-"))
    is_longer = digits > _MOST_DIGITS
    return f"a number has {digits} digits, and the maximum is {_MOST_DIGITS}; write it as a string" if is_longer else ""


def _refuse_constant(name: str) -> NoReturn:
    raise XComError(Reason.XCOM_INVALID, f"the result is not JSON: {name} is not a JSON number")


def failed_status(error: XComError, attempt: int) -> XComStatus:
    """Return the status of a result that could not be collected."""
    return XComStatus(state=ResultState.FAILED, reason=error.reason, message=str(error)[:_TEXT_LIMIT], attempt=attempt)


def empty_status(attempt: int) -> XComStatus:
    """Return the status of a task that wrote no result."""
    return XComStatus(
        state=ResultState.EMPTY,
        reason=Reason.XCOM_MISSING,
        message="the result file is missing or blank",
        attempt=attempt,
    )
