"""Processes that are started once for all test processes (xdist workers), and ended once by the main process."""

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def shared_directory(config: pytest.Config, factory: pytest.TempPathFactory) -> Path:
    """Return the directory that all workers of this run see."""
    base = factory.getbasetemp()
    return base.parent if hasattr(config, "workerinput") else base


@contextmanager
def exclusively(directory: Path, name: str) -> Iterator[Path]:
    """Hold a lock that all workers respect, and give the place of a JSON note about what was started."""
    with (directory / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield directory / f"{name}.json"


def read_note(path: Path) -> dict[str, Any] | None:
    """Read what an earlier worker wrote."""
    if not path.exists():
        return None
    note: dict[str, Any] = json.loads(path.read_text())
    return note


def end_process(pid: int) -> None:
    """Ask a process that this run started to stop."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
