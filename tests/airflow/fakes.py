"""What the operator's tests share: a task's context, and a cluster in memory that keeps PodTasks by the API's rules.

The cluster knows names, uids, versions, JSON patch with its tests, and watches; what a controller would write, a test
writes. The tests in `apiserver` run the same paths against a real API server.
"""

from __future__ import annotations

import copy
import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from podtask_airflow.hooks import api_errors
from podtask_airflow.utils.identity import Identity

Task = dict[str, Any]
RUN_START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class FakeTi:
    """The fields of a task instance of Airflow that a run reads."""

    def __init__(self, **more: Any) -> None:
        self.dag_id, self.run_id, self.task_id, self.map_index = "dag", "run", "task", -1
        self.try_number, self.max_tries, self.id = 1, 0, "ti-1"
        self.xcoms: dict[str, Any] = {}
        self.__dict__.update(more)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


def context(**more: Any) -> dict[str, Any]:
    """A context with the task instance and its run."""
    run = SimpleNamespace(start_date=more.pop("run_start", RUN_START))
    return {"ti": FakeTi(**more), "dag_run": run}


def identity(**more: Any) -> Identity:
    """The identity of that context."""
    given: dict[str, Any] = {
        "deployment": "prod",
        "dag_id": "dag",
        "run_id": "run",
        "task_id": "task",
        "map_index": -1,
        "run_start": RUN_START,
        "try_number": 1,
        "max_tries": 0,
        "ti_id": "ti-1",
    }
    return Identity(**{**given, **more})


class FakeCluster:
    """A client whose cluster is in memory. `on_create` plays the controller."""

    def __init__(self, on_create: Callable[[FakeCluster, Task], None] | None = None) -> None:
        self.objects: dict[tuple[str, str], Task] = {}
        self.requests: list[str] = []
        self.on_create = on_create
        self.fail: Callable[[str], api_errors.ApiError | None] = lambda _: None
        self._numbers = itertools.count(1)
        self._watches: list[tuple[str, str, queue.SimpleQueue[Any]]] = []
        self._lock = threading.RLock()
        self.is_closed = False

    # The client's side

    def create(self, namespace: str, body: Task) -> Task:
        self._note("POST")
        with self._lock:
            name = body["metadata"]["name"]
            if (namespace, name) in self.objects:
                raise api_errors.Conflict(f"{name} exists", status=409)
            made = copy.deepcopy(body)
            number = next(self._numbers)
            made["metadata"] |= {
                "namespace": namespace,
                "uid": f"uid-{number}",
                "creationTimestamp": f"2026-01-01T00:00:{number:02d}Z",
                "resourceVersion": str(number),
            }
            made.setdefault("status", {"phase": "Pending"})
            self.objects[namespace, name] = made
        if self.on_create is not None:
            self.on_create(self, made)
        return copy.deepcopy(made)

    def get(self, namespace: str, name: str) -> Task:
        self._note("GET")
        if (namespace, name) not in self.objects:
            raise api_errors.NotFound(f"{name} not found", status=404)
        return copy.deepcopy(self.objects[namespace, name])

    def list(self, namespace: str, selector: str = "", page: int = 500) -> Iterator[Task]:
        self._note("LIST")
        key, _, value = selector.partition("=")
        for (home, _), found in list(self.objects.items()):
            if home == namespace and found["metadata"].get("labels", {}).get(key) == value:
                yield copy.deepcopy(found)

    def patch(self, namespace: str, name: str, ops: list[dict[str, Any]]) -> Task:
        self._note("PATCH")
        if (namespace, name) not in self.objects:
            raise api_errors.NotFound(f"{name} not found", status=404)
        with self._lock:
            changed = copy.deepcopy(self.objects[namespace, name])
            for operation in ops:
                _apply(changed, operation)
            self.objects[namespace, name] = changed
            self._changed(changed, "MODIFIED")
            return copy.deepcopy(changed)

    def watch(self, namespace: str, *, name: str, resource_version: str, **_: Any) -> FakeWatch:
        self._note("WATCH")
        found = FakeWatch()
        with self._lock:
            self._watches.append((namespace, name, found.events))
            now = self.objects.get((namespace, name))
            if now is not None and now["metadata"]["resourceVersion"] != resource_version:
                found.events.put(("MODIFIED", copy.deepcopy(now)))
        return found

    def pod_log(self, namespace: str, pod: str, container: str, **_: Any) -> Any:
        self._note("LOG")
        raise api_errors.NotFound("no such pod", status=404)

    def events(self, namespace: str, uid: str) -> list[Any]:
        self._note("EVENTS")
        return [{"reason": "Failed", "message": f"of {uid}"}]

    def close(self) -> None:
        self.is_closed = True

    # The controller's and other people's side

    def write(self, task: Task, **status: Any) -> None:
        """Change the status."""
        with self._lock:
            found = self.objects[task["metadata"]["namespace"], task["metadata"]["name"]]
            found["status"] = {**found["status"], **status}
            self._changed(found, "MODIFIED")

    def delete(self, task: Task) -> None:
        """Delete the object."""
        with self._lock:
            found = self.objects.pop((task["metadata"]["namespace"], task["metadata"]["name"]))
            self._changed(found, "DELETED")

    @property
    def only(self) -> Task:
        """The one object there is."""
        (found,) = self.objects.values()
        return found

    def _changed(self, task: Task, kind: str) -> None:
        task["metadata"]["resourceVersion"] = str(next(self._numbers))
        home, name = task["metadata"]["namespace"], task["metadata"]["name"]
        for namespace, watched, events in self._watches:
            if (namespace, watched) == (home, name):
                events.put((kind, copy.deepcopy(task)))

    def _note(self, request: str) -> None:
        self.requests.append(request)
        error = self.fail(request)
        if error is not None:
            raise error


class FakeWatch:
    """A watch that any thread may close."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[Any]:
        while (event := self.events.get()) is not None:
            yield event

    def close(self) -> None:
        self.events.put(None)


def _apply(target: Task, operation: dict[str, Any]) -> None:
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"][1:].split("/")]
    for part in parents:
        if part not in target:
            raise api_errors.Invalid("missing path", status=422)
        target = target[part]
    if operation["op"] == "test":
        if target.get(last) != operation["value"]:
            raise api_errors.PatchTestFailed("test failed", status=422)
    elif operation["op"] == "remove":
        if last not in target:
            raise api_errors.Invalid("missing path", status=422)
        del target[last]
    else:
        target[last] = operation["value"]


def ends(phase: str = "Succeeded", reason: str = "Completed", **more: Any) -> Callable[[FakeCluster, Task], None]:
    """A controller that ends every task at once."""

    def write(cluster: FakeCluster, task: Task) -> None:
        attempt = {"number": 1, "podName": "pod-1", "nodeName": "node-1", "exitCode": more.get("exitCode", 0)}
        attempts = more.pop("attempts", [attempt]) if "attempts" in more else [attempt]
        cluster.write(task, phase=phase, reason=reason, attempts=attempts, observedGeneration=1, **more)

    return write


def operator_for(cluster: Any, **arguments: Any) -> Any:
    """An operator whose cluster is the given one."""
    from podtask_airflow.hooks import cluster_config
    from podtask_airflow.operators.podtask import PodTaskOperator

    class InMemory(PodTaskOperator):
        def make_client(self, arguments: Any) -> Any:
            cluster.is_closed = False
            return cluster

        def _cluster_config(self, arguments: Any) -> cluster_config.ClusterConfig:
            return cluster_config.ClusterConfig(lambda: None, None)

    return InMemory(**{"task_id": "task", "image": "image:1", "get_logs": False, **arguments})


def dag_of(**more: Any) -> Any:
    """A DAG, made as this Airflow wants it."""
    try:
        from airflow.sdk import DAG
    except ImportError:
        from airflow.models.dag import DAG
    return DAG("dag", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC), **more)
