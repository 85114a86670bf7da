"""Airflow's database: Debian's PostgreSQL, as an ordinary user, on loopback.

SQLite will not do: under a whole Airflow it ends a scheduler now and then with "database is locked".
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from cluster import lock, packages
from tests.harness import sockets

VERSION = "15"
BINARIES = Path(f"/usr/lib/postgresql/{VERSION}/bin")
USER = "nobody"
"""PostgreSQL refuses to run as root, and needs no home."""


class PostgreSQL:
    """One server with one database. Any process can stop it by the files in `home`."""

    def __init__(self, home: Path) -> None:
        packages.ensure({str(BINARIES / "postgres"): f"postgresql-{VERSION}"}, print)
        self._note = home / "postgresql"
        self._port = sockets.free_port()
        self._identity = pwd.getpwnam(USER) if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        """Return the database's URL for SQLAlchemy."""
        return f"postgresql+psycopg2://airflow@127.0.0.1:{self._port}/postgres"

    def start(self, template: Path, migrate: Callable[[], None]) -> None:
        """Start with a migrated database, which is created once: a migration takes ten seconds."""
        with lock.held(template.parent / f".{template.name}.lock", f"database {template}", print):
            if not template.exists():
                self._start(self._make())
                migrate()
                data = self._stop()
                shutil.copytree(data, unfinished := template.with_suffix(".unfinished"), dirs_exist_ok=True)
                unfinished.rename(template)
                shutil.rmtree(data.parent)
        data = self._directory() / "data"
        shutil.copytree(template, data)
        for path in (data, *data.rglob("*")):
            self._give(path)
        self._start(data)

    def stop(self) -> None:
        """Stop it at once; its data is not needed."""
        if self._note.exists():
            shutil.rmtree(self._stop("immediate").parent)

    def _make(self) -> Path:
        data = self._directory() / "data"
        self._run("initdb", "--pgdata", data, "--username=airflow", "--auth=trust", "--no-sync", "--encoding=UTF8")
        return data

    def _directory(self) -> Path:
        # Not below a test's own directory: those are closed to other users.
        directory = Path(tempfile.mkdtemp(prefix="podtask-postgresql-"))
        self._give(directory)
        return directory

    def _give(self, path: Path) -> None:
        if self._identity is not None:
            os.chown(path, self._identity.pw_uid, self._identity.pw_gid)

    def _start(self, data: Path) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": data.parent,
            "fsync": "off",
            "max_connections": 300,
        }
        options = " ".join(f"--{name}={value}" for name, value in settings.items())
        self._note.write_text(str(data))
        self._run("pg_ctl", "start", "--wait", f"--pgdata={data}", f"--log={data.parent}/log", f"--options={options}")

    def _stop(self, mode: str = "fast") -> Path:
        data = Path(self._note.read_text())
        self._run("pg_ctl", "stop", f"--mode={mode}", f"--pgdata={data}")
        self._note.unlink()
        return data

    def _run(self, program: str, *arguments: str | Path) -> None:
        # The server inherits the output of what starts it; a pipe would stay open for as long as it lives.
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                [BINARIES / program, *arguments],
                stdout=said,
                stderr=said,
                cwd="/",
                check=False,
                user=None if self._identity is None else self._identity.pw_uid,
                group=None if self._identity is None else self._identity.pw_gid,
            )
            said.seek(0)
            assert done.returncode == 0, said.read()
