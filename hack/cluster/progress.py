"""Progress of long operations: on a terminal one line that counts the seconds, in a log the start and the end."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

Report = Callable[[str], None]

TICK_SECONDS = 1.0

_lock = threading.Lock()
_at_work: dict[str, float] = {}
"""The operations in progress, and when each began. A terminal shows them all on its last line."""


@contextlib.contextmanager
def heartbeat(
    what: str, report: Report, terminal: TextIO | None = None, interval_seconds: float = TICK_SECONDS
) -> Iterator[None]:
    """Report the start and end of an operation; a terminal (default: stderr) shows the seconds in between."""
    stream = terminal or sys.stderr
    started = time.monotonic()
    if stream.isatty():
        with _shown(what, started, stream, interval_seconds):
            yield
    else:
        report(f"{what} …")
        yield
    report(f"{what}: {time.monotonic() - started:.1f} s")


@contextlib.contextmanager
def _shown(what: str, started: float, terminal: TextIO, interval_seconds: float) -> Iterator[None]:
    finished = threading.Event()

    def beat() -> None:
        _draw(terminal)
        while not finished.wait(interval_seconds):
            _draw(terminal)

    with _lock:
        _at_work[what] = started
    thread = threading.Thread(target=beat, name=f"heartbeat {what}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
        with _lock:
            _at_work.pop(what, None)
        _draw(terminal)


def _draw(terminal: TextIO) -> None:
    """Write the line again and return to its start, so that the next output replaces it."""
    with _lock:
        now = time.monotonic()
        line = ", ".join(f"{what} {now - started:.0f} s" for what, started in _at_work.items())
        terminal.write(f"\r\033[K{line}\r")
        terminal.flush()
