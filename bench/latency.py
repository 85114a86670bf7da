"""How long after the cluster's events the controller's writes come, under a paced load on simulated nodes.

`python -m bench.latency [--rate 100] [--seconds 20]` brings up etcd, API server, controller manager, scheduler and
kwok, starts one controller, creates PodTasks at the rate, and prints the distribution of
object created → Pod created, and main container ended → final status, both as an onlooker's watch sees them.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from cluster import Form, up
from podtask.core.observed import Pod, Task
from podtask.kube.client import PODS
from podtask.kube.http import HttpClient
from podtask.kube.informer import Informer
from podtask.runtime import decode
from tests.harness import crd
from tests.kubeconfig import connect

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "default"


class Watcher:
    """Notes the first moment at which each fact was seen, by task uid."""

    def __init__(self, api: HttpClient) -> None:
        self.seen: dict[str, dict[str, float]] = {}
        self.finished = 0
        common = {"on_undecodable": lambda *_: None, "index": lambda _: None}
        self.pods: Informer[Pod] = Informer(
            api, PODS, decode=decode.decode_pod, meta=decode.pod_meta, on_change=self._pod, **common
        )
        self.tasks: Informer[Task] = Informer(
            api, decode.PODTASKS, decode=decode.decode_task, meta=decode.task_meta, on_change=self._task, **common
        )

    def _note(self, uid: str | None, fact: str) -> bool:
        facts = self.seen.setdefault(uid or "", {})
        if fact in facts:
            return False
        facts[fact] = time.monotonic()
        return True

    def _pod(self, _: Pod | None, new: Pod | None) -> None:
        if new is None:
            return
        uid = decode.pod_task_uid(new)
        self._note(uid, "pod")
        main = new.container("base")
        if main is not None and main.state.terminated is not None:
            self._note(uid, "ended")

    def _task(self, _: Task | None, new: Task | None) -> None:
        if new is None:
            return
        self._note(new.metadata.uid, "task")
        if new.status.phase_is_terminal and self._note(new.metadata.uid, "final"):
            self.finished += 1


async def measure(rate: int, seconds: int) -> None:
    """Run the load and print what it gave."""
    cluster = up("bench", Form.SIMULATED)
    crd.install(cluster)
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": str(ROOT / "controller")}
    command = [sys.executable, "-m", "podtask", "--live-read-seconds=0"]
    log = Path(tempfile.mkdtemp()) / "controller.log"
    with log.open("wb") as out:
        controller = subprocess.Popen(command, env=environment, stderr=out)  # noqa: ASYNC220 - nothing runs yet
    api = HttpClient(connect(cluster.kubeconfig))
    watcher = Watcher(api)
    followers = [asyncio.create_task(i.run()) for i in (watcher.pods, watcher.tasks)]
    try:
        await watcher.pods.wait_synced()
        await watcher.tasks.wait_synced()
        await _ready(log)
        before = _cpu(controller.pid)
        await _load(api, rate, seconds)
        await _all_finished(watcher, rate * seconds)
        spent = _cpu(controller.pid) - before
        _report(watcher, spent, rate * seconds, _rss(controller.pid))
    finally:
        for task in followers:
            task.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        await api.close()
        controller.terminate()
        controller.wait(10)
        cluster.down()


async def _ready(log: Path) -> None:
    async with asyncio.timeout(30):
        while b'"msg": "ready"' not in log.read_bytes():  # noqa: ASYNC110, ASYNC240 - before the measurement begins
            await asyncio.sleep(0.1)


async def _load(api: HttpClient, rate: int, seconds: int) -> None:
    begin = time.monotonic()
    running: set[asyncio.Task[bytes]] = set()
    for index in range(rate * seconds):
        delay = begin + index / rate - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
        body = {
            "apiVersion": "podtask.dev/v1alpha1",
            "kind": "PodTask",
            "metadata": {"name": f"load-{index}"},
            "spec": {"image": "i", "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}}},
        }
        task = asyncio.create_task(api.create(decode.PODTASKS, NAMESPACE, orjson.dumps(body)))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)


async def _all_finished(watcher: Watcher, count: int) -> None:
    async with asyncio.timeout(300):
        while watcher.finished < count:  # noqa: ASYNC110 - a measurement; nothing hangs on its tact
            await asyncio.sleep(0.2)


def _report(watcher: Watcher, cpu: float, count: int, rss: int) -> None:
    facts = [f for f in watcher.seen.values() if {"task", "pod", "ended", "final"} <= f.keys()]
    result: dict[str, object] = {"tasks": count, "cpu_ms_per_task": round(cpu / count * 1000, 3), "rss_mib": rss}
    for name, first, second in (("created_to_pod_ms", "task", "pod"), ("ended_to_final_ms", "ended", "final")):
        times = sorted((f[second] - f[first]) * 1000 for f in facts)
        cuts = statistics.quantiles(times, n=100)
        result[name] = {"p50": round(cuts[49], 1), "p90": round(cuts[89], 1), "p99": round(cuts[98], 1)}
    print(json.dumps(result), flush=True)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4 // 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=100, help="PodTasks a second")
    parser.add_argument("--seconds", type=int, default=20, help="for how long")
    options = parser.parse_args()
    asyncio.run(measure(options.rate, options.seconds))
