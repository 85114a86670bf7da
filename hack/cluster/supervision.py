"""The cluster's supervisord: its configuration, its start, and the calls over its socket.

supervisord starts no program by itself (autostart is off): `startup` does, because it knows when each program is
ready.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import shlex
import socket
import sys
import xmlrpc.client
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import supervisor

from . import commands, paths
from .errors import ClusterError
from .paths import ClusterDirectory
from .program import canonical_name, script_path
from .spec import write_atomically

# Every process of a cluster inherits this variable, so that it can be found without a pid file.
MARKER = "PODTASK_CLUSTER_DIRECTORY"
ALREADY_STARTED = 60
NOT_RUNNING = 70
BAD_NAME = 10
ALIVE = ("STARTING", "RUNNING")
# Low enough for any user; the programs raise it to the hard limit themselves.
OPEN_FILES = 1024
# supervisord takes up to `stopwaitsecs` to stop a program.
ANSWER_SECONDS = 120.0


@dataclass(frozen=True)
class State:
    """The state of a program in supervisord."""

    name: str
    word: str
    pid: int
    description: str

    @property
    def is_alive(self) -> bool:
        return self.word in ALIVE


def socket_path(directory: ClusterDirectory) -> Path:
    """Return supervisord's socket."""
    return directory.run / "supervisor.sock"


def render(directory: ClusterDirectory, programs: Sequence[str]) -> str:
    """Return the configuration. `%` has to be doubled in it."""
    owner = "user=root\n" if os.geteuid() == 0 else ""  # explicit, because supervisord warns otherwise
    head = f"""\
[supervisord]
{owner}logfile={directory.log("supervisord")}
logfile_maxbytes=0
pidfile={directory.run / "supervisord.pid"}
childlogdir={directory.logs}
minfds={min(OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])}
minprocs=1

[unix_http_server]
file={socket_path(directory)}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[rpcinterface:podtask]
supervisor.rpcinterface_factory = podtask_autorestart:make
"""
    return head.replace("%", "%%") + "".join(_section(directory, program) for program in programs)


def _section(directory: ClusterDirectory, program: str) -> str:
    command = shlex.join(["/bin/sh", str(script_path(directory, program))])
    lines = {
        "command": command,
        "directory": str(directory.root),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": "1",
        "startretries": "1000",  # a fault test may stop etcd for long; the API server is restarted until etcd is back
        "stopwaitsecs": "10",
        "stdout_logfile": "NONE",
        "stderr_logfile": "NONE",
    }
    body = "".join(f"{key}={value}\n".replace("%", "%%") for key, value in lines.items())
    return f"\n[program:{program}]\n{body}"


def environment(directory: ClusterDirectory) -> dict[str, str]:
    """Return a minimal environment, without the variables of the caller's shell (proxy settings, for example)."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(directory.root),
        # supervisord is imported from the same path as here, with or without a virtual environment.
        "PYTHONPATH": f"{paths.PACKAGE / 'plugin'}:{Path(supervisor.__file__).parents[1]}",
        "PYTHONDONTWRITEBYTECODE": "1",
        MARKER: str(directory.root),
    }


def launch(directory: ClusterDirectory, programs: Sequence[str], prefix: Sequence[str] = ()) -> None:
    """Start supervisord in the background, and wait until it listens on its socket."""
    config = directory.config / "supervisord.conf"
    write_atomically(config, render(directory, programs))
    for folder in (directory.logs, directory.run):
        folder.mkdir(parents=True, exist_ok=True)
    commands.run(
        [*prefix, sys.executable, "-m", "supervisor.supervisord", "-c", config],
        env=environment(directory),
        cwd=directory.root,
        hint=f"its log is {directory.log('supervisord')}",
        timeout_seconds=180,
    )


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: tuple[str, dict[str, str]] | str) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = host, connection  # the base class closes the connection of this name
        return connection


class Supervisor:
    """Calls of a running supervisord."""

    def __init__(self, directory: ClusterDirectory) -> None:
        self._directory = directory

    def is_alive(self) -> bool:
        """Return whether it replies; after a crash the socket file may exist without it."""
        try:
            with self._calls() as calls:
                return bool(calls.supervisor.getState()["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False

    def states(self) -> dict[str, State]:
        """Return the state of all programs, by name."""
        with self._calls() as calls:
            found: list[Mapping[str, Any]] = calls.supervisor.getAllProcessInfo()
        return {
            info["name"]: State(info["name"], info["statename"], info["pid"], info["description"]) for info in found
        }

    def start(self, program: str) -> None:
        """Start a program if it is not running; returns before it is ready."""
        with self._calls() as calls, _tolerating(ALREADY_STARTED, program):
            calls.supervisor.startProcess(canonical_name(program), False)

    def stop(self, program: str) -> None:
        """Stop a program and wait for its end; it stays stopped until `start`."""
        with self._calls() as calls, _tolerating(NOT_RUNNING, program):
            calls.supervisor.stopProcess(canonical_name(program), True)

    def signal(self, program: str, name: str) -> None:
        """Send a signal by its name: KILL, STOP, CONT, HUP, …"""
        with self._calls() as calls, _tolerating(None, program):
            calls.supervisor.signalProcess(canonical_name(program), name)

    def set_autorestart(self, program: str, *, wanted: bool) -> None:
        """Set whether a program is restarted when it ends by itself or by a signal."""
        with self._calls() as calls, _tolerating(None, program):
            calls.podtask.set(canonical_name(program), wanted)

    @contextlib.contextmanager
    def _calls(self) -> Iterator[Any]:
        with xmlrpc.client.ServerProxy("http://localhost", _UnixTransport(socket_path(self._directory))) as proxy:
            yield proxy


@contextlib.contextmanager
def _tolerating(code: int | None, program: str) -> Iterator[None]:
    try:
        yield
    except xmlrpc.client.Fault as fault:
        if fault.faultCode == BAD_NAME:
            raise ClusterError(
                f"this cluster has no program {program!r}", "`python -m cluster status` lists them"
            ) from fault
        if fault.faultCode != code:
            raise ClusterError(f"supervisord refused {program!r}: {fault.faultString}") from fault
