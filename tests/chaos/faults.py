"""The faults: each one happens while tasks are created, and returns evidence that it did. `FAULTS` lists them.

A fault that left no trace would make the run pass for nothing, so each asserts its own.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kubernetes import client

from cluster.errors import ClusterError
from tests.chaos.stand import Stand
from tests.chart.rendered import NAMESPACE
from tests.harness import HANG_SECONDS
from tests.harness.tasks import TASKS

_STORM = "chaos-storm"


@dataclass(frozen=True)
class Fault:
    """`strike` takes about `seconds`, and says in a few words what it did."""

    strike: Callable[[Stand, float], str]
    seconds: float
    short_seconds: float
    """In the test run."""


def api_server_restarted(stand: Stand, seconds: float) -> str:
    """Away for as long as it takes, which is longer than the Lease in the long form."""
    before = stand.cluster.pid("apiserver")
    begun = time.monotonic()
    stand.cluster.stop("apiserver")
    # What is created after this was taken by the server that came back; times in the API are whole seconds.
    stand.away_since = datetime.now(UTC)
    time.sleep(seconds)
    stand.cluster.start("apiserver")
    _wait_answer(stand)
    away = time.monotonic() - begun
    stand.cluster.wait_ready()
    assert stand.cluster.pid("apiserver") != before
    return f"API server away for {away:.0f} s"


def _wait_answer(stand: Stand) -> None:
    """Wait until the API server says that it is ready; the node may come later."""
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        try:
            stand.cluster.kubectl("get", "--raw", "/readyz")
        except ClusterError:
            assert time.monotonic() < deadline, "the API server does not come back"
            time.sleep(0.1)
        else:
            return


def etcd_paused(stand: Stand, seconds: float) -> str:
    """etcd is paused: no request succeeds, and no connection breaks."""
    stand.cluster.signal("etcd", "STOP")
    begun = time.monotonic()
    thread = threading.Timer(seconds, stand.cluster.signal, ("etcd", "CONT"))
    thread.start()
    with contextlib.suppress(client.ApiException):  # given up by the server, after its own patience
        stand.namespace.core.create_namespaced_config_map(
            stand.namespace.name, {"metadata": {"generateName": "probe-"}}, _request_timeout=HANG_SECONDS
        )
    took = time.monotonic() - begun
    thread.join()
    stand.cluster.wait_ready()
    assert took > min(seconds, 8) * 0.8, "a write went through meanwhile"
    return f"a write took {took:.0f} s"


def requests_starved(stand: Stand, seconds: float) -> str:
    """Priority and fairness leaves the controller almost no share, and replies 429 to the rest."""
    level = {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
        | {"limitResponse": {"type": "Reject"}},
    }
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    subject = {"kind": "Group", "group": {"name": f"system:serviceaccounts:{NAMESPACE}"}}
    schema = {
        "priorityLevelConfiguration": {"name": _STORM},
        "matchingPrecedence": 2,
        "rules": [{"subjects": [subject], "resourceRules": [everything]}],
    }
    for kind, spec in (("PriorityLevelConfiguration", level), ("FlowSchema", schema)):
        body = {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": kind, "metadata": {"name": _STORM}}
        stand.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body | {"spec": spec}))
    # One request at a time fits. Tasks that come all together make the controller send many.
    _create_waiting(stand, "crowd", 30)
    time.sleep(seconds)
    refused = stand.requests("429")
    stand.cluster.kubectl("delete", f"flowschema/{_STORM}", f"prioritylevelconfiguration/{_STORM}")
    assert refused > 0, "nothing was refused"
    return f"{refused:.0f} requests answered 429"


def connections_cut(stand: Stand, seconds: float) -> str:
    """Every connection of the controllers, watches included, is cut after at most a second."""
    before = stand.wire.cut_connections
    with stand.wire.cut_every(1):
        time.sleep(seconds)
    cut = stand.wire.cut_connections - before
    assert cut >= seconds, "fewer than one connection a second"
    return f"{cut} connections cut"


def node_restarted(stand: Stand, seconds: float) -> str:
    """kubelet and containerd stop; containers run on, unseen."""
    before = stand.cluster.pid("kubelet")
    for program in ("kubelet", "containerd"):
        stand.cluster.stop(program)
    time.sleep(seconds)
    _start_node(stand)
    assert stand.cluster.pid("kubelet") != before
    return f"kubelet and containerd away for {seconds:.0f} s"


def _start_node(stand: Stand) -> None:
    """A kubelet that comes before its containerd has taken stock ends, and is started again, as on any machine."""
    for _ in range(5):
        try:
            stand.cluster.wait_ready()
        except ClusterError:
            time.sleep(1)
        else:
            return
    stand.cluster.wait_ready()


def leader_killed(stand: Stand, seconds: float) -> str:
    """The Pod of the replica that works is deleted without grace: its process is killed."""
    (leader,) = stand.leaders()
    stand.cluster.kubectl("delete", "pod", leader, "-n", NAMESPACE, "--grace-period=0", "--force")
    time.sleep(seconds)
    stand.wait_controllers()
    assert leader not in [pod["metadata"]["name"] for pod in stand.controllers()]
    return "leader deleted without grace"


def deletions(stand: Stand, seconds: float) -> str:
    """Many tasks, each with a Pod that waits for a node, are deleted by one command."""
    count = int(seconds * 50)
    _create_waiting(stand, "doomed", count)
    place = client.CustomObjectsApi(stand.namespace.api_client)
    stand.namespace.wait(f"doomed-{count - 1}", lambda task: task["status"].get("reason") == "Unschedulable")
    place.delete_collection_namespaced_custom_object(
        namespace=stand.namespace.name, label_selector="crowd=doomed", propagation_policy="Background", **TASKS
    )
    for number in (0, count // 2, count - 1):
        stand.namespace.wait_gone(f"doomed-{number}", 120)
    for pod in stand.namespace.pods():
        if pod["metadata"]["name"].startswith("doomed"):
            stand.namespace.wait_pod_gone(pod["metadata"]["name"], 120)
    return f"{count} tasks and their Pods deleted"


def _create_waiting(stand: Stand, name: str, count: int) -> None:
    """Create tasks whose Pods wait for a node that is not there."""
    spec = {"image": "i", "nodeSelector": {"there": "is-none"}, "terminationGracePeriodSeconds": 0}
    place = client.CustomObjectsApi(stand.namespace.api_client)
    for number in range(count):
        body = {"apiVersion": "podtask.dev/v1alpha1", "kind": "PodTask"}
        body |= {"metadata": {"name": f"{name}-{number}", "labels": {"crowd": name}}, "spec": spec}
        place.create_namespaced_custom_object(body=body, namespace=stand.namespace.name, **TASKS)


def poison(stand: Stand, seconds: float) -> str:
    """As large as the API server takes it; and one that fails again and again."""
    words = [{"name": f"N{number}", "value": "x" * 4000} for number in range(200)]
    metadata = {"annotations": {f"note-{number}": "x" * 60_000 for number in range(4)}}
    largest: dict[str, Any] = {"image": "i", "env": words, "template": {"metadata": metadata}}
    failing = {"image": "localhost/podtask/python:dev", "command": ["false"]}
    stand.namespace.create("largest", **largest, nodeSelector={"there": "is-none"})
    stand.namespace.create("failing", **failing, backoffLimit=6, backoff={"initialSeconds": 1, "maxSeconds": 1})
    stand.namespace.wait("largest", lambda task: bool(task["status"].get("reason")))
    stand.namespace.patch("largest", cancel=True)
    largest = stand.namespace.wait_finished("largest")
    failed = stand.namespace.wait_finished("failing", 90 + seconds)
    assert (failed["phase"], failed["attemptCount"]) == ("Failed", 7), failed
    return f"a task of 1 MB ended {largest['phase']}, one failed 7 times"


FAULTS = {
    "api server restarted": Fault(api_server_restarted, 12, 1),
    "etcd paused": Fault(etcd_paused, 20, 6),
    "429 storm": Fault(requests_starved, 20, 6),
    "connections cut every second": Fault(connections_cut, 20, 6),
    "leader killed": Fault(leader_killed, 12, 1),
    "node restarted": Fault(node_restarted, 20, 4),
    "deletions at once": Fault(deletions, 20, 2),
    "poison": Fault(poison, 1, 1),
}
