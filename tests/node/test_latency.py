"""How long one short task takes on a real kubelet, as somebody who watches sees it: medians, printed and recorded.

The machine is shared, so the bounds are three times the budgets; the figures are what to read.
"""

import asyncio
import statistics
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.handle import Cluster
from tests.harness.arrivals import Arrivals, arrivals
from tests.harness.programs import RESULT, shell
from tests.harness.tasks import GROUP, PLURAL, TERMINAL, VERSION, Namespace, Object

Fields = dict[str, Any]

RUNS = 5
SLACK = 3


@dataclass(frozen=True)
class Times:
    """One task, in seconds: creation to Pod, creation to final status, end of the container to final status."""

    to_pod: float
    to_end: float
    after_main: float


BUDGETS = [
    pytest.param({}, "true", 1.1, id="without a result"),
    pytest.param({"xcom": {"mode": "Direct"}}, f"echo 1 > {RESULT}", 1.1, id="Direct"),
    pytest.param({"xcom": {}}, f"echo 1 > {RESULT}", 3.2, id="with a sidecar"),
]


@pytest.mark.parametrize(("xcom", "script", "budget"), BUDGETS)
async def test_a_short_task_is_over_within_its_budget(
    namespace: Namespace,
    cluster: Cluster,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    xcom: Fields,
    script: str,
    budget: float,
) -> None:
    await asyncio.to_thread(namespace.wait_root_certificate)
    tasks = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace.name}/{PLURAL}"
    pods = f"/api/v1/namespaces/{namespace.name}/pods"
    async with arrivals(cluster.kubeconfig, tmp_path, tasks, pods) as seen:
        measured = [await _measure(seen, tasks, f"run-{number}", {**shell(script), **xcom}) for number in range(RUNS)]
    median = Times(*(statistics.median(values) for values in zip(*map(astuple, measured), strict=True)))
    for name, seconds in vars(median).items():
        record_property(name, round(seconds, 3))
    print(f"\n{xcom or 'no result'}: medians of {RUNS}: {median}; all ends {[round(t.to_end, 2) for t in measured]}")
    assert median.to_end < SLACK * budget, measured


async def _measure(seen: Arrivals, path: str, name: str, spec: Fields) -> Times:
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "PodTask", "metadata": {"name": name}, "spec": spec}
    begun = await seen.post(path, body)
    pod = await seen.first(lambda o: _is_pod_of(o, name))
    main = await seen.first(lambda o: _is_pod_of(o, name) and _has_main_ended(o))
    end = await seen.first(lambda o: o["metadata"]["name"] == name and o["status"].get("phase") in TERMINAL)
    return Times(to_pod=pod - begun, to_end=end - begun, after_main=end - main)


def _is_pod_of(found: Object, task: str) -> bool:
    return bool(found["kind"] == "Pod" and found["metadata"]["labels"].get("podtask.dev/task-name") == task)


def _has_main_ended(pod: Object) -> bool:
    states = [s["state"] for s in pod["status"].get("containerStatuses", []) if s["name"] == "base"]
    return any("terminated" in state for state in states)
