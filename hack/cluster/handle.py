"""What every running cluster can do, whichever way it runs. Tests and the command line hold one of these."""

from __future__ import annotations

import abc
from pathlib import Path

from . import commands
from .paths import ClusterDirectory
from .progress import Report
from .spec import Form, Record

READY_SECONDS = 180.0
"""The bound on a wait for a running cluster. It ends a hang, so a machine ten times slower stays below it."""


class Cluster(abc.ABC):
    """A handle on a cluster. It holds no process and no connection: dropping it stops nothing."""

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
        """The admin's kubeconfig file."""
        return self.directory.kubeconfig

    @property
    def server(self) -> str:
        """The API server's URL as the host reaches it."""
        return self.record.placement.server

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Standard output of kubectl; its failure is an error that shows what it said."""
        binary = self.record.binaries["kubectl"]
        return commands.run([binary, f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin)

    @abc.abstractmethod
    def load(self, image: str, archive: Path) -> None:
        """Put an image on the node, under this name, from an archive (of OCI or of `docker save`)."""

    @abc.abstractmethod
    def pid(self, program: str) -> int:
        """The process id of a running program as this machine sees it."""

    @abc.abstractmethod
    def signal(self, program: str, name: str) -> None:
        """Send a program a signal: KILL, STOP, CONT, …"""

    @abc.abstractmethod
    def stop(self, program: str) -> None:
        """Stop a program; it stays stopped until it is started."""

    @abc.abstractmethod
    def start(self, program: str) -> None:
        """Start a program that was stopped; returns before it is ready (see `wait_ready`)."""

    def restart(self, program: str) -> None:
        """Stop and start."""
        self.stop(program)
        self.start(program)

    @abc.abstractmethod
    def set_autorestart(self, program: str, *, wanted: bool) -> None:
        """Whether a program that dies by itself or by a signal is started again; at first each one is."""

    @abc.abstractmethod
    def wait_ready(self, deadline_seconds: float = READY_SECONDS) -> None:
        """Start what is stopped, and return when the whole cluster is usable again."""

    @abc.abstractmethod
    def status(self) -> dict[str, str]:
        """One line for each program."""

    @abc.abstractmethod
    def log(self, program: str) -> str:
        """What a program has written."""

    @abc.abstractmethod
    def down(self, *, keep: bool = False) -> None:
        """Take it down. `keep` leaves the files, so that the next `up` finds the objects again."""
