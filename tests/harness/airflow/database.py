"""PostgreSQL for the Airflow versions that want one: Debian's, as an ordinary user, on loopback."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from cluster import packages
from tests.harness.airflow import sockets

VERSION = "15"
BINARIES = Path(f"/usr/lib/postgresql/{VERSION}/bin")
USER = "nobody"
"""PostgreSQL refuses to run as root, and needs no home."""


class PostgreSQL:
    """One server with one empty database."""

    def __init__(self) -> None:
        packages.ensure({str(BINARIES / "postgres"): f"postgresql-{VERSION}"}, print)
        # Not below a test's own directory: those are closed to other users.
        self._directory = Path(tempfile.mkdtemp(prefix="podtask-postgresql-"))
        self._data = self._directory / "data"
        self._port = sockets.free_port()
        self._identity = pwd.getpwnam(USER) if os.geteuid() == 0 else None
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """The database, as SQLAlchemy wants it."""
        return f"postgresql+psycopg2://airflow@127.0.0.1:{self._port}/airflow"

    def start(self) -> None:
        """Make the data directory, and wait until connections are accepted."""
        if self._identity is not None:
            os.chown(self._directory, self._identity.pw_uid, self._identity.pw_gid)
        self._run(
            "initdb", "--pgdata", self._data, "--username=airflow", "--auth=trust", "--no-sync", "--encoding=UTF8"
        )
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": self._directory,
            "fsync": "off",
            "max_connections": 200,
        }
        self._process = subprocess.Popen(
            [BINARIES / "postgres", "-D", self._data, *[f"--{name}={value}" for name, value in settings.items()]],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **self._who(),
        )
        self._wait_ready(self._process)
        self._run("createdb", "--host=127.0.0.1", f"--port={self._port}", "--username=airflow", "airflow")

    def stop(self) -> None:
        """End it at once: nobody reads what it would still write."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _wait_ready(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "ready to accept connections" in line:
                break
        else:
            raise AssertionError("PostgreSQL ended: " + "".join(said))
        sockets.drain(process.stderr)

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [BINARIES / program, *arguments], capture_output=True, text=True, check=False, **self._who()
        )
        assert done.returncode == 0, done.stderr

    def _who(self) -> dict[str, int]:
        if self._identity is None:
            return {}
        return {"user": self._identity.pw_uid, "group": self._identity.pw_gid}
