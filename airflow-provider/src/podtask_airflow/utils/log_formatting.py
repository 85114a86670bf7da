"""Write the lines of containers into the task's log: at the level that a line names, folded where it asks for that."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import constants
from ..api_types import PodTask
from ..hooks.podtask import PodTaskClient
from . import pod_mutation
from .pod_logs import LogFollower

if TYPE_CHECKING:
    from .arguments import Arguments

Selection = bool | str | list[str] | None
"""Names of containers; True for all, None for the default."""
FINISH_SECONDS = 30.0
"""How long a followed log is read on after the task has ended."""

_LEVEL = re.compile(r"[\W\dTZ]*(?<![A-Z])(DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b")
"""One repetition of single characters, so that matching takes linear time whatever the line holds."""
_NUMBERS = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
    "FATAL": logging.CRITICAL,
}
_GROUPS = ("::group::", "::endgroup::")


def level(line: str) -> int:
    """Return the logging level that a line begins with, after a date and brackets if any; INFO without one."""
    found = _LEVEL.match(line)
    return logging.INFO if found is None else _NUMBERS[found.group(1)]


class LogFormatter:
    """Writes lines to a logger, through the user's `log_formatter` if there is one."""

    def __init__(
        self, log: logging.Logger, *, with_prefix: bool, formatter: Callable[[str, str], str] | None = None
    ) -> None:
        self._log = log
        self._with_prefix = with_prefix
        self._formatter = formatter

    def write(self, container: str, line: str) -> None:
        """Write one line."""
        if line.startswith(_GROUPS):
            # Airflow's UI folds the lines between these two, and recognises them only without a prefix.
            self._log.info("%s", line)
        elif self._formatter is not None:
            self._log.log(level(line), "%s", self._formatter(container, line))
        elif self._with_prefix:
            self._log.log(level(line), "[%s] %s", container, line)
        else:
            self._log.log(level(line), "%s", line)


@dataclass(frozen=True)
class LogContainers:
    """The containers whose logs are shown."""

    init_containers: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.init_containers, *self.containers)


def select_containers(
    *, get_logs: bool, base: str, containers: Selection, init_containers: Selection, podtask: Callable[[], PodTask]
) -> LogContainers:
    """Return whose logs are wanted. True means all containers, the only case that needs the PodTask."""
    pod = pod_mutation.pod_of(podtask())["spec"] if containers is True or init_containers is True else {}

    def wanted(given: Selection, field: str, default: list[str]) -> tuple[str, ...]:
        if given is True:
            return tuple(container["name"] for container in pod.get(field) or [])
        return tuple([given] if isinstance(given, str) else given or default)

    main = wanted(containers, "containers", [base]) if get_logs else ()
    return LogContainers(wanted(init_containers, "initContainers", []), main)


class LogConsumer:
    """Streams the container logs of one run into the task log, and passes each line to progress_callback."""

    def __init__(
        self,
        client: PodTaskClient,
        arguments: Arguments,
        log: logging.Logger,
        on_line: Callable[[str, str], None],
    ) -> None:
        self._client = client
        self._arguments = arguments
        self._log = log
        self._on_line = on_line
        self._follower: LogFollower | None = None
        self._formatter = LogFormatter(
            log,
            with_prefix=bool(arguments.container_name_log_prefix_enabled),
            formatter=arguments.log_formatter,
        )

    def select(self, podtask: Callable[[], PodTask]) -> LogContainers:
        """Return whose logs the arguments ask for."""
        arguments = self._arguments
        return select_containers(
            get_logs=bool(arguments.get_logs),
            base=arguments.base_container_name or constants.DEFAULT_CONTAINER,
            containers=arguments.container_logs,
            init_containers=arguments.init_container_logs,
            podtask=podtask,
        )

    def follow(self, task: PodTask) -> None:
        """Prepare to follow the logs; `attempt` starts with a Pod."""
        selected = self.select(lambda: task)
        if selected.names:
            self._follower = self._make(selected, task["metadata"]["namespace"], None)

    def attempt(self, pod_name: str, number: int | None) -> None:
        """Follow the logs of this Pod from now on."""
        if self._follower is not None:
            self._follower.attempt(pod_name, number)

    def finish(self) -> None:
        """Show the rest of the followed logs."""
        if self._follower is None:
            return
        if not self._follower.finish(FINISH_SECONDS):
            self._log.warning("The rest of the log could not be read within %.0f s", FINISH_SECONDS)
        self._warn_of_failures(self._follower)

    def fetch(self, event: Mapping[str, Any], podtask: Callable[[], PodTask]) -> None:
        """Show what the trigger has not shown. `event` is the trigger's."""
        selected = self.select(podtask)
        if not selected.names or not event.get("pod_name"):
            return
        follower = self._make(selected, event["namespace"], event.get("log_positions"))
        for container in selected.names:
            follower.fetch(event["pod_name"], container)
        self._warn_of_failures(follower)

    def _make(self, selected: LogContainers, namespace: str, since: Mapping[str, Any] | None) -> LogFollower:
        return LogFollower(
            self._client,
            namespace,
            containers=selected.containers,
            init_containers=selected.init_containers,
            emit=self._emit,
            since=since,
        )

    def _emit(self, container: str, line: str) -> None:
        self._formatter.write(container, line)
        self._on_line(container, line)

    def _warn_of_failures(self, follower: LogFollower) -> None:
        for (pod, container), error in follower.failures.items():
            self._log.warning("The log of container %s of Pod %s cannot be read: %s", container, pod, error)
