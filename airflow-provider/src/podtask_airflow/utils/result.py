"""Turn the status of a finished PodTask into a return value or an exception.

The first line of an exception is the cause; the tail of the container's log follows. No environment and no Pod is part
of a text that Airflow stores.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from typing import Any

from .. import constants, exceptions
from ..api_types import PodTask
from ..exceptions import Outcome, PodTaskFailed, PodTaskResultError
from . import podtask as podtasks

_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**64 - 1
"""Integers of MessagePack, which the processes of Airflow 3 exchange."""
_MAX_DEPTH = 100
"""Airflow's serializer uses several stack frames for each level."""

_CONFIGURATION = frozenset(
    {
        "AdmissionDenied",
        "InvalidSpec",
        "InvalidPodTemplate",
        "NameConflict",
        "SpecChanged",
        "PolicyDenied",
        "SpecTooLarge",
    }
)
"""Reasons that a further try would meet again."""
_DISRUPTION = frozenset(
    {
        "DisruptionLimitExceeded",
        "Evicted",
        "Preempted",
        "NodeLost",
        "NodeShutdown",
        "NodeRefused",
        "PodDeleted",
        "QueueEvicted",
    }
)
_LIMITS = frozenset({"BackoffLimitExceeded", "DisruptionLimitExceeded", "AttemptLimitExceeded"})
"""Reasons that say that there is no further attempt. The cause is the last attempt's reason."""


def result_or_raise(task: PodTask, log: logging.Logger) -> Any:
    """Return the result of a PodTask that succeeded; raise PodTaskSkipped or PodTaskFailed for any other end."""
    phase = podtasks.phase(task)
    if phase == "Succeeded":
        return result_of(task, log)
    if phase == "Skipped":
        raise exceptions.PodTaskSkipped(_headline(task, outcome_of(task)))
    raise failure(task)


def result_of(task: PodTask, log: logging.Logger) -> Any:
    """Return the result, parsed; None where spec.xcom is not set, or the file is missing and not required."""
    if "xcom" not in task["spec"]:
        return None
    xcom = podtasks.status(task).get("xcom") or {}
    if xcom.get("state") == "Collected":
        return _parsed(task, xcom["value"])
    if xcom.get("state") == "Empty":
        path = task["spec"]["xcom"].get("path", "/airflow/xcom/return.json")
        log.warning("No result: %s is missing or blank. Set xcom_required=True to fail instead.", path)
        return None
    raise failure(task)


def kept_result(task: PodTask) -> Any:
    """Return the result of a PodTask that did not succeed (xcom.onFailure: Keep); None where there is none."""
    xcom = podtasks.status(task).get("xcom") or {}
    return _parsed(task, xcom["value"]) if xcom.get("state") == "Collected" else None


def _parsed(task: PodTask, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid(task, str(error)) from error


def invalid(task: PodTask, why: str) -> PodTaskResultError:
    """Return the error for a result that Airflow cannot store. `why` continues "the result"."""
    outcome = dataclasses.replace(outcome_of(task), reason="XComInvalid", message=f"the result {why}")
    return PodTaskResultError(_headline(task, outcome), outcome)


def check_serializable(task: PodTask, value: Any) -> None:
    """Raise PodTaskResultError for a result that Airflow's messages or its database cannot hold."""
    if (why := not_serializable(value)) is not None:
        raise invalid(task, why)


def not_serializable(value: Any) -> str | None:
    """Return what Airflow's messages or its database cannot hold, as a text that continues "the result"; else None."""
    left: list[tuple[Any, int]] = [(value, 1)]
    while left:
        entry, depth = left.pop()
        if depth > _MAX_DEPTH:
            return f"is nested deeper than {_MAX_DEPTH} levels"
        if isinstance(entry, dict):
            left += [(part, depth + 1) for pair in entry.items() for part in pair]
        elif isinstance(entry, list):
            left += [(part, depth + 1) for part in entry]
        elif (why := _scalar_not_serializable(entry)) is not None:
            return why
    return None


def _scalar_not_serializable(value: Any) -> str | None:
    if isinstance(value, str):
        if "\0" in value:
            return "has a NUL character in a string, which no database stores"
        try:
            value.encode()
        except UnicodeEncodeError:
            return "has a lone surrogate (half a character) in a string, usually from a file name that is not UTF-8"
    elif isinstance(value, float) and not math.isfinite(value):
        return "has a number beyond the range of a double"
    elif isinstance(value, int) and not _MIN_INTEGER <= value <= _MAX_INTEGER:
        return "has an integer of more than 64 bits; write it as a string"
    return None


def failure(task: PodTask) -> PodTaskFailed:
    """Return the exception for an end other than success."""
    outcome = outcome_of(task)
    text = _headline(task, outcome)
    if outcome.log_tail:
        text += f"\n--- last lines of container {outcome.container} ---\n{outcome.log_tail.rstrip()}"
    return _class_of(task, outcome)(text, outcome)


def outcome_of(task: PodTask) -> Outcome:
    """Return what the status says about the end."""
    status, last = podtasks.status(task), podtasks.last_attempt(task)
    xcom = status.get("xcom") or {}
    reason, message = status.get("reason") or "", status.get("message") or ""
    if reason in _LIMITS and last.get("reason"):
        cause = f"{last['reason']}: {last.get('message') or ''}".removesuffix(": ")
        message = f"{cause} ({message})" if message and message not in cause else cause
    elif not message:
        message = xcom.get("message") or last.get("message") or ""
    return Outcome(
        reason=reason,
        message=message,
        exit_code=status.get("exitCode", last.get("exitCode")),
        container=str(task["spec"].get("containerName") or constants.DEFAULT_CONTAINER),
        node=last.get("nodeName") or "",
        pod_name=last.get("podName") or "",
        attempt=last.get("number"),
        log_tail=last.get("logTail") or "",
    )


def _class_of(task: PodTask, outcome: Outcome) -> type[PodTaskFailed]:
    last = podtasks.last_attempt(task)
    reasons = {outcome.reason} | ({last.get("reason")} if outcome.reason in _LIMITS else set())
    if reasons & _CONFIGURATION:
        return exceptions.PodTaskConfigurationError
    if podtasks.phase(task) == "Cancelled":
        return exceptions.PodTaskCancelled
    if outcome.reason.endswith("DeadlineExceeded"):
        return exceptions.PodTaskDeadlineExceeded
    if outcome.reason.startswith("XCom"):
        return exceptions.PodTaskResultError
    if reasons & _DISRUPTION:
        return exceptions.PodTaskDisrupted
    return PodTaskFailed


def _headline(task: PodTask, outcome: Outcome) -> str:
    details = [f"container {outcome.container}"]
    if outcome.exit_code is not None:
        details.append(f"exit code {outcome.exit_code}")
    if outcome.node:
        details.append(f"node {outcome.node}")
    if outcome.attempt is not None:
        details.append(f"attempt {outcome.attempt}")
    message = f": {outcome.message}" if outcome.message else ""
    phase = podtasks.status(task).get("phase", "Failed")
    return f"PodTask {podtasks.qualified_name(task)} {phase}, {outcome.reason} ({', '.join(details)}){message}"
