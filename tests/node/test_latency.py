"""What PodTask adds to the time of one short task on a real kubelet, beside a bare Pod of the same shape.

Task and Pod take turns, and one watcher sees both with one clock. How long a Pod takes is the machine's affair, so
that the Pod is the unit: a busy machine makes both slower.
"""

import asyncio
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.handle import Cluster
from tests.harness.arrivals import Arrivals, arrivals
from tests.harness.programs import RESULT, shell
from tests.harness.tasks import GROUP, PLURAL, TERMINAL, VERSION, Namespace, Object

Fields = dict[str, Any]

PAIRS = 5
MOST = 0.5
"""PodTask adds less than half of what a bare Pod takes, from its creation to the end of its containers."""
ADMITTED = ("nodeName", "priority", "preemptionPolicy", "serviceAccount")
"""What admission and scheduler write into a Pod, and write again."""


@dataclass(frozen=True)
class Times:
    """One task and the Pod beside it, in seconds."""

    to_pod: float
    """Creation of the task to its Pod."""
    to_end: float
    """Creation of the task to its final status."""
    after_main: float
    """End of the task's container to the final status."""
    after_pod: float
    """End of the Pod's containers, a sidecar that brings the result among them, to the final status."""
    bare_pod: float
    """Creation of the bare Pod to the end of its containers."""

    @property
    def added(self) -> float:
        """What is PodTask's own, in bare Pods."""
        return (self.to_pod + self.after_pod) / self.bare_pod


CASES = [
    pytest.param({}, "true", id="without a result"),
    pytest.param({"xcom": {"mode": "Direct"}}, f"echo 1 > {RESULT}", id="Direct"),
    pytest.param({"xcom": {}}, f"echo 1 > {RESULT}", id="with a sidecar"),
]


@pytest.mark.parametrize(("xcom", "script"), CASES)
async def test_podtask_adds_less_than_half_of_what_a_pod_takes(
    namespace: Namespace,
    cluster: Cluster,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    xcom: Fields,
    script: str,
) -> None:
    await asyncio.to_thread(namespace.wait_root_certificate)
    tasks = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace.name}/{PLURAL}"
    pods = f"/api/v1/namespaces/{namespace.name}/pods"
    async with arrivals(cluster.kubeconfig, tmp_path, tasks, pods) as seen:
        measured = [
            await _measure(seen, tasks, pods, f"run-{number}", {**shell(script), **xcom}) for number in range(PAIRS)
        ]
    facts = {name: statistics.median(asdict(times)[name] for times in measured) for name in asdict(measured[0])}
    for name, seconds in facts.items():
        record_property(name, round(seconds, 3))
    added = statistics.median(times.added for times in measured)
    print(f"\n{xcom or 'no result'}: medians of {PAIRS}: {facts}; adds {added:.2f} of a bare Pod")
    assert added < MOST, measured


async def _measure(seen: Arrivals, tasks: str, pods: str, name: str, spec: Fields) -> Times:
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "PodTask", "metadata": {"name": name}, "spec": spec}
    begun = await seen.post(tasks, body)
    made, pod = await seen.first_seen(lambda o: _is_pod_of(o, name))
    main = await seen.first(lambda o: _is_pod_of(o, name) and _has_main_ended(o))
    after = await seen.first(lambda o: _is_pod_of(o, name) and _have_all_ended(o))
    end = await seen.first(lambda o: o["metadata"]["name"] == name and o["status"].get("phase") in TERMINAL)
    posted = await seen.post(pods, _bare(pod, f"bare-{name}"))
    over = await seen.first(lambda o: o["metadata"]["name"] == f"bare-{name}" and _have_all_ended(o))
    return Times(made - begun, end - begun, end - main, end - after, over - posted)


def _bare(pod: Object, name: str) -> Object:
    """Return a Pod of that shape without a PodTask."""
    spec = {key: value for key, value in pod["spec"].items() if key not in ADMITTED}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _is_pod_of(found: Object, task: str) -> bool:
    return bool(found["kind"] == "Pod" and found["metadata"].get("labels", {}).get("podtask.dev/task-name") == task)


def _has_main_ended(pod: Object) -> bool:
    statuses = pod["status"].get("containerStatuses", [])
    return any("terminated" in status["state"] for status in statuses if status["name"] == "base")


def _have_all_ended(pod: Object) -> bool:
    """Return whether this version of the Pod says that no container of its runs any more."""
    statuses = [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]
    return bool(statuses) and all("terminated" in status["state"] for status in statuses)
