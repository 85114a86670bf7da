"""PodTasks for tests, through the official client: create, wait for a condition, read.

Waiting is a watch that begins with what is there already, so nothing is missed and nothing is polled.
"""

import contextlib
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes
from kubernetes import client, watch

from tests.harness import HANG_SECONDS

Object = dict[str, Any]
GROUP, VERSION, PLURAL = "podtask.dev", "v1alpha1", "podtasks"
TASKS = {"group": GROUP, "version": VERSION, "plural": PLURAL}
TERMINAL = {"Succeeded", "Failed", "Cancelled", "Skipped"}


class NothingCameTrue(AssertionError):
    """A wait of a test has timed out."""


class Namespace:
    """One namespace of one test."""

    def __init__(self, kubeconfig: Path, labels: dict[str, str] | None = None, name: str | None = None) -> None:
        self.api_client = kubernetes.config.new_client_from_config(config_file=str(kubeconfig))
        self.core = client.CoreV1Api(self.api_client)
        self.custom = client.CustomObjectsApi(self.api_client)
        self.name = name or f"t-{uuid.uuid4().hex[:10]}"
        self._here = {"namespace": self.name}
        if name is None:
            self.core.create_namespace({"metadata": {"name": self.name, "labels": labels or {}}})

    def close(self) -> None:
        """Delete the namespace, and close the connections."""
        with contextlib.suppress(client.ApiException):  # it is gone, or going, where that was what the test is about
            self.core.delete_namespace(self.name)
        self.api_client.close()

    def wait_deleted(self, seconds: float = HANG_SECONDS) -> None:
        """Wait until the namespace is gone with all that was in it."""
        self._until_gone(self.core.list_namespace, self.name, seconds, field_selector=f"metadata.name={self.name}")

    def wait_service_account(self) -> None:
        """Wait for the default service account, which the controller manager makes a moment after the namespace."""
        self._until(
            self.core.list_namespaced_service_account,
            lambda _, o: o["metadata"]["name"] == "default",
            HANG_SECONDS,
            **self._here,
        )

    def wait_root_certificate(self) -> None:
        """Wait for what every Pod mounts; a Pod that comes before it is started a second later."""
        self.wait_object(self.core.list_namespaced_config_map, "kube-root-ca.crt", lambda _: True)

    # ---- PodTasks ----

    def create(self, name: str, **spec: Any) -> Object:
        """Create a PodTask."""
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "PodTask", "metadata": {"name": name}, "spec": spec}
        made: Object = self.custom.create_namespaced_custom_object(
            GROUP, VERSION, self.name, PLURAL, body, field_validation="Strict"
        )
        return made

    def get(self, name: str) -> Object:
        """Read a PodTask."""
        found: Object = self.custom.get_namespaced_custom_object(GROUP, VERSION, self.name, PLURAL, name)
        return found

    def patch(self, name: str, **spec: Any) -> Object:
        """Change the spec of a PodTask."""
        changed: Object = self.custom.patch_namespaced_custom_object(
            GROUP, VERSION, self.name, PLURAL, name, {"spec": spec}
        )
        return changed

    def delete(self, name: str, propagation: str = "Background") -> None:
        """Delete a PodTask."""
        self.custom.delete_namespaced_custom_object(
            GROUP, VERSION, self.name, PLURAL, name, propagation_policy=propagation
        )

    def wait(self, name: str, fact: Callable[[Object], bool], seconds: float = HANG_SECONDS) -> Object:
        """Return the PodTask once `fact` holds for it."""

        def matches(kind: str, task: Object) -> bool:
            return task["metadata"]["name"] == name and kind != "DELETED" and fact(task)

        return self._until(self.custom.list_namespaced_custom_object, matches, seconds, **self._here, **TASKS)

    def wait_finished(self, name: str, seconds: float = HANG_SECONDS) -> Object:
        """Wait until the task has finished, and return its status."""
        task = self.wait(name, lambda t: t.get("status", {}).get("phase") in TERMINAL, seconds)
        status: Object = task["status"]
        return status

    def run(self, name: str, *, seconds: float = HANG_SECONDS, **spec: Any) -> Object:
        """Create a PodTask, wait until it has finished, and return its status."""
        self.create(name, **spec)
        return self.wait_finished(name, seconds)

    def wait_gone(self, name: str, seconds: float = HANG_SECONDS) -> None:
        """Wait until there is no PodTask of this name."""
        self._until_gone(self.custom.list_namespaced_custom_object, name, seconds, **self._here, **TASKS)

    # ---- Pods ----

    def pods(self) -> list[Object]:
        """List the Pods of this namespace, as plain objects."""
        listed = self.core.list_namespaced_pod(self.name, _preload_content=False)
        items: list[Object] = json.loads(listed.data)["items"]
        return items

    def wait_pod(self, fact: Callable[[str, Object], bool], seconds: float = HANG_SECONDS) -> Object:
        """Return the first Pod for which `fact(event type, pod)` holds."""
        return self._until(self.core.list_namespaced_pod, fact, seconds, **self._here)

    def wait_pod_gone(self, name: str, seconds: float = HANG_SECONDS) -> None:
        """Wait until there is no Pod of this name."""
        self._until_gone(self.core.list_namespaced_pod, name, seconds, **self._here)

    def log(self, pod: str, container: str = "base") -> str:
        """Read a container's log."""
        text: str = self.core.read_namespaced_pod_log(pod, self.name, container=container)
        return text

    # ---- everything else ----

    def wait_object(
        self, listing: Callable[..., Any], name: str, fact: Callable[[Object], bool], seconds: float = HANG_SECONDS
    ) -> Object:
        """Return another object of this namespace once `fact` holds for it; `listing` is the client's list call."""

        def matches(kind: str, found: Object) -> bool:
            return kind != "DELETED" and found["metadata"]["name"] == name and fact(found)

        return self._until(listing, matches, seconds, **self._here)

    def _until_gone(self, listing: Callable[..., Any], name: str, seconds: float, **where: str) -> None:
        """Watch from a list on, because a watch alone does not report that an object does not exist."""
        listed = json.loads(listing(_preload_content=False, **where).data)
        if all(item["metadata"]["name"] != name for item in listed["items"]):
            return
        self._until(
            listing,
            lambda kind, o: kind == "DELETED" and o["metadata"]["name"] == name,
            seconds,
            resource_version=listed["metadata"]["resourceVersion"],
            **where,
        )

    def _until(
        self, listing: Callable[..., Any], fact: Callable[[str, Object], bool], seconds: float, **where: str
    ) -> Object:
        """Watch until `fact` holds for an object. A stream that ends early begins again with what is there."""
        deadline = time.monotonic() + seconds
        last: Object = {}
        while (left := deadline - time.monotonic()) > 0:
            stream = watch.Watch()
            for event in stream.stream(listing, timeout_seconds=max(1, int(left)), **where):
                raw = event["raw_object"]
                last = raw
                if fact(event["type"], raw):
                    stream.stop()
                    return raw  # type: ignore[no-any-return]
        raise NothingCameTrue(f"nothing came true within {seconds} s; the last object was {last}")
