"""KubernetesPodOperator's callbacks, fired on the transitions of the PodTask's status while a worker looks on.

They get what they get there: a live CoreV1Api of the task's cluster, and the Pod as it is in the cluster at that
moment. A method that could never be called is refused while the DAG is parsed, so nothing fails by silence.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import adoption
from .arguments import ArgumentError

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
"""What happens while nobody is in a worker."""
_BASES = ("PodTaskCallback", "KubernetesPodOperatorCallback")


class PodTaskCallback:
    """Base class of callbacks; KubernetesPodOperatorCallback will do as well. All methods are static."""

    @staticmethod
    def on_sync_client_creation(*, client: Any, operator: Any, **kwargs: Any) -> None:
        """The worker has a client of the cluster."""

    @staticmethod
    def on_pod_manifest_created(
        *, pod_request: Any, client: Any, mode: str, operator: Any, context: Any, **kwargs: Any
    ) -> None:
        """The PodTask is about to be created; changes of the V1Pod become its template."""

    @staticmethod
    def on_pod_creation(*, pod: Any, client: Any, mode: str, operator: Any, context: Any, **kwargs: Any) -> None:
        """A Pod was created, once for each attempt; deferred: told after the end."""

    @staticmethod
    def on_pod_starting(*, pod: Any, client: Any, mode: str, operator: Any, context: Any, **kwargs: Any) -> None:
        """The task's container runs. Not with deferrable=True."""

    @staticmethod
    def on_pod_completion(*, pod: Any, client: Any, mode: str, operator: Any, context: Any, **kwargs: Any) -> None:
        """The task has ended; its Pod is kept until the next callbacks are through."""

    @staticmethod
    def on_pod_teardown(*, pod: Any, client: Any, mode: str, operator: Any, context: Any, **kwargs: Any) -> None:
        """The same moment, after all on_pod_completion."""

    @staticmethod
    def on_pod_cleanup(*, pod: Any, client: Any, mode: str, operator: Any, context: Any, **kwargs: Any) -> None:
        """The PodTask was acknowledged, so the controller may remove the Pod."""

    @staticmethod
    def on_operator_resuming(
        *, pod: Any, event: Mapping[str, Any], client: Any, mode: str, operator: Any, context: Any, **kwargs: Any
    ) -> None:
        """A worker goes on after the trigger's event."""

    @staticmethod
    def progress_callback(
        *, line: str, client: Any, mode: str, container_name: str, timestamp: Any, pod: Any, **kwargs: Any
    ) -> None:
        """A line of a container's log. Not with deferrable=True or get_logs=False."""


def check(classes: Sequence[Any], *, deferrable: bool, get_logs: bool, end_from_trigger: bool) -> None:
    """Refuse what could never be called."""
    for one in classes:
        found = overridden(one)
        silent = [name for name in _NOT_DEFERRED if name in found] if deferrable else []
        if silent:
            raise ArgumentError(
                f"callbacks: {_title(one)}.{silent[0]} cannot be called with deferrable=True, as no worker looks on"
                " while the task runs; use deferrable=False, or another callback"
            )
        if "progress_callback" in found and not get_logs:
            raise ArgumentError(f"callbacks: {_title(one)}.progress_callback needs get_logs=True")
        if found and end_from_trigger:
            raise ArgumentError(
                f"callbacks: {_title(one)} cannot be called with end_from_trigger=True, as the task then ends in the"
                " triggerer; remove one of the two"
            )


def overridden(one: Any) -> list[str]:
    """Name the methods that a callback class brings itself."""
    kind = one if isinstance(one, type) else type(one)
    homes = {name: next((c for c in kind.__mro__ if name in vars(c)), None) for name in _METHODS}
    return [name for name, home in homes.items() if home is not None and home.__name__ not in _BASES]


class Callbacks:
    """The callbacks of one leg. Errors of theirs fail the task, as they do with KubernetesPodOperator."""

    def __init__(
        self,
        classes: Sequence[Any],
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
        """Make the client and show it."""
        if self._classes:
            self._client = self._core_api()
            self._fire("on_sync_client_creation")

    def manifest_hooks(self) -> list[Callable[[Any], None]]:
        """Give what wants to see the Pod before it is asked for."""
        if not any("on_pod_manifest_created" in overridden(one) for one in self._classes):
            return []
        return [lambda pod: self._fire("on_pod_manifest_created", pod_request=pod)]

    def changed(self, task: adoption.Task) -> None:
        """Tell a Pod's creation and its start, each once."""
        name = _pod_name(task)
        if not self._classes or not name:
            return
        if name != self._pod_name:
            self._pod_name = name
            self._fire_pod("on_pod_creation", task)
        if name != self._started and adoption.phase(task) == "Running":
            self._started = name
            self._fire_pod("on_pod_starting", task)

    def resuming(self, task: adoption.Task, event: Mapping[str, Any]) -> None:
        """Tell that the trigger's event has come."""
        self._fire_pod("on_operator_resuming", task, event=dict(event))

    def completed(self, task: adoption.Task) -> None:
        """Tell the end, while the Pod is still there."""
        self._fire_pod("on_pod_completion", task)
        self._fire_pod("on_pod_teardown", task)

    def cleaned_up(self, task: adoption.Task) -> None:
        """Tell that the Pod is not needed any more."""
        self._fire_pod("on_pod_cleanup", task)

    def line(self, container: str, text: str) -> None:
        """Tell a line of a log; an error of this callback changes nothing."""
        more = {"line": text, "container_name": container, "timestamp": None, "pod": self._last}
        try:
            for one in self._wants_lines:
                _call(one.progress_callback, {**self._common, "client": self._client, **more})
        except Exception:  # noqa: BLE001 it is the user's code, and a log never changes an outcome
            self._log.exception("progress_callback failed")

    def _fire_pod(self, method: str, task: adoption.Task, **more: Any) -> None:
        if any(method in overridden(one) for one in self._classes):
            self._fire(method, pod=self._pod(task), **more)

    def _fire(self, method: str, **more: Any) -> None:
        for one in self._classes:
            if method in overridden(one):
                _call(getattr(one, method), {**self._common, "client": self._client, **more})

    def _pod(self, task: adoption.Task) -> Any:
        """Read the Pod; where it is gone or may not be read, give its name."""
        from kubernetes import client

        name, namespace = _pod_name(task) or self._pod_name, task["metadata"]["namespace"]
        try:
            self._last = self._client.read_namespaced_pod(name, namespace)
        except client.ApiException as error:
            self._log.warning("Callbacks get only the name of Pod %s: %s %s", name, error.status, error.reason)
            self._last = client.V1Pod(metadata=client.V1ObjectMeta(name=name, namespace=namespace))
        return self._last


def _pod_name(task: adoption.Task) -> str:
    attempts = (task.get("status") or {}).get("attempts") or [{}]
    return str(attempts[-1].get("podName") or "")


def _call(function: Callable[..., Any], given: dict[str, Any]) -> None:
    """Call with what the function takes: older callbacks know fewer names."""
    parameters = inspect.signature(function).parameters
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        given = {name: value for name, value in given.items() if name in parameters}
    function(**given)


def _title(one: Any) -> str:
    return getattr(one, "__name__", type(one).__name__)
