"""What goes wrong in one life: each fault with a probability of its own, drawn once, so that lives differ in kind.

A life in which everything fails at once finds little, as nothing ever gets far; so most faults are absent from most
lives. All faults end at `until`, after which every task has to finish.
"""

import random
from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class Faults:
    """Probabilities are for one request or one event; times are in seconds."""

    until: float = 0.0
    latency: float = 0.005
    """Usual time one way between controller and server."""
    slow: float = 0.0
    """A request takes up to 5 s one way."""
    reply_lost: float = 0.0
    """A write is carried out, and the caller sees ReplyLost."""
    reply_lost_late: float = 0.0
    """The caller sees ReplyLost, and only then, within 2 s, the write is carried out."""
    never_sent: float = 0.0
    """TransportError, and nothing was done."""
    throttled: float = 0.0
    broken: float = 0.0
    """500, and nothing was done."""
    timed_out: float = 0.0
    """504, and the write was carried out."""
    conflict: float = 0.0
    """Another client annotates the task just before our status arrives."""
    lag: dict[str, float] = field(default_factory=dict)
    """By plural: how late watch events come, at most."""
    lag_often: float = 0.0
    duplicate: float = 0.0
    """A watch event comes twice."""
    cut: float = 0.0
    """The watch ends instead of giving the event."""
    gone: float = 0.0
    """The watch ends, and what is before the event is compacted: 410, list again."""
    bookmark: float = 0.0
    deaths: tuple[tuple[int, bool], ...] = ()
    """The controller dies at its n-th write: True after the server took it, False before it was sent."""
    downtime: float = 1.0
    controllers: int = 1
    jumps: tuple[tuple[float, float], ...] = ()
    """At a time, the controllers' wall clock is off by so many seconds from then on."""

    def describe(self) -> str:
        """Name what is not as it should be."""
        usual = Faults()
        return ", ".join(
            f"{f.name}={_short(getattr(self, f.name))}"
            for f in fields(self)
            if getattr(self, f.name) != getattr(usual, f.name)
        )


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def draw(rng: random.Random) -> Faults:
    """Draw the faults of one life."""

    def some(chance: float, most: float) -> float:
        return rng.uniform(0, most) if rng.random() < chance else 0.0

    controllers = 2 if rng.random() < 0.2 else 1
    return Faults(
        until=rng.choice((30.0, 120.0, 400.0)),
        latency=rng.choice((0.001, 0.005, 0.1)),
        slow=some(0.15, 0.2),
        reply_lost=some(0.3, 0.4),
        reply_lost_late=some(0.15, 0.3),
        never_sent=some(0.15, 0.3),
        throttled=some(0.15, 0.3),
        broken=some(0.15, 0.3),
        timed_out=some(0.15, 0.2),
        conflict=some(0.25, 0.6),
        lag=_draw_lag(rng, controllers),
        lag_often=rng.choice((0.1, 0.5, 1.0)),
        duplicate=some(0.2, 0.5),
        cut=some(0.2, 0.4),
        gone=some(0.15, 0.3),
        bookmark=some(0.3, 0.5),
        deaths=_draw_deaths(rng),
        downtime=rng.choice((0.05, 1.0, 20.0, 90.0)),
        controllers=controllers,
        jumps=_draw_jumps(rng),
    )


def _draw_lag(rng: random.Random, controllers: int) -> dict[str, float]:
    kinds = rng.choice(((), (), ("pods",), ("podtasks",), ("pods", "podtasks")))
    # With two controllers one may be cut off for longer than a finished Pod is held.
    lags = (0.2, 2.0, 15.0) if controllers == 1 else (0.2, 15.0, 200.0)
    return {kind: rng.choice(lags) for kind in kinds}


def _draw_deaths(rng: random.Random) -> tuple[tuple[int, bool], ...]:
    count = rng.choice((0, 0, 0, 1, 1, 2, 4))
    return tuple(sorted((rng.randrange(1, 16), rng.random() < 0.6) for _ in range(count)))


def _draw_jumps(rng: random.Random) -> tuple[tuple[float, float], ...]:
    if rng.random() > 0.15:
        return ()
    return tuple(sorted((rng.uniform(0, 100), rng.uniform(-300, 300)) for _ in range(rng.randint(1, 3))))
