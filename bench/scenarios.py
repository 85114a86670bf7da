"""The loads: each brings a fresh cluster up, runs one system on it, and says what it took.

A fresh cluster for each run keeps etcd's size and the API server's caches equal; the order of the systems alternates
between rounds, because a machine that others share grows slower and faster by the minute.
"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cluster import Cluster, Form, up
from podtask.api.v1alpha1.values import DEFAULT_RESULT_BYTES
from podtask.kube.http import HttpClient, Limits
from tests.harness import crd
from tests.kubeconfig import connect

from . import meter
from .draws import Draw, draws
from .onlooker import Onlooker
from .systems import PodTasks, System

Environment = Mapping[str, Mapping[str, str]]
"""Variables by the cluster's program."""

ROOMY: Environment = {"apiserver": {"GOGC": "400"}}
"""An API server whose collector runs a quarter as often, as one with memory and cores of its own would let it.

With the default of 100 its heap of 150 MiB is marked every 1.5 s at 20 tasks/s, for 0.2 s on both of two cores.
"""

_RESOURCES = frozenset({"pods", "podtasks", "jobs", "events", "leases"})
_CREATORS = 32
_STARVATION_SECONDS = 3600.0
_PROGRAMS = ("apiserver", "etcd", "scheduler", "controller-manager", "kwok")
_KIND_IS_KNOWN = "Proceeding to collect garbage"
"""The controller manager's line once it follows every kind that it has found at its start."""
_MARKS = 8
"""How often memory is read while tasks pile up."""


@dataclass
class Run:
    """What one run of one system gave."""

    scenario: str
    system: str
    tasks: int
    figures: dict[str, Any] = field(default_factory=dict)


class Taken(NamedTuple):
    """What everything has taken so far."""

    cpu_seconds: dict[str, float]
    """By who took it. The Job controller is `system` and the controller-manager, which it lives in."""
    requests: Counter[str]
    allocated_bytes: float
    """By the API server."""


@dataclass
class Bench:
    """One system on one fresh cluster."""

    cluster: Cluster
    api: HttpClient
    system: System
    pid: int | None
    """Of the process that does the work, if there is one."""
    seen: Onlooker

    def taken(self) -> Taken:
        """Read the clocks and counters."""
        cpu = {program: meter.cpu_seconds(self.cluster.pid(program)) for program in _PROGRAMS}
        cpu |= {"bench": time.process_time(), "system": meter.cpu_seconds(self.pid)}
        metrics = self.cluster.kubectl("get", "--raw", "/metrics")
        return Taken(cpu, meter.requests(metrics, _RESOURCES), meter.allocated_bytes(metrics))

    def costs(self, before: Taken, count: int) -> dict[str, Any]:
        """Give what was taken since, for each of `count` tasks, and when a watch heard of what became of them."""
        now = self.taken()
        asked = now.requests - before.requests
        return {
            "pods_per_task": self.seen.pods_made / count,
            "cpu_ms_per_task": {
                who: (now.cpu_seconds[who] - was) / count * 1000 for who, was in before.cpu_seconds.items()
            },
            "controller_rss_mib": meter.rss_mib(self.pid),
            "server_allocated_kb_per_task": (now.allocated_bytes - before.allocated_bytes) / count / 1000,
            "requests_per_task": {what: number / count for what, number in sorted(asked.items())},
            "created_to_pod_ms": quantiles(self.seen.between("task", "pod")),
            "created_to_final_ms": quantiles(self.seen.between("task", "over")),
            "ended_to_final_ms": quantiles(self.seen.between("ended", "over")),
        }


@asynccontextmanager
async def bench(system: System, name: str, environment: Environment | None = None) -> AsyncIterator[Bench]:
    """Bring everything up, and take it down again."""
    cluster = await asyncio.to_thread(
        up, name, Form.SIMULATED, extra_args=system.cluster_arguments, environment=environment
    )
    try:
        await asyncio.to_thread(crd.install, cluster)
        await _make_known(cluster)
        pid = await system.start(cluster)
        api = HttpClient(connect(cluster.kubeconfig), limits=Limits(_CREATORS, least_in_flight=_CREATORS))
        try:
            async with Onlooker(api, system.kind) as seen:
                system.tell(seen)
                yield Bench(cluster, api, system, pid, seen)
        finally:
            await api.close()
    finally:
        await system.stop()
        await asyncio.to_thread(cluster.down)


async def _make_known(cluster: Cluster) -> None:
    """Let the controller manager find the CRD, as it has in any cluster that is older than a minute.

    It looks for new kinds every 30 s. Until then it asks for the owner of each Pod that has one of a kind it does not
    know, and so the beginning of every load of PodTasks had a request more for each task.
    """
    before = len(cluster.log("controller-manager"))
    await asyncio.to_thread(cluster.restart, "controller-manager")
    async with asyncio.timeout(300):
        while _KIND_IS_KNOWN not in cluster.log("controller-manager")[before:]:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.1)


async def load(on: Bench, todo: list[Draw], *, rate: float = 0.0, ttl: int | None = None, attempts: int = 1) -> None:
    """Create the tasks: `rate` a second, or as fast as the server takes them."""
    begin = time.monotonic()
    free = asyncio.Semaphore(_CREATORS)

    async def one(draw: Draw) -> None:
        async with free:
            await on.system.submit(on.api, draw, ttl=ttl, attempts=attempts)

    async with asyncio.TaskGroup() as group:
        for number, draw in enumerate(todo):
            if rate:
                await asyncio.sleep(max(0.0, begin + number / rate - time.monotonic()))
            elif number % _CREATORS == 0:
                await asyncio.sleep(0)
            group.create_task(one(draw))


async def finishing(
    scenario: str,
    system: System,
    count: int,
    *,
    rate: float = 0.0,
    failing: float = 0.0,
    ttl: int | None = None,
    cluster: str = "bench-load",
    environment: Environment | None = None,
) -> Run:
    """Create `count` tasks that end, and measure until the last has ended; with a `ttl`, until the last is gone."""
    todo = list(draws(count, seed=1, failing=failing))
    async with bench(system, cluster, environment) as on:
        before = on.taken()
        await load(on, todo, rate=rate, ttl=ttl, attempts=2 if failing else 1)
        await on.seen.until(lambda seen: seen.over == count, _STARVATION_SECONDS)
        figures = {
            "offered_per_second": rate or None,
            "tasks_per_second": count / on.seen.span(),
            "failed": getattr(system, "failed", 0),
        }
        if ttl is not None:
            ended = time.monotonic()
            await on.seen.until(lambda seen: seen.present == 0, _STARVATION_SECONDS)
            figures["last_gone_seconds_after_last_end"] = time.monotonic() - ended
        figures |= on.costs(before, count)
        figures["object_bytes"] = await object_bytes(on)
    return Run(scenario, system.name, count, figures)


async def standing(scenario: str, system: System, count: int, *, cluster: str = "bench-load") -> Run:
    """Hold `count` running tasks: memory, and how long a restarted controller needs until it serves a new one."""
    todo = list(draws(count, seed=2, endless=True))
    async with bench(system, cluster) as on:
        curve = [(0, meter.rss_mib(on.pid))]
        before, begin = on.taken(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(load(on, todo))
            for part in range(1, _MARKS + 1):
                await on.seen.until(_has_pods(count * part // _MARKS), _STARVATION_SECONDS)
                curve.append((on.seen.pods_made, meter.rss_mib(on.pid)))
        filled = time.monotonic() - begin
        await on.seen.until(lambda seen: seen.running == count, _STARVATION_SECONDS)
        settled = time.monotonic() - begin
        curve[-1] = (count, meter.rss_mib(on.pid))
        costs = on.costs(before, count)
        await system.stop()
        begin = time.monotonic()
        on.pid = await system.start(on.cluster)
        await system.submit(on.api, Draw(count, 0.1, fails=False))
        await on.seen.until(lambda seen: seen.over == 1, _STARVATION_SECONDS)
        figures = {
            "idle_rss_mib": curve[0][1],
            "held_rss_mib": curve[-1][1],
            "rss_mib_by_live_tasks": curve,
            "filled_per_second": count / filled,
            "tasks_per_second": count / settled,
            "restart_first_task_seconds": time.monotonic() - begin,
            "restart_cpu_seconds": meter.cpu_seconds(on.pid),
            "restart_rss_mib": meter.rss_mib(on.pid),
            "object_bytes": await object_bytes(on),
            **costs,
        }
    return Run(scenario, system.name, count, figures)


async def finished(scenario: str, system: PodTasks, count: int, *, cluster: str = "bench-load") -> Run:
    """Start the controller beside `count` tasks that are over, each with a result of the default's largest size."""
    async with bench(system, cluster) as on:
        idle = meter.rss_mib(on.pid)
        await system.stop()
        free = asyncio.Semaphore(_CREATORS)

        async def one(draw: Draw) -> None:
            async with free:
                await system.submit(on.api, draw)
                await system.finish(on.api, draw, "9" * DEFAULT_RESULT_BYTES)

        async with asyncio.TaskGroup() as group:
            for draw in draws(count, seed=2):
                group.create_task(one(draw))
        begin = time.monotonic()
        on.pid = await system.start(on.cluster)
        await system.submit(on.api, Draw(count, 0.1, fails=False))
        await on.seen.until(lambda seen: seen.over == count + 1, _STARVATION_SECONDS)
        figures = {
            "idle_rss_mib": idle,
            "held_rss_mib": meter.rss_mib(on.pid),
            "peak_rss_mib": meter.peak_rss_mib(on.pid),
            "restart_first_task_seconds": time.monotonic() - begin,
            "restart_cpu_seconds": meter.cpu_seconds(on.pid),
            "object_bytes": await object_bytes(on),
        }
    return Run(scenario, system.name, count, figures)


def _has_pods(count: int) -> Callable[[Onlooker], bool]:
    return lambda seen: seen.pods_made >= count


async def object_bytes(on: Bench) -> float | None:
    """Give the mean size of a task's object as JSON, managed fields included; None where there is none."""
    if on.system.kind is None:
        return None
    page = await on.api.list_page(on.system.kind, read=len, limit=100)
    return statistics.mean(page.items) if page.items else None


def quantiles(values: list[float]) -> dict[str, float]:
    """Give p50, p90 and p99 of sorted values."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100)
    return {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98]}
