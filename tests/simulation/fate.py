"""The fate of one Pod if nothing interferes, drawn when it is created."""

import random
from dataclasses import dataclass

import orjson

DISASTERS = (
    "evict",
    "preempt",
    "api-evict",
    "taint",
    "node-gone",
    "node-back",
    "shutdown",
    "user-delete",
    "user-force",
    "queue-evict",
)
"""taint: the node falls silent, its Pods are deleted, it comes back. node-gone: it never does, its Node object goes.
node-back: it falls silent and comes back in time, as if nothing had been. user-force: DELETE without grace."""


@dataclass(frozen=True)
class Habits:
    """How the Pods of one task tend to fare."""

    exit_codes: tuple[int, ...] = (0,)
    oom: float = 0.0
    run: float = 5.0
    disaster: float = 0.0
    disasters: tuple[str, ...] = DISASTERS
    slow_schedule: float = 0.0
    bad_pull: float = 0.0
    bad_init: float = 0.0
    start_error: float = 0.0
    refused: float = 0.0
    sidecar_crash: float = 0.0
    log_lost: float = 0.0
    lumps: float = 0.3
    """The kubelet skips a report, and tells both with the next."""
    graceful: float = 0.3
    """The task ends with exit code 0 when asked to stop."""
    result: bytes | None = None
    quota_until: float = 0.0
    """Until then the namespace's quota refuses its Pods."""
    denied: bool = False
    """The cluster's rules refuse its Pods permanently."""
    skew: float = 0.0
    """Seconds by which the nodes' clocks are off."""
    slow_to_take: float = 0.0
    """Seconds from the scheduler's decision until the kubelet takes the Pod."""


@dataclass(frozen=True)
class Fate:
    """One Pod's future."""

    schedule: float
    unschedulable: bool
    pull: float
    bad_pull: float
    """Seconds for which the pull fails."""
    config_error: bool
    init_fails: bool
    start_error: bool
    refused: bool
    run: float
    exit_code: int
    oom: bool
    term: float
    """Seconds from SIGTERM to the end."""
    term_code: int
    sidecar_crash: bool
    sidecar_seconds: float
    log_lost: bool
    disaster: str
    disaster_at: float
    """Seconds after its creation."""
    disaster_lasts: float


def draw(rng: random.Random, habits: Habits, attempt: int, *, calm: bool) -> Fate:
    """Draw the fate of one Pod; none is struck by a disaster once the faults are over."""

    def happens(chance: float) -> bool:
        return not calm and rng.random() < chance

    slow = happens(habits.slow_schedule)
    code = habits.exit_codes[min(attempt, len(habits.exit_codes)) - 1]
    oom = code != 0 and rng.random() < habits.oom
    return Fate(
        schedule=rng.uniform(1, 60) if slow else rng.uniform(0.01, 0.3),
        unschedulable=slow,
        pull=rng.uniform(0.05, 2),
        bad_pull=rng.uniform(5, 60) if happens(habits.bad_pull) else 0.0,
        config_error=rng.random() < 0.3,
        init_fails=happens(habits.bad_init),
        start_error=happens(habits.start_error),
        refused=happens(habits.refused),
        run=rng.uniform(0.2, 2 * habits.run),
        exit_code=137 if oom else code,
        oom=oom,
        term=rng.choice((0.05, 0.5, 5.0, 29.0, 60.0)),
        term_code=0 if rng.random() < habits.graceful else rng.choice((143, 137, 1)),
        sidecar_crash=happens(habits.sidecar_crash),
        sidecar_seconds=rng.choice((0.05, 1.0, 3.0)),
        log_lost=happens(habits.log_lost),
        disaster=rng.choice(habits.disasters) if happens(habits.disaster) else "",
        disaster_at=rng.uniform(0.1, 2 * habits.run + 3),
        disaster_lasts=rng.uniform(10, 400),
    )


def result_of(habits: Habits, attempt: int) -> bytes | None:
    """Give what this attempt writes: its number is in it, so that one attempt's result is never taken for another's."""
    if habits.result is None or not habits.result:
        return habits.result
    return orjson.dumps({"attempt": attempt, "value": habits.result.decode()})
