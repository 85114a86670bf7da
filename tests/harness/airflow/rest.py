"""Airflow's own REST API, v2 of Airflow 3 and v1 of Airflow 2, in the words that tests need.

Airflow cannot report changes, so waits for them poll, and only here.
"""

import ast
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
POLL_SECONDS = 0.25
HANG_SECONDS = 600.0
"""Timeout of a wait. It only ends a hang."""
FINISHED_RUN = frozenset({"success", "failed"})


class RestError(Exception):
    """A response that is not a success."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{status}: {said}")
        self.status = status


@dataclass(frozen=True)
class RunState:
    """A run of a DAG, by its ids, and the state that it ended with."""

    dag_id: str
    run_id: str
    state: str


class Rest:
    """The API of one installation."""

    def __init__(self, address: str, version: int) -> None:
        self.address = address
        """Where Airflow listens: `http://host:port`."""
        self._version = version
        self._token = ""

    # ---- the whole ----

    def health(self) -> dict[str, str]:
        """The components that say how they are."""
        return {name: part.get("status") or "" for name, part in self.health_details().items()}

    def health_details(self) -> Object:
        """What the components say of themselves, heartbeats included."""
        return self._get("monitor/health" if self._version == 2 else "health")

    def import_errors(self) -> list[str]:
        """Return the import errors of DAG files."""
        return [error["stack_trace"] for error in self._get("importErrors")["import_errors"]]

    def dag_ids(self) -> set[str]:
        """The DAGs that Airflow knows."""
        return {dag["dag_id"] for dag in self._get("dags", limit=100)["dags"]}

    # ---- runs ----

    def trigger(self, dag_id: str, run_id: str | None = None, **conf: Any) -> str:
        """Start a run; return its id."""
        body: Object = {"conf": conf} | ({"dag_run_id": run_id} if run_id else {})
        if self._version == 2:
            body["logical_date"] = None
        return str(self._call("POST", f"dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> Object:
        """One run."""
        return self._get(f"dags/{dag_id}/dagRuns/{_quote(run_id)}")

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a run, so that another can have its id."""
        self._call("DELETE", f"dags/{dag_id}/dagRuns/{_quote(run_id)}")

    def wait_run(self, dag_id: str, run_id: str, seconds: float = HANG_SECONDS) -> RunState:
        """Return the state of a run once it has one that lasts."""
        run = self.until(lambda: self.run(dag_id, run_id), lambda r: r["state"] in FINISHED_RUN, seconds)
        return RunState(dag_id, run_id, run["state"])

    def run_to_end(self, dag_id: str, *, seconds: float = HANG_SECONDS, **conf: Any) -> RunState:
        """Start a run, and return its end."""
        return self.wait_run(dag_id, self.trigger(dag_id, **conf), seconds)

    # ---- task instances ----

    def tasks(self, dag_id: str, run_id: str) -> list[Object]:
        """All task instances of a run, mapped ones each by itself."""
        path = f"dags/{dag_id}/dagRuns/{_quote(run_id)}/taskInstances"
        found: list[Object] = []
        while True:
            page = self._get(path, limit=100, offset=len(found))
            found += page["task_instances"]
            if len(found) >= page["total_entries"]:
                return found

    def task(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Object:
        """One task instance."""
        return self._get(_task_path(dag_id, run_id, task_id, map_index))

    def wait_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        fact: str | Callable[[Object], bool],
        seconds: float = HANG_SECONDS,
    ) -> Object:
        """Return a task instance once it is in this state, or once `fact` holds for it."""
        holds = (lambda task: task["state"] == fact) if isinstance(fact, str) else fact
        return self.until(lambda: self.task(dag_id, run_id, task_id), holds, seconds)

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int, map_index: int = -1) -> str:
        """The log of one try."""
        path = f"{_task_path(dag_id, run_id, task_id, -1)}/logs/{try_number}"
        content = self._get(path, full_content="true", map_index=map_index)["content"]
        if isinstance(content, str):
            return "\n".join(text for _, text in ast.literal_eval(content))  # v1: Python's text for [(host, log), …]
        return "\n".join(_line(entry) for entry in content)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """A value that a task has left."""
        path = f"{_task_path(dag_id, run_id, task_id, -1)}/xcomEntries/{key}"
        deserialize = {"deserialize": "true"} if self._version == 2 else {}
        value = self._get(path, map_index=map_index, **deserialize)["value"]
        return value if self._version == 2 else _literal(value)

    def wait_xcom(self, dag_id: str, run_id: str, task_id: str, key: str) -> None:
        """Wait until a task has pushed a value under this key."""
        path = f"{_task_path(dag_id, run_id, task_id, -1)}/xcomEntries"
        self.until(lambda: self._get(path), lambda found: any(one["key"] == key for one in found["xcom_entries"]))

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Do what the button Clear does.

        Airflow 2.11's own API would do less: it changes the state of an object that belongs to no session any more, so
        nothing ends a running task's process.
        """
        if self._version == 1:
            date = str(self.run(dag_id, run_id)["logical_date"])
            form = {"dag_id": dag_id, "task_id": task_id, "execution_date": date, "confirmed": "true"}
            self._send("POST", f"{self.address}/clear", urllib.parse.urlencode(form).encode())
            return
        body: Object = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self._call("POST", f"dags/{dag_id}/clearTaskInstances", body)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Do what the buttons `Mark as failed` and `Mark as success` do."""
        body: Object = {"new_state": state} | ({"dry_run": False} if self._version == 1 else {})
        self._call("PATCH", _task_path(dag_id, run_id, task_id, -1), body)

    # ---- underneath ----

    def until(
        self, read: Callable[[], Object], fact: Callable[[Object], bool], seconds: float = HANG_SECONDS
    ) -> Object:
        """Read again and again until `fact` holds."""
        deadline = time.monotonic() + seconds
        while not fact(found := read()):
            assert time.monotonic() < deadline, f"did not come true within {seconds} s: {found}"
            time.sleep(POLL_SECONDS)
        return found

    def _get(self, path: str, **parameters: Any) -> Object:
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        return self._call("GET", path + query)

    def _call(self, method: str, path: str, body: Object | None = None) -> Object:
        if self._version == 2 and not self._token:
            self._token = self._send("GET", f"{self.address}/auth/token", None)["access_token"]
        return self._send(method, f"{self.address}/api/v{self._version}/{path}", body)

    def _send(self, method: str, address: str, body: Object | bytes | None) -> Object:
        """Send JSON, or a form that is encoded already, which is answered with a page."""
        request = urllib.request.Request(address, method=method)  # noqa: S310 (our own loopback address)
        request.add_header("Accept", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        if isinstance(body, bytes):
            request.data = body
        elif body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=HANG_SECONDS) as answer:  # noqa: S310
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise RestError(error.code, error.read().decode(errors="replace")) from None
        is_page = isinstance(body, bytes)
        return json.loads(text) if text and not is_page else {}


def _quote(run_id: str) -> str:
    return urllib.parse.quote(run_id, safe="")


def _task_path(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    path = f"dags/{dag_id}/dagRuns/{_quote(run_id)}/taskInstances/{task_id}"
    return path if map_index < 0 else f"{path}/{map_index}"


def _line(entry: Any) -> str:
    """One structured line of a log; what is beside its text is kept, because headlines stand there."""
    if isinstance(entry, str):
        return entry
    more = {name: value for name, value in entry.items() if name not in {"timestamp", "event", "level"}}
    return f"{entry.get('level', '')} {entry['event']} {json.dumps(more) if more else ''}".strip()


def _literal(text: Any) -> Any:
    """API v1 gives a value as the text that Python prints for it."""
    if not isinstance(text, str):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
