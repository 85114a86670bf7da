"""What a task costs may not grow unnoticed: requests and bytes exactly, CPU in units of a yardstick.

The yardstick (`bench.meter.yardstick_ms`) is measured in the same minute on the same machine, because CPU time on a
shared machine moves by a factor of two: 17 yardsticks were seen under a load of seven on two cores. A change that
doubles the cost fails here; a tenth more does not.

The API server's CPU is what limits throughput. Its yardstick is a Pod alone, made and run in the same minute: a task
takes 1.8 to 2.4 of them (docs/performance.md). What it allocates for a task is the same on every machine, and a good
part of that CPU (docs/adr/0013).
"""

import pytest

from bench import meter
from bench.scenarios import finishing
from bench.systems import Pods, PodTasks

pytestmark = pytest.mark.apiserver

TASKS = 150
MOST_BYTES = 2300
MOST_YARDSTICKS = 30.0
MOST_PODS = 3.5
MOST_ALLOCATED_KB = 2450


@pytest.mark.timeout(240)
async def test_the_cost_of_a_task() -> None:
    before = meter.yardstick_ms()
    figures = (await finishing("gate", PodTasks(), TASKS, rate=10, cluster="bench-gate")).figures
    yardstick = (before + meter.yardstick_ms()) / 2
    asked = figures["requests_per_task"]
    print(f"\n{asked}\n{figures['object_bytes']:.0f} B, {figures['cpu_ms_per_task']['system']:.2f} ms CPU a task,")
    print(f"{figures['cpu_ms_per_task']['system'] / yardstick:.2f} yardsticks of {yardstick:.2f} ms")
    assert figures["pods_per_task"] == 1
    assert asked["POST pods"] == 1
    assert asked["PATCH pods"] <= 1
    assert asked["PATCH podtasks/status"] <= 2
    assert sum(asked.get(read, 0) for read in ("GET podtasks", "GET pods", "LIST pods", "LIST podtasks")) < 0.1
    assert figures["object_bytes"] <= MOST_BYTES
    assert figures["cpu_ms_per_task"]["system"] / yardstick <= MOST_YARDSTICKS


@pytest.mark.timeout(240)
async def test_what_a_task_costs_the_api_server() -> None:
    systems = PodTasks(), Pods()
    ran = [await finishing("gate", system, TASKS, rate=20, cluster="bench-gate") for system in systems]
    task, pod = (run.figures["cpu_ms_per_task"]["apiserver"] for run in ran)
    print(f"\n{task:.1f} ms of the API server's CPU a task, {pod:.1f} ms a Pod alone: {task / pod:.2f} times")
    assert ran[1].figures["requests_per_task"]["POST pods"] == 1
    assert task / pod <= MOST_PODS
    task, pod = (run.figures["server_allocated_kb_per_task"] for run in ran)
    print(f"{task:.0f} kB allocated by the API server a task, {pod:.0f} kB a Pod alone")
    assert task - pod <= MOST_ALLOCATED_KB
