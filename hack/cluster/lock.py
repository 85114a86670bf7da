"""One user at a time. A kernel lock and no lock file with a pid in it: the kernel frees it however its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from .progress import Report


@contextlib.contextmanager
def held(path: Path, what: str, report: Report) -> Iterator[None]:
    """Hold the lock; whoever comes second is told why nothing happens, and waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"waiting for another process that holds {what}")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
