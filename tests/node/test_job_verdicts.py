"""The same Pod as a Job and as a PodTask: the same outcome, except for the differences in docs/concepts.md.

Both have no budget (backoffLimit 0, disruptionLimit 0), and the Job waits for the end of its Pod, as a PodTask does
(podReplacementPolicy Failed; by default a Job counts a Pod as failed as soon as it is being deleted).
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from kubernetes import client

from cluster.handle import Cluster
from tests.harness.programs import ABSENT, PYTHON, container
from tests.harness.tasks import Namespace, NothingCameTrue, Object

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("job-verdicts")]

Fields = dict[str, Any]

PATIENCE_SECONDS = 150
GRACE = 5
HUNGRY = "kept = [b'x' * (1 << 20) for _ in range(256)]"


def on_sigterm(code: int, name: str = "base", *, seconds: int = 0, **more: Any) -> Fields:
    """Return a container that waits, and answers SIGTERM after so long with an exit code. It is ready once it would."""
    ready = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1}
    script = f"trap 'sleep {seconds}; exit {code}' TERM; touch /tmp/ready; sleep 600 & wait"
    return container(name, script, readinessProbe=ready, **more)


def pod(*containers: Fields, **more: Any) -> Fields:
    """Return a Pod's spec."""
    return {"restartPolicy": "Never", "terminationGracePeriodSeconds": GRACE, "containers": list(containers), **more}


# ---- what is done to a Pod ----


def delete(namespace: Namespace, name: str) -> None:
    namespace.core.delete_namespaced_pod(name, namespace.name)


def evict(namespace: Namespace, name: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    namespace.core.create_namespaced_pod_eviction(name, namespace.name, body)


def reported(phase: str, reason: str = "", **codes: int) -> Callable[[Namespace, str], None]:
    """Write a status as a kubelet does, into a Pod that has none. What a kubelet here cannot be brought to."""
    ended = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:09Z"}
    statuses = [
        {"name": name, "state": {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", **ended}}}
        | {"ready": False, "restartCount": 0, "image": PYTHON, "imageID": "sha256:0"}
        for name, code in codes.items()
    ]
    status: Fields = {"phase": phase, "reason": reason, "containerStatuses": statuses}

    def write(namespace: Namespace, name: str) -> None:
        namespace.core.patch_namespaced_pod_status(name, namespace.name, {"status": status})

    return write


@dataclass(frozen=True)
class End:
    """One way to end, and both verdicts: `job` is the condition that the Job gets."""

    pod: Fields
    job: str
    phase: str
    reason: str
    interrupt: Callable[[Namespace, str], None] | None = None
    is_preempted: bool = False
    replacement: str = "Failed"


FILL = "head -c 30000000 /dev/zero > /data/big; sleep 600"
SCRATCH: Fields = {"volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Mi"}}]}
MOUNT: Fields = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
NOWHERE: Fields = {"nodeSelector": {"podtask.test/node": "none"}}
MEMORY: Fields = {"limits": {"memory": "32Mi"}}

SAME: dict[str, End] = {
    "exit-0": End(pod(container("base", "true")), "Complete", "Succeeded", "Completed"),
    "exit-1": End(pod(container("base", "exit 1")), "Failed", "Failed", "NonZeroExit"),
    "out-of-memory": End(
        pod(container("base", f'exec python3 -c "{HUNGRY}"', resources=MEMORY)), "Failed", "Failed", "OOMKilled"
    ),
    "init-container-fails": End(
        pod(container("base", "true"), initContainers=[container("prepare", "exit 100")]),
        "Failed",
        "Failed",
        "InitContainerFailed",
    ),
    "deadline-before-the-start": End(
        pod({"name": "base", "image": ABSENT}, activeDeadlineSeconds=4), "Failed", "Failed", "StartDeadlineExceeded"
    ),
    "deadline-answered-with-0": End(
        pod(on_sigterm(0), activeDeadlineSeconds=45), "Failed", "Failed", "RunDeadlineExceeded"
    ),
    "deleted-answered-with-0": End(pod(on_sigterm(0)), "Complete", "Succeeded", "Completed", delete),
    "drained-answered-with-0": End(pod(on_sigterm(0)), "Complete", "Succeeded", "Completed", evict),
    "deleted-answered-with-1": End(pod(on_sigterm(1)), "Failed", "Failed", "PodDeleted", delete),
    "preempted-answered-with-0-and-143": End(
        pod(on_sigterm(0), on_sigterm(143, "proxy")), "Failed", "Failed", "Preempted", is_preempted=True
    ),
    "volume-over-its-size": End(pod(container("base", FILL, **MOUNT), **SCRATCH), "Failed", "Failed", "Evicted"),
    "container-over-its-storage": End(
        pod(container("base", FILL.replace("/data", "/tmp"), resources={"limits": {"ephemeral-storage": "5Mi"}})),
        "Failed",
        "Failed",
        "Evicted",
    ),
    "shut-down-answered-with-0-and-143": End(
        pod(container("base", "true"), container("proxy", "true"), **NOWHERE),
        "Failed",
        "Failed",
        "NodeShutdown",
        reported("Failed", "Terminated", base=0, proxy=143),
    ),
    "evicted-answered-with-0-on-an-old-node": End(
        pod(container("base", "true"), **NOWHERE), "Failed", "Failed", "Evicted", reported("Failed", "Evicted", base=0)
    ),
    "succeeded-without-a-word": End(
        pod(container("base", "true"), **NOWHERE), "Complete", "Succeeded", "Completed", reported("Succeeded")
    ),
}

OTHER: dict[str, End] = {
    "proxy-fails": End(
        pod(container("base", "sleep 1"), container("proxy", "sleep 2; exit 1")), "Failed", "Succeeded", "Completed"
    ),
    "child-out-of-memory": End(
        pod(container("base", f'python3 -c "{HUNGRY}"; exit 0', resources=MEMORY)), "Complete", "Failed", "OOMKilled"
    ),
    "deleted-answered-with-0-by-default": End(
        pod(on_sigterm(0, seconds=3)), "Failed", "Succeeded", "Completed", delete, replacement="TerminatingOrFailed"
    ),
    "preempted-answered-with-0": End(pod(on_sigterm(0)), "Complete", "Failed", "Evicted", is_preempted=True),
}
"""Where a PodTask differs, as docs/concepts.md says."""

ENDS = SAME | OTHER


# ---- both, and the verdicts ----


@dataclass(frozen=True)
class Verdicts:
    """The status of both."""

    job: str
    status: Fields


@pytest.fixture(scope="module")
def verdicts(cluster: Cluster, left_namespaces: list[str]) -> Iterator[dict[str, Verdicts]]:
    """Run every case as a Job and as a PodTask, all at once."""
    namespace = Namespace(cluster.kubeconfig)
    namespace.wait_service_account()
    namespace.wait_root_certificate()
    try:
        yield _run_all(namespace)
    finally:
        namespace.close()
        left_namespaces.append(namespace.name)


def _run_all(namespace: Namespace) -> dict[str, Verdicts]:
    jobs = client.BatchV1Api(namespace.api_client)
    share = _memory(namespace) * 15 // 100
    for name, end in ENDS.items():
        template = {"spec": _requesting(end.pod, share) if end.is_preempted else end.pod}
        job = {"backoffLimit": 0, "podReplacementPolicy": end.replacement, "template": template}
        jobs.create_namespaced_job(namespace.name, {"metadata": {"name": name}, "spec": job})
        namespace.create(name, template=template, disruptionLimit=0)
    for name, end in ENDS.items():
        if end.interrupt is not None:
            for owner in ("Job", "PodTask"):
                end.interrupt(namespace, _pod(namespace, owner, name, is_ready="nodeSelector" not in end.pod))
    for name in [name for name, end in ENDS.items() if end.is_preempted]:
        for owner in ("Job", "PodTask"):
            _pod(namespace, owner, name, is_ready=True)
    _preempt(namespace, _memory(namespace) * 95 // 100)
    found = {}
    for name in ENDS:
        ended = namespace.wait_object(jobs.list_namespaced_job, name, lambda o: bool(_verdict(o)), PATIENCE_SECONDS)
        found[name] = Verdicts(_verdict(ended), _status(namespace, name))
    delete(namespace, "critical")
    return found


def _status(namespace: Namespace, name: str) -> Fields:
    """Return the status once the task is over, or as it stands where its Job was over long before."""
    with contextlib.suppress(NothingCameTrue):
        return namespace.wait_finished(name, 30)
    status: Fields = namespace.get(name)["status"]
    return status


def _pod(namespace: Namespace, owner: str, name: str, *, is_ready: bool) -> str:
    """Wait for the Pod of the Job or of the PodTask, and where it runs until it answers SIGTERM."""

    def fits(_: str, found: Object) -> bool:
        owners = [(o["kind"], o["name"]) for o in found["metadata"].get("ownerReferences", [])]
        ready = [c for c in found["status"].get("conditions", []) if (c["type"], c["status"]) == ("Ready", "True")]
        return owners == [(owner, name)] and (bool(ready) or not is_ready)

    found: str = namespace.wait_pod(fits)["metadata"]["name"]
    return found


def _verdict(job: Object) -> str:
    conditions = [c["type"] for c in job["status"].get("conditions", []) if c["status"] == "True"]
    return next((kind for kind in conditions if kind in {"Complete", "Failed"}), "")


def _memory(namespace: Namespace) -> int:
    """Return what Pods may have of the node, in KiB."""
    (node,) = namespace.core.list_node().items
    return int(node.status.allocatable["memory"].removesuffix("Ki"))


def _requesting(spec: Fields, kibibytes: int) -> Fields:
    first, *others = spec["containers"]
    return {**spec, "containers": [{**first, "resources": {"requests": {"memory": f"{kibibytes}Ki"}}}, *others]}


def _preempt(namespace: Namespace, kibibytes: int) -> None:
    """Return the node a critical Pod for which its kubelet has to end every Pod that asked for memory."""
    asks = {"requests": {"memory": f"{kibibytes}Ki"}}
    (node,) = namespace.core.list_node().items
    spec = pod(container("sleeps", "sleep 600", resources=asks), terminationGracePeriodSeconds=1)
    spec |= {"nodeName": node.metadata.name, "priorityClassName": "system-node-critical"}
    namespace.core.create_namespaced_pod(namespace.name, {"metadata": {"name": "critical"}, "spec": spec})


@pytest.mark.parametrize("name", [*SAME, *OTHER])
def test_the_outcome_is_the_jobs_or_a_documented_difference(
    running_controller: object, verdicts: dict[str, Verdicts], name: str
) -> None:
    end, found = ENDS[name], verdicts[name]
    assert found.job == end.job, found
    assert (found.status["phase"], found.status["reason"]) == (end.phase, end.reason), found
    assert ((found.job == "Complete") == (found.status["phase"] == "Succeeded")) is (name in SAME)
    assert found.status["attemptCount"] == 1, "what is done is not done twice, and what failed had no budget"
