"""What a task costs may not grow unnoticed: requests and bytes exactly, CPU in units of a yardstick.

The yardstick (`bench.meter.yardstick_ms`) is measured in the same minute on the same machine, because CPU time on a
shared machine moves by a factor of two: 17 yardsticks were seen under a load of seven on two cores. A change that
doubles the cost fails here; a tenth more does not.
"""

import pytest

from bench import meter
from bench.scenarios import finishing
from bench.systems import PodTasks

pytestmark = pytest.mark.apiserver

TASKS = 150
MOST_BYTES = 3200
MOST_YARDSTICKS = 30.0


@pytest.mark.timeout(240)
async def test_the_cost_of_a_task() -> None:
    before = meter.yardstick_ms()
    figures = (await finishing("gate", PodTasks(), TASKS, rate=10, cluster="bench-gate")).figures
    yardstick = (before + meter.yardstick_ms()) / 2
    asked = figures["requests_per_task"]
    print(f"\n{asked}\n{figures['object_bytes']:.0f} B, {figures['controller_cpu_ms_per_task']:.2f} ms CPU a task,")
    print(f"{figures['controller_cpu_ms_per_task'] / yardstick:.2f} yardsticks of {yardstick:.2f} ms")
    assert figures["pods_per_task"] == 1
    assert asked["POST pods"] == 1
    assert asked["PATCH pods"] <= 1
    assert asked["PATCH podtasks/status"] <= 2
    assert sum(asked.get(read, 0) for read in ("GET podtasks", "GET pods", "LIST pods", "LIST podtasks")) < 0.1
    assert figures["object_bytes"] <= MOST_BYTES
    assert figures["controller_cpu_ms_per_task"] / yardstick <= MOST_YARDSTICKS
