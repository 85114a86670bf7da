"""A lock between processes. It is a kernel lock, not a file with a pid: the kernel releases it when its holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from .progress import Report


@contextlib.contextmanager
def held(path: Path, what: str, report: Report) -> Iterator[None]:
    """Hold the lock. If another process holds it, print that and wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a") as stream:
            _acquire(stream, what, report)
            if _is_still_at(path, stream):
                yield
                return
        # The previous holder has deleted the file meanwhile: a new process would lock another file.


def _acquire(stream: TextIO, what: str, report: Report) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report(f"waiting for another process that holds {what}")
        fcntl.flock(stream, fcntl.LOCK_EX)


def _is_still_at(path: Path, stream: TextIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False
