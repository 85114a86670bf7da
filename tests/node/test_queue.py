"""A queueing system that gates and evicts Pods as Kueue does, simulated by the test."""

from typing import Any

from tests.harness.programs import ATTEMPT, POLITE, shell
from tests.harness.story import SUCCESS, Ended, check
from tests.harness.tasks import Namespace, Object

Fields = dict[str, Any]

QUEUE = "kueue.x-k8s.io/queue-name"
GATED: Fields = {"spec": {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}}
"""What Kueue's webhook puts on every Pod with its label."""


def held_pod(namespace: Namespace, attempt: int) -> str:
    """Wait for the Pod of an attempt, which the queue holds; give its name."""

    def has_finalizer(_: str, pod: Object) -> bool:
        return pod["metadata"]["labels"]["podtask.dev/attempt"] == str(attempt) and "schedulingGates" in pod["spec"]

    found = namespace.wait_pod(has_finalizer)
    assert found["metadata"]["labels"][QUEUE] == "nightly"
    name: str = found["metadata"]["name"]
    return name


def admit(namespace: Namespace, pod: str) -> None:
    namespace.core.patch_namespaced_pod(pod, namespace.name, {"spec": {"schedulingGates": None}})


def take_back(namespace: Namespace, pod: str) -> None:
    """Mark the Pod and delete it, in this order."""
    condition = {
        "type": "TerminationTarget",
        "status": "True",
        "reason": "WorkloadEvictedDueToPreempted",
        "message": "Preempted to accommodate a workload in the queue",
    }
    namespace.core.patch_namespaced_pod_status(pod, namespace.name, {"status": {"conditions": [condition]}})
    namespace.core.delete_namespaced_pod(pod, namespace.name)


def test_a_gated_task_waits_runs_is_evicted_and_gated_again_without_being_counted(namespace: Namespace) -> None:
    fields = shell(f'test "$ATTEMPT" != 1 && exit 0; {POLITE}', env=ATTEMPT, template=GATED, queueName="nightly")
    namespace.create(
        "queued",
        **fields,
        terminationGracePeriodSeconds=2,
        backoff={"initialSeconds": 1, "factor": 1},
        disruptionLimit=0,
        deadlines={"scheduleSeconds": 60},
    )
    first = held_pod(namespace, 1)
    reported = namespace.wait("queued", lambda t: t["status"].get("reason") == "SchedulingGated")["status"]
    assert "kueue.x-k8s.io/admission" in reported["message"]
    admit(namespace, first)
    namespace.wait("queued", lambda t: t["status"]["phase"] == "Running")
    take_back(namespace, first)
    admit(namespace, held_pod(namespace, 2))
    evicted = Ended("Disrupted", "QueueEvicted", 143, counts=False)
    status = namespace.wait_finished("queued")
    check(status, "Succeeded", "Completed", evicted, SUCCESS)
    assert "WorkloadEvictedDueToPreempted" in status["attempts"][0]["message"]


def test_a_task_that_is_evicted_before_it_ran_is_gated_again(namespace: Namespace) -> None:
    fields = shell("true", template=GATED, queueName="nightly", backoff={"initialSeconds": 1}, disruptionLimit=0)
    namespace.create("queued", **fields)
    take_back(namespace, held_pod(namespace, 1))
    admit(namespace, held_pod(namespace, 2))
    evicted = Ended("Disrupted", "QueueEvicted", is_started=False, is_placed=False, counts=False)
    check(namespace.wait_finished("queued"), "Succeeded", "Completed", evicted, SUCCESS)
