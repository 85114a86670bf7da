"""One component of Airflow: a process group, which can be killed and restarted separately.

Its process id is in a file, so that every process of a test run can do that, whichever started it.
"""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.harness.airflow import processes
from tests.harness.airflow.rest import HANG_SECONDS

STOP_SECONDS = 5.0


class Component:
    """A component's process. Its output is appended to `NAME.log` in `home`."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], home: Path) -> None:
        self.name = name
        self.log = home / f"{name}.log"
        self._note = home / f"{name}.pid"
        self._command = command
        self._environment = environment

    @property
    def pid(self) -> int:
        """The process id, which is that of its group too."""
        assert self._note.exists(), f"{self.name} was never started"
        return int(self._note.read_text())

    @property
    def is_running(self) -> bool:
        """Return whether its first process lives."""
        return self._note.exists() and processes.is_alive(self.pid)

    def start(self) -> None:
        """Start it; does not wait until it is healthy."""
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        output = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.log), append, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        # Not a Popen: it complains when the process that started the component ends earlier.
        pid = os.posix_spawn(self._command[0], self._command, self._environment, file_actions=output, setsid=True)
        self._note.write_text(str(pid))

    def send(self, number: signal.Signals) -> None:
        """Signal its first process only, as a container's runtime does."""
        if self.is_running:
            os.kill(self.pid, number)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal the whole group, and wait for its first process."""
        self._kill(self.pid, number)

    def _kill(self, pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(pid, number)
        assert processes.ends_within(pid, HANG_SECONDS), f"{self.name} survives {number.name}"
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)

    def run(self, seconds: float) -> int:
        """Start it, and return its exit code once it has ended by itself."""
        self.start()
        assert processes.ends_within(self.pid, seconds), self.tail()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL after a timeout."""
        if not self._note.exists():
            return
        pid = self.pid  # read once: pytest may tidy its directories away meanwhile
        self.send(signal.SIGTERM)
        processes.ends_within(pid, STOP_SECONDS)
        self._kill(pid, signal.SIGKILL)

    def tail(self, lines: int = 40) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
