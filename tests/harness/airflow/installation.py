"""One whole Airflow: home, database, components. One serves many tests, because it takes twenty seconds to start.

Several test processes may share it: one starts it, the others find it by its facts.
"""

import json
import shutil
import signal
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from urllib.error import URLError

from airflows import environments, versions
from tests.harness import sockets
from tests.harness.airflow import processes, settings
from tests.harness.airflow.component import Component
from tests.harness.airflow.database import PostgreSQL
from tests.harness.airflow.rest import HANG_SECONDS, POLL_SECONDS, Object, Rest, RestError

# The name of each component, and what `airflow` calls it.
COMPONENTS = {
    3: {"api": "api-server", "scheduler": "scheduler", "dag-processor": "dag-processor", "triggerer": "triggerer"},
    2: {"api": "webserver", "scheduler": "scheduler", "triggerer": "triggerer"},
}
HEALTHY = {3: {"scheduler", "dag_processor", "triggerer"}, 2: {"scheduler", "triggerer"}}


@dataclass(frozen=True)
class Facts:
    """The data by which a process uses an installation that another one has started."""

    version: str
    home: str
    id: str
    ports: dict[str, int]
    variables: dict[str, str]
    host: str


class Airflow:
    """An installation; start it as a context manager. `api` is its REST API, `home` its directory.

    `dags` says for each DAG file which DAGs it makes, `host` is the address that its API listens on.
    """

    def __init__(
        self,
        version: str,
        home: Path,
        *,
        dags: Mapping[Path, Collection[str]],
        environment: Mapping[str, str] | None = None,
        executor: str = "LocalExecutor",
        host: str = sockets.LOOPBACK,
    ) -> None:
        found = versions.find(version)
        self._dags = dags
        self._postgresql = PostgreSQL(home)
        ports = {name: sockets.free_port() for name in ("api", "worker logs", "trigger logs")}
        given = settings.common(home, executor, self._postgresql.url, ports)
        given |= settings.airflow_3(ports, host) if _major(found) == 3 else settings.airflow_2(ports, host)
        mark = uuid.uuid4().hex
        variables = {
            **settings.inherited(),
            **{f"AIRFLOW__{name}": value for name, value in given.items()},
            "AIRFLOW_HOME": str(home),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(home / "dags"),
            "NO_PROXY": "*",
            processes.MARK: mark,
            "SPT_NOENV": "1",  # or setproctitle would overwrite the mark
            **(environment or {}),
        }
        self._learn(Facts(version, str(home), mark, ports, variables, host))

    @classmethod
    def found(cls, note: Path) -> "Airflow":
        """Return the installation that another process has started and recorded."""
        one = cls.__new__(cls)
        one._dags = {}
        facts = Facts(**json.loads(note.read_text()))
        one._postgresql = PostgreSQL(Path(facts.home))
        one._learn(facts)
        return one

    def _learn(self, facts: Facts) -> None:
        self._facts = facts
        self._environment = versions.find(facts.version)
        self.major = _major(self._environment)
        self.home = Path(facts.home)
        self.id = facts.id
        self.components: dict[str, Component] = {}
        for name, command in COMPONENTS[self.major].items():
            self.add(name, command)
        self.api = Rest(f"http://{facts.host}:{facts.ports['api']}", 2 if self.major == 3 else 1)

    def __enter__(self) -> "Airflow":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def version(self) -> str:
        """Airflow's version."""
        return self._environment.airflow

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its components."""
        return self._facts.variables

    # ---- the whole ----

    def start(self) -> None:
        """Start all components and wait until they are healthy and the DAGs are parsed."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._lay_files()
        for component in self.components.values():
            component.start()
        self.wait_healthy()
        self.wait_dags()

    def leave_note(self, note: Path) -> None:
        """Write down what `found` reads."""
        note.write_text(json.dumps(asdict(self._facts)))

    def stop(self) -> None:
        """End all processes, task processes included."""
        for component in self.components.values():
            component.send(signal.SIGTERM)
        for component in self.components.values():
            component.stop()
        processes.end(self.id)
        self._postgresql.stop()

    def wait_healthy(self, seconds: float = HANG_SECONDS) -> None:
        """Wait until every component is healthy."""
        deadline = time.monotonic() + seconds
        while not self._is_healthy():
            for component in self.components.values():
                assert component.is_running, f"{component.name} of {self.version} ended:\n{component.tail()}"
            assert time.monotonic() < deadline, self._complaint("is not healthy")
            time.sleep(POLL_SECONDS)

    def wait_dags(self, seconds: float = HANG_SECONDS) -> None:
        """Wait until every DAG file was read, and not only some of them."""
        wanted = {dag_id for dag_ids in self._dags.values() for dag_id in dag_ids}
        deadline = time.monotonic() + seconds
        while wanted - self.api.dag_ids():
            errors = self.api.import_errors()
            assert not errors, "\n".join(errors)
            assert time.monotonic() < deadline, self._complaint(f"has not read {wanted - self.api.dag_ids()}")
            time.sleep(POLL_SECONDS)

    # ---- its parts ----

    def add(self, name: str, command: str, *arguments: str, **more: str) -> Component:
        """Add a component, such as a second triggerer; it is not started."""
        python = str(environments.python(self._environment))
        component = Component(
            name,
            [python, "-m", "airflow", command, *arguments],
            {**self._facts.variables, **more},
            self.home,
        )
        self.components[name] = component
        return component

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill a component with its process group; task processes are not in it."""
        self.components[name].kill(number)

    def restart(self, name: str) -> None:
        """Start a component that was killed, and wait for its first sign of life."""
        self.components[name].start()
        self.wait_heartbeat(name)

    def wait_heartbeat(self, name: str) -> None:
        """Return at a component's next sign of life."""
        before = self._heartbeat(name)
        self.api.until(lambda: {"heartbeat": self._heartbeat(name)}, lambda h: h["heartbeat"] != before)

    def wait_trigger_moved(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Wait until a deferred task's trigger is another triggerer's, for which the first must be lost."""

        def triggerer() -> Object:
            return {"job": self.api.task(dag_id, run_id, task_id)["triggerer_job"]["id"]}

        before = triggerer()
        self.api.until(triggerer, lambda now: now != before)

    @staticmethod
    def other_log_port() -> dict[str, str]:
        """The variable that a second triggerer on the same machine needs."""
        return {"AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(sockets.free_port())}

    def task_pid(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> int:
        """The process in which a running task's code runs, once it is known."""
        task = self.api.until(
            lambda: self.api.task(dag_id, run_id, task_id, map_index),
            lambda t: t["state"] == "running" and bool(t["pid"]),
        )
        return int(task["pid"])

    def processes(self) -> list[int]:
        """Every process of this installation."""
        return sorted(processes.marked(self.id))

    # ---- underneath ----

    def _lay_files(self) -> None:
        folder = self.home / "dags"
        folder.mkdir()
        for path in self._dags:
            shutil.copy(path, folder)
        if self.major == 2:
            (self.home / "webserver_config.py").write_text(settings.WEBSERVER_CONFIG)
        template = environments.directory(self._environment) / "postgresql"
        self._postgresql.start(template, migrate=lambda: self._airflow("db", "migrate"))

    def _airflow(self, *arguments: str) -> None:
        name = "-".join(arguments)
        component = self.add(name, arguments[0], *arguments[1:])
        assert component.run(HANG_SECONDS) == 0, component.tail()
        del self.components[name]

    def _is_healthy(self) -> bool:
        try:
            health = self.api.health()
        except (URLError, RestError, ConnectionError, TimeoutError):
            return False
        return all(health.get(name) == "healthy" for name in HEALTHY[self.major])

    def _heartbeat(self, name: str) -> str:
        """Return the time of a component's last heartbeat; for a while after its end it still counts as healthy."""
        key = name.replace("-", "_")
        return str(self.api.health_details()[key][f"latest_{key}_heartbeat"])

    def _complaint(self, what: str) -> str:
        tails = "\n".join(f"--- {c.name}\n{c.tail(15)}" for c in self.components.values())
        return f"Airflow {self.version} {what}\n{tails}"


def _major(environment: versions.Environment) -> int:
    return int(environment.airflow.split(".")[0])
