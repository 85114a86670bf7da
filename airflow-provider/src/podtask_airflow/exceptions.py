"""What a task can end with, as types: Airflow's retry policies and callbacks tell causes apart by them.

PodTaskError                     anything of ours
├── PodTaskFailed                the task itself failed: exit code, OOM
│   ├── PodTaskDisrupted         evicted, preempted, its node lost: not its fault
│   ├── PodTaskDeadlineExceeded  one of its deadlines
│   ├── PodTaskCancelled         somebody cancelled it
│   ├── PodTaskResultError       the container succeeded, its result did not
│   └── PodTaskConfigurationError  no try can help (an AirflowFailException too, so none is made)
├── PodTaskLost                  the object is gone, or another process waits for it now
│   └── PodTaskUnreachable       the API server could not be heard for too long
├── PodTaskTerminated            this process was told to stop
└── ControllerMissing            nobody acts on PodTasks
PodTaskSkipped                   an AirflowSkipException
"""

from __future__ import annotations

from dataclasses import dataclass

from . import errors
from .version_compat import AirflowException, AirflowFailException, AirflowSkipException


@dataclass(frozen=True)
class Outcome:
    """What the status says about an end that is no success."""

    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    container: str = ""
    node: str = ""
    pod_name: str = ""
    attempt: int | None = None
    log_tail: str = ""


class PodTaskError(AirflowException):  # type: ignore[misc]
    """The root of all errors of this provider's operator."""


class PodTaskFailed(PodTaskError):
    """The task failed. `reason` is one of docs/reference/reasons.md."""

    def __init__(self, headline: str, outcome: Outcome | None = None) -> None:
        super().__init__(headline)
        self.outcome = outcome or Outcome()

    @property
    def reason(self) -> str:
        """One word out of docs/reference/reasons.md."""
        return self.outcome.reason

    @property
    def exit_code(self) -> int | None:
        """The task's container's exit code, where it has one."""
        return self.outcome.exit_code

    @property
    def node(self) -> str:
        """The node of the last attempt."""
        return self.outcome.node

    @property
    def attempt(self) -> int | None:
        """The number of the last attempt."""
        return self.outcome.attempt

    @property
    def pod_name(self) -> str:
        """The Pod of the last attempt."""
        return self.outcome.pod_name


class PodTaskDisrupted(PodTaskFailed):
    """Evicted, preempted, deleted, or its node was lost, more often than disruptionLimit allows."""


class PodTaskDeadlineExceeded(PodTaskFailed):
    """One of spec.deadlines was exceeded."""


class PodTaskCancelled(PodTaskFailed):
    """spec.cancel was set, or spec.cancelAfter reached."""


class PodTaskResultError(PodTaskFailed):
    """The task's result is missing, not JSON, too large, or was lost on its way."""


class PodTaskConfigurationError(PodTaskFailed, AirflowFailException):  # type: ignore[misc]
    """What was asked for is refused, and would be refused again: Airflow makes no further try."""


class PodTaskLost(PodTaskError):
    """The PodTask is gone, or another process waits for it now."""


class PodTaskUnreachable(PodTaskLost):
    """The API server could not be heard for longer than api_outage_tolerance, or refuses to be watched."""


class PodTaskTerminated(PodTaskError):
    """The process was told to stop before the task had ended."""


class ControllerMissing(PodTaskError):
    """No controller acts on PodTasks in this cluster."""


class PodTaskSkipped(AirflowSkipException):  # type: ignore[misc]
    """A rule with action Skip matched."""


def of_request(error: errors.ApiError) -> PodTaskError:
    """Make of a request's failure what Airflow understands; what no further try can mend says so by its type."""
    if isinstance(error, errors.Invalid):
        return PodTaskConfigurationError(str(error))
    return PodTaskError(str(error))
