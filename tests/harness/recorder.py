"""Records all objects that ever existed in a namespace, deleted ones included."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import urllib3

from tests.harness import HANG_SECONDS
from tests.harness.tasks import TASKS, Namespace, Object


class Recorder:
    """Watches the Pods and PodTasks of a namespace from its beginning. `pods` and `tasks` are by uid, as last seen."""

    def __init__(self, namespace: Namespace) -> None:
        self.pods: dict[str, Object] = {}
        self.tasks: dict[str, Object] = {}
        self._news = threading.Condition()
        self._streams: dict[int, urllib3.HTTPResponse] = {}
        self._is_stopping = False
        self._threads = [
            self._follow(self.pods, namespace.core.list_namespaced_pod, namespace=namespace.name),
            self._follow(self.tasks, namespace.custom.list_namespaced_custom_object, namespace=namespace.name, **TASKS),
        ]

    def until(self, fact: Callable[["Recorder"], bool], seconds: float = HANG_SECONDS) -> None:
        """Wait until `fact` holds for what was seen."""
        with self._news:
            assert self._news.wait_for(lambda: fact(self), seconds), self.story()

    def story(self) -> str:
        """Return a summary of what was seen."""
        lines = [
            f"PodTask {task['metadata']['name']}: {task.get('status', {}).get('phase')} "
            f"{task.get('status', {}).get('reason')}, cancel {task['spec'].get('cancel')}"
            for task in self.tasks.values()
        ]
        lines += [f"Pod {pod['metadata']['name']}: {pod['status'].get('phase')}" for pod in self.pods.values()]
        return "\n".join(lines) or "nothing was made"

    def phases(self) -> list[str]:
        """The phase of each PodTask, in the order in which they were made."""
        made = sorted(self.tasks.values(), key=lambda task: str(task["metadata"]["creationTimestamp"]))
        return [str(task.get("status", {}).get("phase")) for task in made]

    def stop(self) -> None:
        """End the watches."""
        self._is_stopping = True
        for stream in list(self._streams.values()):
            with contextlib.suppress(OSError):  # a stream that just ended has no socket any more
                stream.shutdown()
        for thread in self._threads:
            thread.join(HANG_SECONDS)

    def _follow(self, seen: dict[str, Object], listing: Callable[..., Any], **where: str) -> threading.Thread:
        def read() -> None:
            while not self._is_stopping:
                for found in self._changes(listing, **where):
                    with self._news:
                        seen[found["metadata"]["uid"]] = found
                        self._news.notify_all()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def _changes(self, listing: Callable[..., Any], **where: str) -> Iterator[Object]:
        """One watch, which begins with what is there; it may end early, and the next one begins the same way."""
        stream = listing(watch=True, timeout_seconds=900, _preload_content=False, **where)
        self._streams[threading.get_ident()] = stream
        rest = b""
        try:
            for piece in stream.stream(amt=None, decode_content=False):
                if self._is_stopping:
                    return  # once TLS is shut down, what still comes is its ciphertext
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] in {"ADDED", "MODIFIED", "DELETED"}:
                        yield event["object"]
        except urllib3.exceptions.HTTPError:
            return
        finally:
            stream.close()
