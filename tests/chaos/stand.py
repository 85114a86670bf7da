"""The set-up of the fault tests: a node, the chart with two replicas, a relay that can be cut, and measurements."""

import contextlib
import json
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from kubernetes import client

from cluster import Cluster, Form, down, up
from cluster.errors import ClusterError
from cluster.images.load import load
from tests.chaos.wire import Wire
from tests.chart.rendered import CHART, NAMESPACE, RELEASE, flags, helm
from tests.harness import HANG, HANG_SECONDS
from tests.harness.tasks import TASKS, Namespace

NAME = "podtask-chaos"
_SELECTOR = ("-n", NAMESPACE, "-l", "app.kubernetes.io/component=controller")
_SETTINGS = ("controller.podHoldSeconds=40", "controller.relistSeconds=60")
"""The hold is longer than Lease and write together; a minute of it would make each fault wait for its Pods' end."""


_LOOKS = 3


class Memory(NamedTuple):
    """What one process holds."""

    mib: float
    """Resident, which Python and the C library give back in part."""
    blocks: float
    """Python's own, which fall back to where they were unless something is kept."""


@dataclass
class Stand:
    """One cluster with the chart in it."""

    cluster: Cluster
    wire: Wire
    namespace: Namespace
    runs: Path
    """A folder of the machine that every task can write to."""
    away_since: datetime | None = None
    """When the API server went away in the fault that is played, where it did."""
    rest: Memory | None = None
    """What the leader held before the first fault, with no task there but after it had run some."""
    calm_seconds: float = 0.0
    """How long the slowest of those tasks waited for its Pod."""

    def controllers(self) -> list[dict[str, Any]]:
        """The controller's Pods."""
        items: list[dict[str, Any]] = json.loads(self.cluster.kubectl("get", "pods", *_SELECTOR, "-o", "json"))["items"]
        return items

    def wait_controllers(self) -> None:
        """Wait until both replicas are ready by themselves."""
        self.cluster.wait_ready()
        self.cluster.kubectl("wait", "pod", *_SELECTOR, "--for=condition=Ready", HANG)

    def wait_leader(self, seconds: float = HANG_SECONDS) -> None:
        """Wait until one replica leads, and one only."""
        deadline = time.monotonic() + seconds
        while len(self.leaders()) != 1:
            assert time.monotonic() < deadline, "no replica leads"
            time.sleep(0.5)

    def restarts(self) -> int:
        """How often a controller's container was started again."""
        return sum(one["restartCount"] for pod in self.controllers() for one in pod["status"]["containerStatuses"])

    def metrics(self) -> dict[str, list[str]]:
        """What each replica that answers says about itself."""
        found = {}
        for pod in self.controllers():
            name = pod["metadata"]["name"]
            with contextlib.suppress(ClusterError):
                path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}:8081/proxy/metrics"
                found[name] = self.cluster.kubectl("get", "--raw", path).splitlines()
        return found

    def memory(self) -> Memory:
        """Return the memory of the replica that works: the least of a few looks, as some of it is on its way out."""
        looks = []
        for _ in range(_LOOKS):
            found = self.metrics()
            looks += [memory_of(found[name]) for name in _leaders(found)]
            time.sleep(1)
        return Memory(min(look.mib for look in looks), min(look.blocks for look in looks))

    def clear(self) -> None:
        """Delete every task, and return once nothing is left of them."""
        place = client.CustomObjectsApi(self.namespace.api_client)
        place.delete_collection_namespaced_custom_object(
            namespace=self.namespace.name, propagation_policy="Background", **TASKS
        )
        deadline = time.monotonic() + HANG_SECONDS
        while place.list_namespaced_custom_object(namespace=self.namespace.name, **TASKS)["items"] or any(
            pod for pod in self.namespace.pods()
        ):
            assert time.monotonic() < deadline, "tasks or Pods are left"
            time.sleep(1)

    def leaders(self) -> list[str]:
        """The Pods that say that they lead."""
        return _leaders(self.metrics())

    def requests(self, codes: str) -> float:
        """How many requests were answered so, by the replicas' own count, which begins anew with each process."""
        pattern = rf'podtask_requests_total{{.*code="(?:{codes})".*}}'
        return sum(_number(lines, pattern) for lines in self.metrics().values())

    @contextlib.contextmanager
    def without_chart(self) -> Iterator[None]:
        """No replica of the chart meanwhile: a controller of the test's own does the work."""
        self._scale(0)
        self.cluster.kubectl("wait", "pod", *_SELECTOR, "--for=delete", HANG)
        try:
            yield
        finally:
            self._scale(2)
            self.cluster.kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{RELEASE}", HANG)

    def _scale(self, replicas: int) -> None:
        self.cluster.kubectl("scale", "-n", NAMESPACE, f"deployment/{RELEASE}", f"--replicas={replicas}")


def memory_of(lines: list[str]) -> Memory:
    """Read it out of what a controller says about itself."""
    return Memory(_number(lines, "process_resident_memory_bytes") / 2**20, _number(lines, "podtask_memory_blocks"))


def _leaders(metrics: dict[str, list[str]]) -> list[str]:
    return [name for name, lines in metrics.items() if "podtask_leader 1.0" in lines]


def _number(lines: list[str], pattern: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(pattern + " ", line))


@contextlib.contextmanager
def standing(name: str = NAME) -> Iterator[Stand]:
    """Set everything up, and take it down again."""
    down(name)
    cluster = up(name, Form.NODE)
    try:
        load(cluster, ["controller"])
        with Wire(cluster) as wire, tempfile.TemporaryDirectory(prefix="podtask-chaos-") as runs:
            words = ("-n", NAMESPACE, "--create-namespace", "--wait", HANG, *flags(*_SETTINGS))
            helm("install", RELEASE, str(CHART), *words, kubeconfig=cluster.kubeconfig)
            namespace = Namespace(cluster.kubeconfig)
            with contextlib.closing(namespace):
                namespace.wait_service_account()
                namespace.wait_root_certificate()
                Path(runs).chmod(0o755)
                yield Stand(cluster, wire, namespace, Path(runs))
    finally:
        down(name)
