"""The logs of a task's containers as one leg shows them: live while it waits, or all at once after the trigger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from . import logs, names
from .showing import Lines, Shown, shown_containers

if TYPE_CHECKING:
    from .adoption import Task
    from .arguments import Arguments
    from .client import Client

END_SECONDS = 30.0
"""What is left of a live log when the task has ended has this long."""


class Logbook:
    """One leg's. `line` is told each line as well."""

    def __init__(
        self, client: Client, arguments: Arguments, log: logging.Logger, line: Callable[[str, str], None]
    ) -> None:
        self._client = client
        self._arguments = arguments
        self._log = log
        self._line = line
        self._follower: logs.Follower | None = None
        self._lines = Lines(
            log,
            with_prefix=bool(arguments.container_name_log_prefix_enabled),
            formatter=arguments.log_formatter,
        )

    def shown(self, podtask: Callable[[], Task]) -> Shown:
        """Whose logs are wanted."""
        arguments = self._arguments
        return shown_containers(
            get_logs=bool(arguments.get_logs),
            base=arguments.base_container_name or names.DEFAULT_CONTAINER,
            containers=arguments.container_logs,
            init_containers=arguments.init_container_logs,
            podtask=podtask,
        )

    def follow(self, task: Task) -> None:
        """Show what is wanted while the task runs, from its next attempt on."""
        shown = self.shown(lambda: task)
        if shown.names:
            self._follower = self._make(shown, task["metadata"]["namespace"], None)

    def attempt(self, pod_name: str, number: int | None) -> None:
        """Go on with the task's Pod of now."""
        if self._follower is not None:
            self._follower.attempt(pod_name, number)

    def finish(self) -> None:
        """Show the rest of what was followed."""
        if self._follower is None:
            return
        if not self._follower.finish(END_SECONDS):
            self._log.warning("The rest of the log did not come within %.0f s", END_SECONDS)
        self._tell_unread(self._follower)

    def fetch(self, event: Mapping[str, Any], podtask: Callable[[], Task]) -> None:
        """Show what the trigger did not show live."""
        shown = self.shown(podtask)
        if not shown.names or not event.get("pod_name"):
            return
        follower = self._make(shown, event["namespace"], event.get("log_places"))
        for container in shown.names:
            follower.fetch(event["pod_name"], container)
        self._tell_unread(follower)

    def _make(self, shown: Shown, namespace: str, since: Mapping[str, Any] | None) -> logs.Follower:
        return logs.Follower(
            self._client,
            namespace,
            containers=shown.containers,
            init_containers=shown.init_containers,
            emit=self._emit,
            since=since,
        )

    def _emit(self, container: str, line: str) -> None:
        self._lines.show(container, line)
        self._line(container, line)

    def _tell_unread(self, follower: logs.Follower) -> None:
        for container, error in follower.failures.items():
            self._log.warning("The log of container %s cannot be shown: %s", container, error)
