"""Open replies of the API server: lines of a log, and events of a watch. Any thread may close them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from . import api_errors

CHUNK_BYTES = 64 * 1024


class Stream:
    """The lines of an open reply. `close` ends the reading without an exception in the reading thread."""

    def __init__(self, response: Any, doing: str, on_end: Callable[[Stream], None]) -> None:
        self._response = response
        self._doing = doing
        self._on_end = on_end
        self._closed = threading.Event()
        self.is_cut = False
        """Whether the last line that was returned had no newline."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._lines()
        finally:
            self._on_end(self)
            self._release()

    def _lines(self) -> Iterator[bytes]:
        pending = bytearray()
        for chunk in self._chunks():
            searched = len(pending)
            pending += chunk
            end = pending.find(b"\n", searched)
            begin = 0
            while end >= 0:
                yield bytes(pending[begin:end])
                begin = end + 1
                end = pending.find(b"\n", begin)
            del pending[:begin]
        if pending and not self._closed.is_set():
            self.is_cut = True
            yield bytes(pending)

    def _chunks(self) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        try:
            for chunk in self._response.stream(CHUNK_BYTES, decode_content=True):
                if self._closed.is_set():
                    return
                yield chunk
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            # A socket that another thread closes during a read raises the last two.
            if self._closed.is_set():
                return
            raise api_errors.Unreachable(api_errors.text_of(error), doing=self._doing) from error

    def close(self) -> None:
        """End the stream and wake the thread that reads it."""
        self._closed.set()
        wire = _socket_of(self._response)
        if wire is not None:
            try:
                wire.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _release(self) -> None:
        """Return the connection to the pool if the reply was read to its end; close it otherwise."""
        from urllib3.exceptions import HTTPError

        try:
            if self._closed.is_set() or not getattr(self._response, "closed", True):
                self._response.close()
            self._response.release_conn()
        except (HTTPError, OSError):
            return


def _socket_of(response: Any) -> Any:
    """Return the socket of a reply. With `Connection: close` urllib3 keeps it in another attribute."""
    wire = getattr(getattr(response, "connection", None), "sock", None)
    if wire is None:
        raw = getattr(getattr(getattr(response, "_fp", None), "fp", None), "raw", None)
        wire = getattr(raw, "_sock", None)
    return wire


class Watch:
    """The events of a watch as (type, object), bookmarks included. Raises Expired when its resourceVersion is too old.

    The object is a PodTask, or a Table where the watch asked for tables.
    """

    def __init__(self, stream: Stream, doing: str) -> None:
        self._stream = stream
        self._doing = doing

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for line in self._stream:
            try:
                event = json.loads(line)
            except ValueError:
                raise api_errors.Unreachable("the watch was cut within a line", doing=self._doing) from None
            if event["type"] == "ERROR":
                raise api_errors.of_status(event["object"], doing=self._doing)
            yield event["type"], event["object"]

    def close(self) -> None:
        """End the watch, from any thread."""
        self._stream.close()
