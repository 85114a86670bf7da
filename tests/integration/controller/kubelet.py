"""A fake scheduler and kubelet for a cluster with only an API server: it writes the status of Pods.

What it writes is what a real kubelet was seen to write (tests/node runs the same stories on one); it exists so that
a task runs in milliseconds and can be interrupted at any point.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes
from kubernetes import client, watch

from tests.harness import HANG_SECONDS

Object = dict[str, Any]
ExitCode = Callable[[Object], int]


def always(code: int) -> ExitCode:
    """Every Pod's main container ends with this code."""
    return lambda _: code


def by_attempt(*codes: int) -> ExitCode:
    """The n-th attempt ends with the n-th code."""
    return lambda pod: codes[int(pod["metadata"]["labels"]["podtask.dev/attempt"]) - 1]


class Kubelet:
    """Runs every Pod of one namespace to its end. `created` are the uids of all Pods there ever were."""

    def __init__(self, kubeconfig: Path, namespace: str, exit_code: ExitCode, message: str = "") -> None:
        """`message` is what the main container leaves in its termination message."""
        self._api = client.CoreV1Api(kubernetes.config.new_client_from_config(config_file=str(kubeconfig)))
        self._namespace = namespace
        self._exit_code = exit_code
        self._message = message
        self.created: dict[str, str] = {}
        self.problems: list[BaseException] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Kubelet":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        # A last object wakes the watch, so that the thread sees the flag at once.
        self._api.create_namespaced_pod(
            self._namespace, {"metadata": {"name": "end"}, "spec": {"containers": [{"name": "end", "image": "end"}]}}
        )
        self._thread.join(HANG_SECONDS)
        assert not self._thread.is_alive()
        self._api.api_client.close()
        assert not self.problems, self.problems

    def _run(self) -> None:
        moved: set[str] = set()
        while not self._stop.is_set():
            stream = watch.Watch()
            for event in stream.stream(self._api.list_namespaced_pod, self._namespace, timeout_seconds=60):
                if self._stop.is_set():
                    stream.stop()
                    break
                pod = event["raw_object"]
                try:
                    self._move(pod, event["type"], moved)
                except client.ApiException as error:
                    if error.status not in {404, 409}:
                        self.problems.append(error)

    def _move(self, pod: Object, kind: str, moved: set[str]) -> None:
        uid = pod["metadata"]["uid"]
        if "podtask.dev/task-uid" not in pod["metadata"].get("labels", {}):
            return
        self.created.setdefault(uid, pod["metadata"]["name"])
        if kind == "DELETED" or uid in moved:
            return
        moved.add(uid)
        name = pod["metadata"]["name"]
        self._api.create_namespaced_binding(
            self._namespace,
            {"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}},
            _preload_content=False,
        )
        self._write(name, "Running", {"running": {"startedAt": _now()}})
        code = self._exit_code(pod)
        ended = {
            "exitCode": code,
            "message": self._message,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": _now(),
            "finishedAt": _now(),
        }
        self._write(name, "Succeeded" if code == 0 else "Failed", {"terminated": ended})

    def _write(self, name: str, phase: str, state: Object) -> None:
        container = {
            "name": "base",
            "image": "i",
            "imageID": "sha256:0",
            "ready": False,
            "restartCount": 0,
            "state": state,
        }
        status = {"phase": phase, "startTime": _now(), "containerStatuses": [container]}
        self._api.patch_namespaced_pod_status(name, self._namespace, {"status": status})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
