"""The interface of a running cluster, the same for every provider."""

from __future__ import annotations

import abc
from pathlib import Path

from . import commands
from .paths import ClusterDirectory
from .progress import Report
from .spec import Form, Record

READY_SECONDS = 180.0
"""Timeout for a running cluster. It only ends a hang: ten times what a wait takes."""


class Cluster(abc.ABC):
    """A handle on a cluster. It owns no process and no connection; the cluster outlives it."""

    def __init__(self, directory: ClusterDirectory, record: Record, report: Report = print) -> None:
        self.directory = directory
        self.record = record
        self.report = report

    @property
    def name(self) -> str:
        return self.record.spec.name

    @property
    def form(self) -> Form:
        return self.record.spec.form

    @property
    def kubeconfig(self) -> Path:
        """Path of the admin's kubeconfig."""
        return self.directory.kubeconfig

    @property
    def server(self) -> str:
        """URL of the API server, as seen from the host."""
        return self.record.placement.server

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl; return its standard output. Raises with its output if it fails."""
        binary = self.record.binaries["kubectl"]
        return commands.run([binary, f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin)

    @abc.abstractmethod
    def load(self, image: str, archive: Path) -> None:
        """Load an image of this name on the node from an archive (OCI or `docker save`)."""

    @abc.abstractmethod
    def pid(self, program: str) -> int:
        """Return the process id of a running program on this machine."""

    @abc.abstractmethod
    def signal(self, program: str, name: str) -> None:
        """Send a program a signal: KILL, STOP, CONT, …"""

    @abc.abstractmethod
    def stop(self, program: str) -> None:
        """Stop a program; it stays stopped until it is started."""

    @abc.abstractmethod
    def start(self, program: str) -> None:
        """Start a stopped program; returns before it is ready (see `wait_ready`)."""

    def restart(self, program: str) -> None:
        """Stop and start a program."""
        self.stop(program)
        self.start(program)

    @abc.abstractmethod
    def set_autorestart(self, program: str, *, wanted: bool) -> None:
        """Set whether a program is restarted when it ends by itself or by a signal. The default is yes."""

    @abc.abstractmethod
    def wait_ready(self, deadline_seconds: float = READY_SECONDS) -> None:
        """Start the stopped programs and wait until the cluster is usable."""

    @abc.abstractmethod
    def status(self) -> dict[str, str]:
        """Return one line for each program."""

    @abc.abstractmethod
    def log(self, program: str) -> str:
        """Return the log of a program."""

    @abc.abstractmethod
    def down(self, *, keep: bool = False) -> None:
        """Stop and delete the cluster. `keep` keeps the files, so that the next `up` has the same objects."""
