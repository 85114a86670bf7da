"""The processes of one installation, found by a mark in their environment.

Task processes leave their component's process group and survive its kill -9, so neither groups nor parents find them.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 0.05
MARK = "PODTASK_TEST_INSTALLATION"


def marked(value: str) -> Iterator[int]:
    """The living processes that carry this mark."""
    wanted = f"{MARK}={value}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)


def end(value: str) -> list[int]:
    """Kill all processes with the mark; return what it was."""
    found = []
    while left := [pid for pid in marked(value) if not _is_zombie(pid)]:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        found += left
    return sorted(set(found))


def is_alive(pid: int) -> bool:
    """Return whether there is such a process that still runs."""
    return Path(f"/proc/{pid}").exists() and not _is_zombie(pid)


def ends_within(pid: int, seconds: float) -> bool:
    """Wait for the end of a process that need not be a child."""
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return not is_alive(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
