"""One Pod on one machine: its containers, and what the kubelet tells the API server about them."""

import base64
import gzip
import hashlib
from typing import Any

import orjson

from podtask.api import names
from podtask.core import xcom_injection

from .model import stamp

Object = dict[str, Any]


class Containers:
    """The states of a Pod's containers, as the kubelet has them."""

    def __init__(self, pod: Object, main: str, skew: float) -> None:
        spec = pod["spec"]
        self.main: Object = next((c for c in spec["containers"] if c["name"] == main), spec["containers"][0])
        self.others = [c["name"] for c in spec["containers"] if c is not self.main]
        inits = spec.get("initContainers", [])
        self.inits = [c["name"] for c in inits if c.get("restartPolicy") != "Always"]
        self.sidecars = [c["name"] for c in inits if c.get("restartPolicy") == "Always"]
        self.skew = skew
        first = "PodInitializing" if inits else "ContainerCreating"
        self.states: dict[str, Object] = {
            c["name"]: {"waiting": {"reason": first}} for c in [*inits, *spec["containers"]]
        }
        self._inits = [c["name"] for c in inits]
        self._mains = [c["name"] for c in spec["containers"]]

    @property
    def name(self) -> str:
        """The main container's name."""
        return str(self.main["name"])

    @property
    def has_result_sidecar(self) -> bool:
        """Whether the result comes by sidecar."""
        return names.RESULT_CONTAINER in self.sidecars

    @property
    def is_direct(self) -> bool:
        """Whether the main container's termination message is its result."""
        return "terminationMessagePath" in self.main

    def wait(self, name: str, reason: str, message: str = "") -> None:
        """A container has not started."""
        self.states[name] = {"waiting": {"reason": reason, "message": message}}

    def start(self, name: str, at: float) -> None:
        """A container runs."""
        self.states[name] = {"running": {"startedAt": stamp(at + self.skew)}}

    def end(self, name: str, at: float, code: int, reason: str = "", message: str = "") -> None:
        """A container has ended."""
        before = self.states[name].get("running", {})
        ended = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "message": message}
        if before:
            ended |= {"startedAt": before["startedAt"], "finishedAt": stamp(at + self.skew)}
        self.states[name] = {"terminated": ended}

    def running(self) -> list[str]:
        """The containers that run."""
        return [name for name, state in self.states.items() if "running" in state]

    def statuses(self) -> Object:
        """Both lists, as in the status."""
        return {
            "initContainerStatuses": [self._status(name) for name in self._inits],
            "containerStatuses": [self._status(name) for name in self._mains],
        }

    def _status(self, name: str) -> Object:
        waiting = "waiting" in self.states[name]
        return {"name": name, "state": self.states[name], "imageID": "" if waiting else "sha256:1", "restartCount": 0}


def envelope(result: bytes | None, sidecar: Object) -> tuple[str, bytes]:
    """Give the sidecar's message, and its log, for a result file (None: there is no file)."""
    arguments = dict(a.removeprefix("--").split("=", 1) for a in sidecar["args"])
    if result is None:
        return _json(state="missing"), b""
    if len(result) > int(arguments["max-bytes"]):
        return _json(state="tooLarge", size=len(result)), b""
    digest = hashlib.sha256(result).hexdigest()
    inline = _json(state="inline", size=len(result), sha256=digest, encoding="raw", payload=result.decode())
    if len(inline) <= int(arguments["inline-bytes"]):
        return inline, b""
    packed = base64.b64encode(gzip.compress(result, mtime=0))
    parts = [packed[i : i + 8000] for i in range(0, len(packed), 8000)]
    lines = [
        b"podtask-xcom/1 %s %d/%d %s\n" % (digest[:16].encode(), number, len(parts), part)
        for number, part in enumerate(parts, 1)
    ]
    return _json(state="log", size=len(result), sha256=digest, encoding="gzip+base64", chunks=len(parts)), b"".join(
        lines
    )


def direct_message(result: bytes | None, containers: int) -> str:
    """Give the termination message that is the result, cut as the kubelet cuts it."""
    limit = xcom_injection.message_bytes(containers - 2)  # the kubelet reckons with no spare containers
    return (result or b"")[-limit:].decode()


def _json(**fields: object) -> str:
    return orjson.dumps({"v": 1, **fields}).decode()
