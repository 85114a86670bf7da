"""Which loads run on which systems. A profile sets their sizes."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

from .peers import ExecutorPods, Kpo, KpoDeferrable
from .scenarios import ROOMY, Run, finished, finishing, standing
from .systems import Jobs, Loop, Pods, PodTasks, System, UnthrottledJobs


@dataclass(frozen=True)
class Profile:
    """Numbers of tasks, and seconds of paced loads."""

    what: str
    burst: int
    small: int
    """Tasks of the burst that the slow systems take part in."""
    slow: int
    """Tasks of the paced load that the slow systems take part in."""
    rates: tuple[int, ...]
    roomy: int
    """The rate that is also run with an API server that collects garbage rarely."""
    paced_seconds: int
    retries: int
    standing: int
    cleaning: int
    finished: int


PROFILES = {
    "full": Profile(
        "the sizes of the budgets, 90 minutes", 5000, 500, 90, (20, 30, 50, 100), 20, 120, 1000, 20_000, 20_000, 6_000
    ),
    "machine": Profile("for two cores, 45 minutes", 2000, 150, 90, (10, 20, 30, 50), 20, 30, 400, 20_000, 1000, 6_000),
    "short": Profile("a check that it works, minutes", 250, 25, 18, (10, 20, 30, 50), 20, 6, 50, 1000, 500, 200),
}


@dataclass(frozen=True)
class Work:
    """One load on one system."""

    system: str
    run: Callable[[], Awaitable[Run]]


def plan(size: Profile) -> Iterator[tuple[str, list[Work]]]:
    """Yield each load's name with one piece of work for each system."""
    fast: list[Callable[[], System]] = [PodTasks, UnthrottledJobs]
    slow: list[Callable[[], System]] = [Jobs, Kpo, KpoDeferrable, ExecutorPods]

    def each(
        name: str,
        kinds: list[Callable[[], System]],
        work: Callable[..., Awaitable[Run]],
        *given: object,
        **more: object,
    ) -> tuple[str, list[Work]]:
        systems = [kind() for kind in kinds]
        return name, [Work(system.name, partial(work, name, system, *given, **more)) for system in systems]

    yield each("burst", [*fast, Loop, Pods], finishing, size.burst)
    yield each("burst-small", fast + slow, finishing, size.small)
    yield each("retries", fast, finishing, size.retries, failing=0.2)
    yield each("standing", fast, standing, size.standing)
    yield each("finished", [PodTasks], finished, size.finished)
    yield each("paced-3", fast + slow, finishing, size.slow, rate=3)
    for rate in size.rates:
        kinds = [*fast, Loop] if rate == size.roomy else fast
        yield each(f"paced-{rate}", kinds, finishing, rate * size.paced_seconds, rate=rate)
    count = size.roomy * size.paced_seconds
    yield each(f"roomy-{size.roomy}", fast, finishing, count, rate=size.roomy, environment=ROOMY)
    yield each("cleaning", fast, finishing, size.cleaning, ttl=0)
