"""KubernetesPodOperator's callbacks, called on changes of the PodTask's status while a worker waits for it.

They get the same as there: a CoreV1Api of the task's cluster, and the Pod as read at that moment. A method that could
never be called is rejected while the DAG is parsed.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .api_types import PodTask
from .utils import podtask as podtasks
from .utils.arguments import ArgumentError

_METHODS = (
    "on_sync_client_creation",
    "on_pod_manifest_created",
    "on_pod_creation",
    "on_pod_starting",
    "on_pod_completion",
    "on_pod_teardown",
    "on_pod_cleanup",
    "on_operator_resuming",
    "progress_callback",
)
_NOT_DEFERRED = ("on_pod_starting", "progress_callback")
"""Methods for events during which a deferred task has no worker."""
CallbackClass = type[Any]
"""A subclass of PodTaskCallback or KubernetesPodOperatorCallback, or any class with methods of these names."""
_BASES = ("PodTaskCallback", "KubernetesPodOperatorCallback")


class PodTaskCallback:
    """Base class of callbacks; KubernetesPodOperatorCallback works as well. All methods are static."""

    @staticmethod
    def on_sync_client_creation(*, client: Any, operator: Any, **kwargs: Any) -> None:
        """Called when the worker has created a client of the cluster."""

    @staticmethod
    def on_pod_manifest_created(
        *, pod_request: Any, client: Any, mode: str, operator: Any, context: Any, **kwargs: Any
    ) -> None:
        """Called before the PodTask is created; changes of the V1Pod `pod_request` become its template."""

    @staticmethod
    def on_pod_creation(*, pod: Any, client: Any, mode: str, operator: Any, context: Any, **kwargs: Any) -> None:
        """Called when a Pod was created, once for each attempt; with deferrable=True after the end."""

    @staticmethod
    def on_pod_starting(*, pod: Any, client: Any, mode: str, operator: Any, context: Any, **kwargs: Any) -> None:
        """Called when the task's container runs. Not with deferrable=True."""

    @staticmethod
    def on_pod_completion(*, pod: Any, client: Any, mode: str, operator: Any, context: Any, **kwargs: Any) -> None:
        """Called when the task has ended; its Pod is kept until this and on_pod_teardown have returned."""

    @staticmethod
    def on_pod_teardown(*, pod: Any, client: Any, mode: str, operator: Any, context: Any, **kwargs: Any) -> None:
        """Called after on_pod_completion of all callbacks."""

    @staticmethod
    def on_pod_cleanup(*, pod: Any, client: Any, mode: str, operator: Any, context: Any, **kwargs: Any) -> None:
        """Called when the PodTask has been released, so that the controller may delete the Pod."""

    @staticmethod
    def on_operator_resuming(
        *, pod: Any, event: Mapping[str, Any], client: Any, mode: str, operator: Any, context: Any, **kwargs: Any
    ) -> None:
        """Called when a worker continues after the trigger's event."""

    @staticmethod
    def progress_callback(
        *, line: str, client: Any, mode: str, container_name: str, timestamp: Any, pod: Any, **kwargs: Any
    ) -> None:
        """Called for each line of a container's log. Not with deferrable=True or get_logs=False."""


def check(classes: Sequence[CallbackClass], *, deferrable: bool, get_logs: bool, end_from_trigger: bool) -> None:
    """Raise ArgumentError for a callback that could never be called."""
    for one in classes:
        found = overridden(one)
        silent = [name for name in _NOT_DEFERRED if name in found] if deferrable else []
        if silent:
            raise ArgumentError(
                f"callbacks: {_title(one)}.{silent[0]} cannot be called with deferrable=True, because no worker waits"
                " while the task runs; use deferrable=False, or another callback"
            )
        if "progress_callback" in found and not get_logs:
            raise ArgumentError(f"callbacks: {_title(one)}.progress_callback needs get_logs=True")
        if found and end_from_trigger:
            raise ArgumentError(
                f"callbacks: {_title(one)} cannot be called with end_from_trigger=True, because the task then ends in"
                " the triggerer; remove one of the two"
            )


def overridden(one: Any) -> list[str]:
    """Return the callback methods that a class overrides."""
    kind = one if isinstance(one, type) else type(one)
    owners = {name: next((c for c in kind.__mro__ if name in vars(c)), None) for name in _METHODS}
    return [name for name, owner in owners.items() if owner is not None and owner.__name__ not in _BASES]


class Callbacks:
    """The callbacks of one run. Their exceptions fail the task, as with KubernetesPodOperator."""

    def __init__(
        self,
        classes: Sequence[CallbackClass],
        *,
        core_api: Callable[[], Any],
        mode: str,
        operator: Any,
        context: Mapping[str, Any],
    ) -> None:
        self._classes = list(classes)
        self._common = {"mode": mode, "operator": operator, "context": context}
        self._core_api = core_api
        self._client: Any = None
        self._log: logging.Logger = operator.log
        self._last: Any = None
        self._pod_name = ""
        self._started = ""
        self._wants_lines = [one for one in self._classes if "progress_callback" in overridden(one)]

    def begin(self) -> None:
        """Create the client and call on_sync_client_creation."""
        if self._classes:
            self._client = self._core_api()
            self._fire("on_sync_client_creation")

    def manifest_hooks(self) -> list[Callable[[Any], None]]:
        """Return the functions that may change the Pod before the PodTask is created."""
        if not any("on_pod_manifest_created" in overridden(one) for one in self._classes):
            return []
        return [lambda pod: self._fire("on_pod_manifest_created", pod_request=pod)]

    def changed(self, task: PodTask) -> None:
        """Call on_pod_creation and on_pod_starting, each once per Pod."""
        name = _pod_name(task)
        if not self._classes or not name:
            return
        if name != self._pod_name:
            self._pod_name = name
            self._fire_pod("on_pod_creation", task)
        if name != self._started and podtasks.phase(task) == "Running":
            self._started = name
            self._fire_pod("on_pod_starting", task)

    def resuming(self, task: PodTask, event: Mapping[str, Any]) -> None:
        """Call on_operator_resuming."""
        self._fire_pod("on_operator_resuming", task, event=dict(event))

    def completed(self, task: PodTask) -> None:
        """Call on_pod_completion and on_pod_teardown, while the Pod still exists."""
        self._fire_pod("on_pod_completion", task)
        self._fire_pod("on_pod_teardown", task)

    def cleaned_up(self, task: PodTask) -> None:
        """Call on_pod_cleanup."""
        self._fire_pod("on_pod_cleanup", task)

    def line(self, container: str, text: str) -> None:
        """Call progress_callback with a line of a log. Exceptions are logged and do not fail the task."""
        more = {"line": text, "container_name": container, "timestamp": None, "pod": self._last}
        try:
            for one in self._wants_lines:
                _call(one.progress_callback, {**self._common, "client": self._client, **more})
        except Exception:  # noqa: BLE001 (user code; a log never changes the outcome of a task)
            self._log.exception("progress_callback failed")

    def _fire_pod(self, method: str, task: PodTask, **more: Any) -> None:
        if any(method in overridden(one) for one in self._classes):
            self._fire(method, pod=self._pod(task), **more)

    def _fire(self, method: str, **more: Any) -> None:
        for one in self._classes:
            if method in overridden(one):
                _call(getattr(one, method), {**self._common, "client": self._client, **more})

    def _pod(self, task: PodTask) -> Any:
        """Return the Pod; only its name and namespace where it was deleted or may not be read."""
        from kubernetes import client

        name, namespace = _pod_name(task) or self._pod_name, task["metadata"]["namespace"]
        try:
            self._last = self._client.read_namespaced_pod(name, namespace)
        except client.ApiException as error:
            self._log.warning(
                "Pod %s/%s cannot be read, so callbacks get only its name: %s %s",
                namespace,
                name,
                error.status,
                error.reason,
            )
            self._last = client.V1Pod(metadata=client.V1ObjectMeta(name=name, namespace=namespace))
        return self._last


def _pod_name(task: PodTask) -> str:
    return podtasks.last_attempt(task).get("podName") or ""


def _call(function: Callable[..., Any], given: dict[str, Any]) -> None:
    """Call with the arguments that the function accepts: older callbacks accept fewer."""
    parameters = inspect.signature(function).parameters
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        given = {name: value for name, value in given.items() if name in parameters}
    function(**given)


def _title(one: Any) -> str:
    return getattr(one, "__name__", type(one).__name__)
