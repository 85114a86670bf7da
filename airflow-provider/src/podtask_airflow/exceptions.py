"""The exceptions that end a task. Retry policies and callbacks of Airflow tell causes apart by their types.

PodTaskError                       base class
├── PodTaskFailed                  the task failed: exit code, out of memory
│   ├── PodTaskDisrupted           evicted, preempted, or its node was lost
│   ├── PodTaskDeadlineExceeded    one of its deadlines was exceeded
│   ├── PodTaskCancelled           it was cancelled
│   ├── PodTaskResultError         the container succeeded, but its result is missing or invalid
│   └── PodTaskConfigurationError  a retry would fail in the same way (also an AirflowFailException: no retry)
├── PodTaskLost                    the PodTask was deleted, or another try is its owner
│   └── PodTaskUnreachable         the API server was unavailable for too long
├── PodTaskTerminated              the worker is shutting down, or the task was killed
└── PodTaskControllerNotFound      no controller reconciles PodTasks
PodTaskSkipped                     an AirflowSkipException
"""

from __future__ import annotations

from dataclasses import dataclass

from .hooks import api_errors
from .version_compat import AirflowException, AirflowFailException, AirflowSkipException


@dataclass(frozen=True)
class Outcome:
    """What the status says about an end other than success."""

    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    container: str = ""
    node: str = ""
    pod_name: str = ""
    attempt: int | None = None
    log_tail: str = ""


class PodTaskError(AirflowException):  # type: ignore[misc]
    """Base class of the operator's errors."""


class PodTaskFailed(PodTaskError):
    """The task failed. `reason` is listed in docs/reference/reasons.md."""

    def __init__(self, headline: str, outcome: Outcome | None = None) -> None:
        super().__init__(headline)
        self.outcome = outcome or Outcome()

    @property
    def reason(self) -> str:
        """status.reason of the PodTask, listed in docs/reference/reasons.md."""
        return self.outcome.reason

    @property
    def exit_code(self) -> int | None:
        """The exit code of the task's container, if it has one."""
        return self.outcome.exit_code

    @property
    def node(self) -> str:
        """The node of the last attempt; empty where there is none."""
        return self.outcome.node

    @property
    def attempt(self) -> int | None:
        """The number of the last attempt."""
        return self.outcome.attempt

    @property
    def pod_name(self) -> str:
        """The Pod of the last attempt; empty where there is none."""
        return self.outcome.pod_name


class PodTaskDisrupted(PodTaskFailed):
    """Evicted, preempted, deleted, or its node was lost, more often than disruptionLimit allows."""


class PodTaskDeadlineExceeded(PodTaskFailed):
    """One of spec.deadlines was exceeded."""


class PodTaskCancelled(PodTaskFailed):
    """spec.cancel was set, or spec.cancelTime reached."""


class PodTaskResultError(PodTaskFailed):
    """The task's result is missing, not JSON, too large, or was lost before it was collected."""


class PodTaskConfigurationError(PodTaskFailed, AirflowFailException):  # type: ignore[misc]
    """The PodTask was rejected, and a retry would be rejected as well: Airflow does not retry."""


class PodTaskLost(PodTaskError):
    """The PodTask was deleted, or another try is its owner."""


class PodTaskUnreachable(PodTaskLost):
    """The PodTask could not be watched for longer than api_outage_tolerance, or the watch is forbidden."""


class PodTaskTerminated(PodTaskError):
    """The worker is shutting down, or the task was killed, before the task had ended."""


class PodTaskControllerNotFound(PodTaskError):
    """No controller reconciles PodTasks in this cluster or namespace."""


class PodTaskSkipped(AirflowSkipException):  # type: ignore[misc]
    """A rule with action Skip matched."""


def of_request(error: api_errors.ApiError) -> PodTaskError:
    """Return the task's exception for a failed request; PodTaskConfigurationError where a retry is useless."""
    if isinstance(error, api_errors.Invalid):
        return PodTaskConfigurationError(str(error))
    return PodTaskError(str(error))
