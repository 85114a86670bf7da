"""Tells a person (or a CI log) that something long is still alive, how far it is, and how long it took."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

Report = Callable[[str], None]

# CI services and people alike take 30 s of silence for a hang.
HEARTBEAT_SECONDS = 10.0


@contextlib.contextmanager
def heartbeat(what: str, report: Report, interval_seconds: float = HEARTBEAT_SECONDS) -> Iterator[None]:
    """Say what begins, say again that it goes on, and say how long it took."""
    started = time.monotonic()
    finished = threading.Event()

    def beat() -> None:
        while not finished.wait(interval_seconds):
            report(f"{what} … {time.monotonic() - started:.0f} s")

    report(f"{what} …")
    thread = threading.Thread(target=beat, name=f"heartbeat {what}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
    report(f"{what}: {time.monotonic() - started:.1f} s")
