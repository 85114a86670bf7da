"""Finds and ends the processes of one cluster, by an inherited variable; the number in a pid file may be reused."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import ClusterError
from .paths import ClusterDirectory
from .supervision import MARKER

PROC = Path("/proc")
END_WITHIN_SECONDS = 120.0
TCP_LISTEN = "0A"


def members(directory: ClusterDirectory) -> set[int]:
    """Return the processes with the cluster's marker: supervisord, the programs, the containers' shims."""
    marker = f"{MARKER}={directory.root}".encode()
    return {pid for pid in _all() if marker in _read(PROC / str(pid) / "environ").split(b"\0")}


def in_network_namespace(handle: Path) -> set[int]:
    """Return the processes in a named network namespace; none if the name is only a file left by a reboot."""
    try:
        wanted = handle.stat()
        ours = (PROC / "self/ns/net").stat()
    except OSError:
        return set()
    if os.path.samestat(wanted, ours):
        return set()  # never the machine's namespace
    found = set()
    for pid in _all():
        with contextlib.suppress(OSError):
            if os.path.samestat((PROC / str(pid) / "ns/net").stat(), wanted):
                found.add(pid)
    return found


def end(find: Callable[[], set[int]]) -> int:
    """Kill the processes that `find` returns until it returns none: ending processes may start others."""
    killed: set[int] = set()
    deadline = time.monotonic() + END_WITHIN_SECONDS
    while True:
        found = {pid for pid in find() if pid != os.getpid() and not _is_zombie(pid)}
        if not found:
            return len(killed)
        if time.monotonic() > deadline:
            raise ClusterError(
                f"these processes do not end: {sorted(found)}", "find out what blocks them: cat /proc/PID/stack"
            )
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
        time.sleep(0.02)


def resume(directory: ClusterDirectory) -> None:
    """Resume every paused process of the cluster."""
    for pid in members(directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def listens(pid: int, port: int) -> bool:
    """Return whether a process listens on the port in the network namespace of that process."""
    lines = _read(PROC / str(pid) / "net/tcp").decode().splitlines()[1:]
    fields = [line.split() for line in lines]
    return any(int(row[1].rpartition(":")[2], 16) == port and row[3] == TCP_LISTEN for row in fields)


def _all() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # ended, or another user's


def _is_zombie(pid: int) -> bool:
    # The state follows the command in brackets, which may contain spaces and brackets.
    state = _read(PROC / str(pid) / "stat").rpartition(b")")[2].split()
    return not state or state[0] == b"Z"
