"""Waits until something is ready: retries until a deadline, or until its program has ended, which is an error."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import commands
from .errors import ClusterError
from .paths import ClusterDirectory
from .supervision import State

BEGINNING = dt.datetime.fromtimestamp(0, dt.UTC)

FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.25
LOG_END_BYTES = 16_384
# A program in one of these states has failed at its start, or will not be started: the wait ends.
DEAD = ("BACKOFF", "FATAL", "STOPPED", "STOPPING", "UNKNOWN")
# supervisord restarts a killed program after a second, or a few on a busy machine. A program in such a state for
# longer is not restarted.
EXITED = "EXITED"
EXITED_FOR_GOOD_SECONDS = 15.0


class Waiter:
    """Waits for conditions of one cluster, with one deadline for all."""

    def __init__(
        self,
        directory: ClusterDirectory,
        states: Callable[[], Mapping[str, State]],
        deadline_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._directory = directory
        self._states = states
        self._clock = clock
        self._sleep = sleep
        self._deadline = clock() + deadline_seconds
        self._exited_since: dict[str, float] = {}

    def until(self, what: str, is_ready: Callable[[], bool], programs: Sequence[str]) -> None:
        """Wait until it is ready. `programs` are those that it depends on."""
        pause = FIRST_PAUSE_SECONDS
        while not is_ready():
            self._refuse_the_dead(what, programs)
            if self._clock() >= self._deadline:
                raise ClusterError(f"{what} in vain; the last lines of the logs:\n{self._tails(programs)}")
            self._sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    def _refuse_the_dead(self, what: str, programs: Sequence[str]) -> None:
        states = self._states()
        dead = [name for name in programs if name in states and self._is_dead(states[name])]
        if dead:
            words = ", ".join(f"{name} is {states[name].word} ({states[name].description})" for name in dead)
            raise ClusterError(f"{what} in vain: {words}; its last lines:\n{self._tails(dead)}")

    def _is_dead(self, state: State) -> bool:
        if state.word != EXITED:
            self._exited_since.pop(state.name, None)
            return state.word in DEAD
        since = self._exited_since.setdefault(state.name, self._clock())
        return self._clock() - since > EXITED_FOR_GOOD_SECONDS

    def _tails(self, programs: Sequence[str]) -> str:
        parts = []
        for name in programs:
            log = self._directory.log(name)
            text = _end_of(log) if log.exists() else "(no output)"
            parts.append(f"  {log}:\n{commands.tail(text)}")
        return "\n".join(parts)


def _end_of(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - LOG_END_BYTES))
        return stream.read().decode(errors="replace")


def ready_nodes(nodes: dict[str, Any] | None, since: dt.datetime = BEGINNING) -> int:
    """Return how many Nodes of a list are Ready. Reports of a kubelet from before `since` are ignored."""
    return sum(_is_ready(item, since) for item in (nodes or {}).get("items", []))


def _is_ready(item: dict[str, Any], since: dt.datetime) -> bool:
    conditions = (item.get("status") or {}).get("conditions") or []
    return any(
        condition["type"] == "Ready"
        and condition["status"] == "True"
        and dt.datetime.fromisoformat(condition["lastHeartbeatTime"]) >= since
        for condition in conditions
    )
