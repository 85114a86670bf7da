"""The loads: each starts a new cluster, runs one system on it, and measures its costs.

A new cluster for each run keeps etcd's size and the API server's caches equal. The order of the systems changes between
rounds, because the speed of a shared machine changes by the minute.
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
from .systems import PodTasks, System
from .watch_recorder import WatchRecorder

Environment = Mapping[str, Mapping[str, str]]
"""Environment variables by program of the cluster."""

ROOMY: Environment = {"apiserver": {"GOGC": "400"}}
"""An API server whose garbage collector runs a quarter as often, as with more memory and cores.

With the default of 100 its heap of 150 MiB is marked every 1.5 s at 20 tasks/s, for 0.2 s on both of two cores.
"""

_RESOURCES = frozenset({"pods", "podtasks", "jobs", "events", "leases"})
_CREATORS = 32
_TIMEOUT_SECONDS = 3600.0
_PROGRAMS = ("apiserver", "etcd", "scheduler", "controller-manager", "kwok")
_KIND_IS_KNOWN = "Proceeding to collect garbage"
"""The controller manager logs this when it follows every kind that it has found at its start."""
_MARKS = 8
"""How often memory is read while the number of tasks grows."""


@dataclass
class Run:
    """The figures of one run of one system."""

    scenario: str
    system: str
    tasks: int
    figures: dict[str, Any] = field(default_factory=dict)


class Usage(NamedTuple):
    """CPU time, requests and allocations so far."""

    cpu_seconds: dict[str, float]
    """By process. The Job controller is both `system` and `controller-manager`, which it is a part of."""
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
    """Of the system's process, if there is one."""
    recorder: WatchRecorder

    def usage(self) -> Usage:
        """Read the clocks and counters."""
        cpu = {program: meter.cpu_seconds(self.cluster.pid(program)) for program in _PROGRAMS}
        cpu |= {"bench": time.process_time(), "system": meter.cpu_seconds(self.pid)}
        metrics = self.cluster.kubectl("get", "--raw", "/metrics")
        return Usage(cpu, meter.requests(metrics, _RESOURCES), meter.allocated_bytes(metrics))

    def costs(self, before: Usage, count: int) -> dict[str, Any]:
        """Return the costs since `before` for each of `count` tasks, and the latencies that a watch has seen."""
        now = self.usage()
        requests = now.requests - before.requests
        return {
            "pods_per_task": self.recorder.pods_made / count,
            "cpu_ms_per_task": {
                who: (now.cpu_seconds[who] - was) / count * 1000 for who, was in before.cpu_seconds.items()
            },
            "controller_rss_mib": meter.rss_mib(self.pid),
            "server_allocated_kb_per_task": (now.allocated_bytes - before.allocated_bytes) / count / 1000,
            "requests_per_task": {what: number / count for what, number in sorted(requests.items())},
            "created_to_pod_ms": quantiles(self.recorder.between("task", "pod")),
            "created_to_final_ms": quantiles(self.recorder.between("task", "over")),
            "ended_to_final_ms": quantiles(self.recorder.between("ended", "over")),
        }


@asynccontextmanager
async def bench(system: System, name: str, environment: Environment | None = None) -> AsyncIterator[Bench]:
    """Start the cluster and the system; stop both at the end."""
    cluster = await asyncio.to_thread(
        up, name, Form.SIMULATED, extra_args=system.cluster_arguments, environment=environment
    )
    try:
        await asyncio.to_thread(crd.install, cluster)
        await _wait_until_crd_is_known(cluster)
        pid = await system.start(cluster)
        api = HttpClient(connect(cluster.kubeconfig), limits=Limits(_CREATORS, least_in_flight=_CREATORS))
        try:
            async with WatchRecorder(api, system.kind) as recorder:
                system.attach(recorder)
                yield Bench(cluster, api, system, pid, recorder)
        finally:
            await api.close()
    finally:
        await system.stop()
        await asyncio.to_thread(cluster.down)


async def _wait_until_crd_is_known(cluster: Cluster) -> None:
    """Restart the controller manager so that it finds the CRD, as in any cluster older than a minute.

    It looks for new kinds every 30 s. Until then it sends one GET for the owner of each Pod whose owner's kind it does
    not know: one more request per task at the start of every load of PodTasks.
    """
    before = len(cluster.log("controller-manager"))
    await asyncio.to_thread(cluster.restart, "controller-manager")
    async with asyncio.timeout(300):
        while _KIND_IS_KNOWN not in cluster.log("controller-manager")[before:]:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.1)


async def load(on: Bench, todo: list[Draw], *, rate: float = 0.0, ttl: int | None = None, attempts: int = 1) -> None:
    """Create the tasks: `rate` per second, or with 0 as fast as the server accepts them."""
    start = time.monotonic()
    creators = asyncio.Semaphore(_CREATORS)

    async def one(draw: Draw) -> None:
        async with creators:
            await on.system.submit(on.api, draw, ttl=ttl, attempts=attempts)

    async with asyncio.TaskGroup() as group:
        for number, draw in enumerate(todo):
            if rate:
                await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
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
    """Create `count` tasks, and measure until the last has ended; with a `ttl`, until the last is deleted."""
    todo = list(draws(count, seed=1, failing=failing))
    async with bench(system, cluster, environment) as on:
        before = on.usage()
        await load(on, todo, rate=rate, ttl=ttl, attempts=2 if failing else 1)
        await on.recorder.until(lambda recorder: recorder.over == count, _TIMEOUT_SECONDS)
        figures = {
            "offered_per_second": rate or None,
            "tasks_per_second": count / on.recorder.span(),
            "failed": getattr(system, "failed", 0),
        }
        if ttl is not None:
            ended = time.monotonic()
            await on.recorder.until(lambda recorder: recorder.present == 0, _TIMEOUT_SECONDS)
            figures["last_gone_seconds_after_last_end"] = time.monotonic() - ended
        figures |= on.costs(before, count)
        figures["object_bytes"] = await object_bytes(on)
    return Run(scenario, system.name, count, figures)


async def standing(scenario: str, system: System, count: int, *, cluster: str = "bench-load") -> Run:
    """Create `count` tasks that never end; measure memory, and the time from a restart until a new task has ended."""
    todo = list(draws(count, seed=2, endless=True))
    async with bench(system, cluster) as on:
        curve = [(0, meter.rss_mib(on.pid))]
        before, begin = on.usage(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(load(on, todo))
            for part in range(1, _MARKS + 1):
                await on.recorder.until(_has_pods(count * part // _MARKS), _TIMEOUT_SECONDS)
                curve.append((on.recorder.pods_made, meter.rss_mib(on.pid)))
        filled = time.monotonic() - begin
        await on.recorder.until(lambda recorder: recorder.running == count, _TIMEOUT_SECONDS)
        settled = time.monotonic() - begin
        curve[-1] = (count, meter.rss_mib(on.pid))
        costs = on.costs(before, count)
        await system.stop()
        begin = time.monotonic()
        on.pid = await system.start(on.cluster)
        await system.submit(on.api, Draw(count, 0.1, fails=False))
        await on.recorder.until(lambda recorder: recorder.over == 1, _TIMEOUT_SECONDS)
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
    """Start the controller with `count` finished tasks, each with a result of the default's largest size."""
    async with bench(system, cluster) as on:
        idle = meter.rss_mib(on.pid)
        await system.stop()
        creators = asyncio.Semaphore(_CREATORS)

        async def one(draw: Draw) -> None:
            async with creators:
                await system.submit(on.api, draw)
                await system.finish(on.api, draw, "9" * DEFAULT_RESULT_BYTES)

        async with asyncio.TaskGroup() as group:
            for draw in draws(count, seed=2):
                group.create_task(one(draw))
        begin = time.monotonic()
        on.pid = await system.start(on.cluster)
        await system.submit(on.api, Draw(count, 0.1, fails=False))
        await on.recorder.until(lambda recorder: recorder.over == count + 1, _TIMEOUT_SECONDS)
        figures = {
            "idle_rss_mib": idle,
            "held_rss_mib": meter.rss_mib(on.pid),
            "peak_rss_mib": meter.peak_rss_mib(on.pid),
            "restart_first_task_seconds": time.monotonic() - begin,
            "restart_cpu_seconds": meter.cpu_seconds(on.pid),
            "object_bytes": await object_bytes(on),
        }
    return Run(scenario, system.name, count, figures)


def _has_pods(count: int) -> Callable[[WatchRecorder], bool]:
    return lambda recorder: recorder.pods_made >= count


async def object_bytes(on: Bench) -> float | None:
    """Return the mean size in bytes of a task's object as JSON with managed fields; None where there is no object."""
    if on.system.kind is None:
        return None
    page = await on.api.list_page(on.system.kind, read=len, limit=100)
    return statistics.mean(page.items) if page.items else None


def quantiles(values: list[float]) -> dict[str, float]:
    """Return p50, p90 and p99 of sorted values; an empty dict for fewer than two values."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100)
    return {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98]}
