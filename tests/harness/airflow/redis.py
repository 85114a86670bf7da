"""Redis, Debian's, for the CeleryExecutor."""

import subprocess
from pathlib import Path
from types import TracebackType

from cluster import packages
from tests.harness import sockets

PROGRAM = "/usr/bin/redis-server"


class Redis:
    """A server on loopback that keeps nothing."""

    def __init__(self) -> None:
        packages.ensure({PROGRAM: "redis-server"}, print)
        self._port = sockets.free_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """What Celery calls its broker."""
        return f"redis://127.0.0.1:{self._port}/0"

    def __enter__(self) -> "Redis":
        settings = {"port": self._port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": Path("/tmp")}
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        self._process = subprocess.Popen([PROGRAM, *words], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "Ready to accept connections" in line:
                return self
        raise AssertionError("Redis ended: " + "".join(said))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()
