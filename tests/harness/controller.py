"""The controller as a process: start it, wait for it, kill it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType

from tests.harness import HANG_SECONDS

ROOT = Path(__file__).resolve().parents[2]


def command(*flags: str, without: str = "") -> list[str]:
    """Return the command line of a controller, `without` some of its guards (`unguarded.py`)."""
    module = ["tests.harness.unguarded", without] if without else ["podtask"]
    ports = ("--http-port=0", "--metrics-port=0")
    return [sys.executable, "-X", "dev", "-m", *module, "--log-format=json", *ports, *flags]


def environment(kubeconfig: Path) -> dict[str, str]:
    """Return the environment of a controller outside of its cluster."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("KUBERNETES_", "PODTASK_"))}
    return {
        **kept,
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": f"{ROOT / 'controller'}:{ROOT}",
        "PYTHONUNBUFFERED": "1",
    }


class Controller:
    """One controller process. `lines` is its log so far; `wait_ready` returns once it has listed everything."""

    def __init__(
        self,
        kubeconfig: Path,
        *flags: str,
        without: str = "",
        variables: Mapping[str, str] = MappingProxyType({}),
        through: Sequence[str] = (),
    ) -> None:
        """`variables` are added to its environment; `through` is a command that execs the controller."""
        self._environment = {**environment(kubeconfig), **variables}
        self._command = [*through, *command(*flags, without=without)]
        self.lines: list[str] = []
        self._line_logged = threading.Condition()
        self._logged: dict[str, float] = {}
        self._ready = threading.Event()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Controller":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it is ready."""
        self._ready.clear()
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._ready.wait(HANG_SECONDS), "".join(self.lines[-40:])

    def wait_logged(self, message: str, seconds: float = HANG_SECONDS) -> float:
        """Wait until the log has this message; return the time (of time.monotonic) at which it was first read."""
        with self._line_logged:
            assert self._line_logged.wait_for(lambda: message in self._logged, seconds), "".join(self.lines[-40:])
            return self._logged[message]

    def has_logged(self, message: str) -> bool:
        """Return whether the log has this message."""
        return message in self._logged

    def send(self, number: signal.Signals) -> None:
        """Send a signal; does not wait."""
        os.kill(self.pid, number)

    def wait_ended(self, seconds: float = HANG_SECONDS) -> int:
        """Wait for the end of the process; return the exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def kill(self) -> None:
        """Kill it, as a failure of its node would."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """Ask it to stop; return the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(HANG_SECONDS)
        self._reader.join(HANG_SECONDS)
        return code

    def _read(self) -> None:
        process = self._process
        assert process is not None
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.lines.append(line)
                with self._line_logged:
                    if line.startswith("{"):
                        self._logged.setdefault(json.loads(line)["msg"], time.monotonic())
                    self._line_logged.notify_all()
                if '"msg": "ready"' in line:
                    self._ready.set()
