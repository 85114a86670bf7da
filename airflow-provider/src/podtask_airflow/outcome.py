"""Turn the status of a finished PodTask into a return value or an exception. Pure, but for what it logs.

The exception's first line is the cause; the tail of the container's log follows. No environment and no Pod is ever
put into a text that Airflow keeps.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from typing import Any

from . import exceptions, names
from .exceptions import Outcome, PodTaskFailed, PodTaskResultError

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
"""Integers of MessagePack, in which Airflow 3's processes speak with one another."""
_DEEPEST = 100
"""Airflow serializes with several frames of Python's stack for each level."""

_CONFIGURATION = frozenset(
    {
        "AdmissionDenied",
        "InvalidSpec",
        "InvalidPodTemplate",
        "NotSupported",
        "NameConflict",
        "SpecChanged",
        "PolicyDenied",
        "SpecTooLarge",
    }
)
"""Ends that a further try would only repeat."""
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
"""Reasons that only say that there is no further attempt; the last attempt has the cause."""


def judge(task: dict[str, Any], log: logging.Logger) -> Any:
    """Give the result of a task that succeeded, parsed; raise for every other end."""
    status = task.get("status") or {}
    phase = status.get("phase")
    if phase == "Succeeded":
        return result(task, log)
    if phase == "Skipped":
        raise exceptions.PodTaskSkipped(_headline(task, describe(task)))
    raise failure(task)


def result(task: dict[str, Any], log: logging.Logger) -> Any:
    """Give the XCom value; None where none was asked for, or none was written and it was not required."""
    if "xcom" not in task["spec"]:
        return None
    xcom = (task.get("status") or {}).get("xcom") or {}
    if xcom.get("state") == "Collected":
        return _parsed(task, xcom["value"])
    if xcom.get("state") == "Empty":
        path = task["spec"]["xcom"].get("path", "/airflow/xcom/return.json")
        log.warning("No result: %s is missing or blank. Set xcom_required=True to fail instead.", path)
        return None
    raise failure(task)


def kept_result(task: dict[str, Any]) -> Any:
    """Give the value that a task left although it did not succeed (xcom.onFailure: Keep), else None."""
    xcom = (task.get("status") or {}).get("xcom") or {}
    return _parsed(task, xcom["value"]) if xcom.get("state") == "Collected" else None


def _parsed(task: dict[str, Any], text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise unfit(task, str(error)) from error


def unfit(task: dict[str, Any], why: str) -> PodTaskResultError:
    """Make the exception for a result that Airflow cannot carry."""
    outcome = dataclasses.replace(describe(task), reason="XComInvalid", message=f"the result {why}")
    return PodTaskResultError(_headline(task, outcome), outcome)


def check_carried(task: dict[str, Any], value: Any) -> None:
    """Raise for a result that Airflow's messages or its database cannot hold."""
    if (why := not_carried(value)) is not None:
        raise unfit(task, why)


def not_carried(value: Any) -> str | None:
    """Say what of a result Airflow's messages or its database cannot hold, as the rest of a sentence; else None."""
    left: list[tuple[Any, int]] = [(value, 1)]
    while left:
        entry, depth = left.pop()
        if depth > _DEEPEST:
            return f"is nested deeper than {_DEEPEST} levels"
        if isinstance(entry, dict):
            left += [(part, depth + 1) for pair in entry.items() for part in pair]
        elif isinstance(entry, list):
            left += [(part, depth + 1) for part in entry]
        elif (why := _not_carried(entry)) is not None:
            return why
    return None


def _not_carried(value: Any) -> str | None:
    if isinstance(value, str):
        if "\0" in value:
            return "has the character NUL in a text, which no database takes"
        try:
            value.encode()
        except UnicodeEncodeError:
            return "has half a character (a lone surrogate) in a text; it comes of a name that is not UTF-8"
    elif isinstance(value, float) and not math.isfinite(value):
        return "has a number beyond the range of a double"
    elif isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
        return "has an integer of more than 64 bits; write it as text"
    return None


def failure(task: dict[str, Any]) -> PodTaskFailed:
    """Make the exception for an end that is no success."""
    outcome = describe(task)
    text = _headline(task, outcome)
    if outcome.log_tail:
        text += f"\n--- last lines of container {outcome.container} ---\n{outcome.log_tail.rstrip()}"
    return _kind(task, outcome)(text, outcome)


def describe(task: dict[str, Any]) -> Outcome:
    """Collect what the status says about the end."""
    status = task.get("status") or {}
    last = (status.get("attempts") or [{}])[-1]
    xcom = status.get("xcom") or {}
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if reason in _LIMITS and last.get("reason"):
        message = _joined(f"{last['reason']}: {last.get('message') or ''}".removesuffix(": "), message)
    elif not message:
        message = str(xcom.get("message") or last.get("message") or "")
    return Outcome(
        reason=reason,
        message=message,
        exit_code=status.get("exitCode", last.get("exitCode")),
        container=str(task["spec"].get("containerName") or names.DEFAULT_CONTAINER),
        node=str(last.get("nodeName") or ""),
        pod_name=str(last.get("podName") or ""),
        attempt=last.get("number"),
        log_tail=str(last.get("logTail") or ""),
    )


def _kind(task: dict[str, Any], outcome: Outcome) -> type[PodTaskFailed]:
    last = ((task.get("status") or {}).get("attempts") or [{}])[-1]
    reasons = {outcome.reason} | ({last.get("reason")} if outcome.reason in _LIMITS else set())
    if reasons & _CONFIGURATION:
        return exceptions.PodTaskConfigurationError
    if (task.get("status") or {}).get("phase") == "Cancelled":
        return exceptions.PodTaskCancelled
    if outcome.reason.endswith("DeadlineExceeded"):
        return exceptions.PodTaskDeadlineExceeded
    if outcome.reason.startswith("XCom"):
        return exceptions.PodTaskResultError
    if reasons & _DISRUPTION:
        return exceptions.PodTaskDisrupted
    return PodTaskFailed


def _headline(task: dict[str, Any], outcome: Outcome) -> str:
    metadata, status = task["metadata"], task.get("status") or {}
    where = [f"container {outcome.container}"]
    if outcome.exit_code is not None:
        where.append(f"exit code {outcome.exit_code}")
    if outcome.node:
        where.append(f"node {outcome.node}")
    if outcome.attempt is not None:
        where.append(f"attempt {outcome.attempt}")
    name = f"{metadata.get('namespace', '')}/{metadata['name']}"
    said = f": {outcome.message}" if outcome.message else ""
    return f"PodTask {name} {status.get('phase', 'Failed')}, {outcome.reason} ({', '.join(where)}){said}"


def _joined(first: str, second: str) -> str:
    return f"{first} ({second})" if second and second not in first else first
