"""Checks the whole status of a finished task."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Status = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """The end of one attempt. `is_started`: its main container ran; `is_placed`: it had a node."""

    outcome: str
    reason: str
    exit_code: int | None = None
    is_started: bool = True
    is_placed: bool = True
    counts: bool = True
    """Return whether it counts against a budget, where its outcome is one that can."""


SUCCESS = Ended("Succeeded", "Completed", 0)


def check(status: Status, phase: str, reason: str, *attempts: Ended) -> None:
    """Check a final status against the expected attempts."""
    last = attempts[-1].exit_code if attempts else None
    actual = (status["phase"], status["reason"], status.get("exitCode"))
    assert actual == (phase, reason, last), status
    counted = (status.get("attemptCount", 0), status.get("failureCount", 0), status.get("disruptionCount", 0))
    assert counted == (len(attempts), _count(attempts, "Failed"), _count(attempts, "Disrupted")), status
    _check_end(status, phase, reason)
    entries = status.get("attempts", [])
    assert [entry["number"] for entry in entries] == list(range(1, len(attempts) + 1)), status
    for entry, expected in zip(entries, attempts, strict=True):
        _check_attempt(entry, expected, time(status["completionTime"]))


def time(text: str) -> datetime:
    """Read a time of the API."""
    return datetime.fromisoformat(text)


def _count(attempts: tuple[Ended, ...], outcome: str) -> int:
    return sum(1 for attempt in attempts if attempt.outcome == outcome and attempt.counts)


def _check_end(status: Status, phase: str, reason: str) -> None:
    conditions = {c["type"]: c for c in status["conditions"]}
    finished, succeeded = conditions["Finished"], conditions["Succeeded"]
    assert (finished["status"], finished["reason"]) == ("True", reason), status
    assert (succeeded["status"], succeeded["reason"]) == (str(phase == "Succeeded"), reason), status
    assert {c["observedGeneration"] for c in conditions.values() if c["type"] != "Suspended"} == {
        status["observedGeneration"]
    }, status
    assert "Reconciling" not in conditions, "helm and Flux would wait without end"
    stalled = conditions.get("Stalled", {})
    assert (stalled.get("status") == "True") is (phase in ("Failed", "Cancelled")), status
    assert all(c["message"] for c in conditions.values()), status
    assert status["message"], "an end without a word"
    assert "nextAttemptTime" not in status, status
    assert time(status["startTime"]) <= time(status["completionTime"]), status


def _check_attempt(entry: Status, expected: Ended, completed: datetime) -> None:
    actual = (entry["outcome"], entry["reason"], entry.get("exitCode"))
    assert actual == (expected.outcome, expected.reason, expected.exit_code), entry
    assert re.fullmatch(r"[0-9a-f-]{36}", entry["podUID"]), entry
    assert entry["podName"], entry
    assert bool(entry.get("nodeName")) is expected.is_placed, entry
    times = [time(entry[key]) for key in ("creationTime", "startTime", "completionTime") if key in entry]
    assert ("startTime" in entry) is expected.is_started, entry
    assert [*times, completed] == sorted([*times, completed]), entry
    if expected.is_started:
        assert "sha256:" in entry["imageID"], entry
