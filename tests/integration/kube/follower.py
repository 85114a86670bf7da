"""A controller in a process of its own, until its input ends: then it says what it took of memory, in MiB."""

import asyncio
import json
import sys
from pathlib import Path

import uvloop

from podtask.kube.config import ClusterConfig
from podtask.runtime.main import Controller
from podtask.runtime.options import parse


def memory_mib(what: str) -> float:
    """Give a line of /proc/self/status: VmRSS now, VmHWM at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


async def follow(url: str) -> dict[str, float]:
    """Do what there is to do; gives how many tasks are held, and what is kept of memory beside that of the start."""
    controller = Controller(parse(["--leader-election=off", "--http-port=0", "--metrics-port=0"], {}))
    before = memory_mib("VmRSS")
    await controller.start(ClusterConfig(server=url))
    await asyncio.to_thread(sys.stdin.read)
    await controller.stop()
    kept = memory_mib("VmRSS") - before
    return {"tasks": len(controller._cluster.tasks), "start": before, "kept": kept, "peak": memory_mib("VmHWM")}


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(follow(sys.argv[1]))))
