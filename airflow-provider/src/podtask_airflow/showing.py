"""Show containers' lines in the task's log: at the level that a line names itself, folded where it asks for that."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import mutation

_LEVEL = re.compile(r"[\W\dTZ]*(?<![A-Z])(DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b")
"""One repetition of single characters, so that a line takes time in proportion to its length, whatever is in it."""
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


class Lines:
    """Where the lines of a task's containers go."""

    def __init__(
        self, log: logging.Logger, *, with_prefix: bool, formatter: Callable[[str, str], str] | None = None
    ) -> None:
        self._log = log
        self._with_prefix = with_prefix
        self._formatter = formatter

    def show(self, container: str, line: str) -> None:
        """Log one line."""
        if line.startswith(_GROUPS):
            # Airflow's UI folds what stands between two such lines, and knows them only without a prefix.
            self._log.info("%s", line)
        elif self._formatter is not None:
            self._log.log(level(line), "%s", self._formatter(container, line))
        elif self._with_prefix:
            self._log.log(level(line), "[%s] %s", container, line)
        else:
            self._log.log(level(line), "%s", line)


def level(line: str) -> int:
    """Read the level that a line begins with, after a date and brackets if any."""
    found = _LEVEL.match(line)
    return logging.INFO if found is None else _NUMBERS[found.group(1)]


@dataclass(frozen=True)
class Shown:
    """Whose logs are shown."""

    init_containers: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.init_containers, *self.containers)


def shown_containers(
    *, get_logs: bool, base: str, containers: Any, init_containers: Any, podtask: Callable[[], dict[str, Any]]
) -> Shown:
    """Say whose logs are wanted. True means all, and is the only case that needs to look at the object."""
    pod = mutation.pod_of(podtask())["spec"] if containers is True or init_containers is True else {}

    def wanted(given: Any, listed: str, otherwise: list[str]) -> tuple[str, ...]:
        if given is True:
            return tuple(container["name"] for container in pod.get(listed) or [])
        return tuple([given] if isinstance(given, str) else given or otherwise)

    main = wanted(containers, "containers", [base]) if get_logs else ()
    return Shown(wanted(init_containers, "initContainers", []), main)
