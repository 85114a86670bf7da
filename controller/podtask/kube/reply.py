"""Decodes replies: errors, and lines of a watch. Pages of a list are decoded by `list_splitter`.

Only the envelope is decoded. An object stays bytes, and the caller decodes the few fields that it needs.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from . import client, errors, json_depth

_LONGEST_LINE = 64 << 20
"""Bytes. etcd takes objects of 1.5 MiB; a line longer than this is no watch event but a fault."""


class _Details(msgspec.Struct):
    retry_after: int | None = msgspec.field(name="retryAfterSeconds", default=None)


class _Status(msgspec.Struct):
    kind: str = ""
    reason: str | None = None
    message: str | None = None
    code: int | None = None
    details: _Details | None = None


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


T = TypeVar("T")
_status = msgspec.json.Decoder(_Status)
_line = msgspec.json.Decoder(_Line)

_TYPES = {kind.value: kind for kind in client.EventType}


def error(code: int, content_type: str, retry_after: str, body: bytes) -> errors.ApiError:
    """Read the error out of an answer that is not 2xx.

    A body that is not a Kubernetes `Status` is left out of the message: it comes from a proxy and may contain anything.
    """
    seconds = _seconds(retry_after)
    status = _decode_status(body)
    if status is None:
        kind = content_type.partition(";")[0].strip()[:100] or "unknown type"
        return errors.from_status(code, "", f"HTTP {code} with a body of {kind}, not a Kubernetes Status", seconds)
    if seconds is None and status.details is not None and status.details.retry_after is not None:
        seconds = float(status.details.retry_after)
    return errors.from_status(code, status.reason or "", status.message or f"HTTP {code}", seconds)


def watch_event(line: bytes) -> client.WatchEvent:
    """Read one line of a watch; an ERROR line is raised as the error in it."""
    try:
        value = _shallow(_line.decode, line)
    except msgspec.MsgspecError as fault:
        raise errors.TransportError(f"a line of the watch cannot be read: {fault}") from fault
    kind = _TYPES.get(value.type)
    if kind is not None:
        return client.WatchEvent(kind, bytes(value.object))
    if value.type != "ERROR":
        raise errors.TransportError(f"the watch sent an event of the unknown type {value.type[:50]!r}")
    status = _decode_status(bytes(value.object))
    if status is None:
        raise errors.from_status(500, "", "the watch ended with an error that is not a Kubernetes Status")
    raise errors.from_status(status.code or 500, status.reason or "", status.message or "the watch ended")


class Lines:
    """Cuts a stream of chunks into lines of any length, each byte being copied a fixed number of times."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next chunk; return the lines that it completes, without empty ones."""
        first, *rest = chunk.split(b"\n")
        self._parts.append(first)
        self._size += len(first)
        if self._size > _LONGEST_LINE:
            raise errors.TransportError(f"a line of the watch is longer than {_LONGEST_LINE} bytes")
        if not rest:
            return []
        lines = [b"".join(self._parts), *rest[:-1]]
        self._parts = [rest[-1]]
        self._size = len(rest[-1])
        return [line for line in lines if line]


def _shallow(decode: Callable[[bytes], T], raw: bytes) -> T:
    """Decode; of an object that is too deep for that, what is not."""
    try:
        return decode(raw)
    except RecursionError:
        return decode(json_depth.cut(raw))


def _decode_status(body: bytes) -> _Status | None:
    try:
        status = _status.decode(body)
    except msgspec.MsgspecError:
        return None
    return status if status.kind == "Status" else None


def _seconds(header: str) -> float | None:
    # The API server sends whole seconds; a date (from some proxy) is as good as none.
    return float(header) if header.isascii() and header.isdigit() else None
