"""Every way an attempt ends, with its outcome and reason."""

from datetime import UTC, datetime

import pytest

from podtask.core.pod import Terminated
from podtask.core.termination import classify_termination, has_started, succeeded
from tests.builders import MadePod, at, make_pod

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


BY_KUBELET = ("DisruptionTarget", "TerminationByKubelet")
LOW = "The node was low on resource: memory. "


def ran() -> MadePod:
    return make_pod().running()


def meshed() -> MadePod:
    return ran().with_container("proxy")


# sentence: (pod, outcome, reason); None where it lives
ENDS: dict[str, tuple[MadePod, str | None, str]] = {
    "just created": (make_pod(), None, ""),
    "runs": (ran(), None, ""),
    "exit 0": (ran().exit(0), "Succeeded", "Completed"),
    "exit 0 and the mesh proxy failed after it": (
        ran().with_container("proxy").exit(0).exit(1, name="proxy").phase("Failed"),
        "Succeeded",
        "Completed",
    ),
    "only a sidecar failed": (ran().with_container("side").exit(1, name="side"), None, ""),
    "exit 1": (ran().exit(1), "Failed", "NonZeroExit"),
    "killed by a signal": (ran().exit(139, signal=11), "Failed", "NonZeroExit"),
    "out of memory": (ran().exit(137, reason="OOMKilled"), "Failed", "OOMKilled"),
    "out of memory in a child, exit 0": (ran().exit(0, reason="OOMKilled"), "Failed", "OOMKilled"),
    "could not be started": (make_pod().exit(128, reason="StartError", started_at=EPOCH), "Failed", "StartFailed"),
    "an init container failed": (
        make_pod().with_init("prep").exit(3, name="prep").phase("Failed"),
        "Failed",
        "InitContainerFailed",
    ),
    "evicted by the kubelet": (ran().exit(137).phase("Failed", "Evicted", "low on memory"), "Disrupted", "Evicted"),
    "preempted for a static Pod": (ran().exit(137).phase("Failed", "Preempting"), "Disrupted", "Preempted"),
    "node shutdown": (ran().exit(143).phase("Failed", "Terminated"), "Disrupted", "NodeShutdown"),
    "preempted by the scheduler": (
        ran().exit(143).condition("DisruptionTarget", "PreemptionByScheduler").deleted(5),
        "Disrupted",
        "Preempted",
    ),
    "tainted": (ran().exit(143).condition("DisruptionTarget", "DeletionByTaintManager"), "Disrupted", "NodeLost"),
    "garbage collected with its node": (
        ran().condition("DisruptionTarget", "DeletionByPodGC").phase("Failed"),
        "Disrupted",
        "NodeLost",
    ),
    "drained": (ran().exit(143).condition("DisruptionTarget", "EvictionByEvictionAPI"), "Disrupted", "Evicted"),
    "by the kubelet, in the condition's words": (
        ran().exit(137).condition("DisruptionTarget", "TerminationByKubelet").phase("Failed", "Terminated"),
        "Disrupted",
        "NodeShutdown",
    ),
    "an unknown disruption": (ran().exit(1).condition("DisruptionTarget", "New"), "Disrupted", "Evicted"),
    "a condition that is not true": (
        ran().exit(1).condition("DisruptionTarget", "New", status="False"),
        "Failed",
        "NonZeroExit",
    ),
    "failed an hour before its node was drained": (
        ran().exit(1, 10).condition("DisruptionTarget", "EvictionByEvictionAPI", seconds=3600),
        "Failed",
        "NonZeroExit",
    ),
    "evicted by the queue": (
        ran().exit(143, 20).condition("TerminationTarget", "WorkloadEvicted", seconds=15),
        "Disrupted",
        "QueueEvicted",
    ),
    "deleted while it ran": (ran().exit(143, 20).deleted(15), "Disrupted", "PodDeleted"),
    "failed before it was deleted": (ran().exit(1, 10).deleted(15), "Failed", "NonZeroExit"),
    "failed before it was deleted, by a slow clock's account": (
        make_pod().scheduled(0, taken=-60).running(-58).exit(143, -40).deleted(15),
        "Disrupted",
        "PodDeleted",
    ),
    "deleted while it ran, and seen once its kubelet has done with it": (
        ran().exit(143, 20).phase("Failed").deleted(22, grace=0),
        "Disrupted",
        "PodDeleted",
    ),
    "failed long before its Pod was deleted": (
        ran().exit(1, 10).phase("Failed").deleted(3600, grace=0),
        "Failed",
        "NonZeroExit",
    ),
    "deleted, and ends well": (ran().exit(0, 20).deleted(15), "Succeeded", "Completed"),
    "deleted and still stopping": (ran().deleted(15), None, ""),
    "deleted by force": (ran().deleted(15, grace=0), "Disrupted", "PodDeleted"),
    "deleted before it had a node": (make_pod().deleted(15, grace=0), "Disrupted", "PodDeleted"),
    "a grace period beyond all time": (ran().deleted(0).exit(0, 1), "Succeeded", "Completed"),
    # exit 0 of what the kubelet cut off
    "exit 0, and the kubelet evicted the Pod": (
        meshed().exit(0).exit(137, name="proxy").phase("Failed", "Evicted", LOW).condition(*BY_KUBELET),
        "Disrupted",
        "Evicted",
    ),
    "exit 0 in a node's shutdown": (
        meshed().exit(0).exit(143, name="proxy").phase("Failed", "Terminated").condition(*BY_KUBELET),
        "Disrupted",
        "NodeShutdown",
    ),
    "exit 0 in a node's shutdown, by an older kubelet": (
        ran().exit(0).phase("Failed", "Shutdown"),
        "Disrupted",
        "NodeShutdown",
    ),
    "exit 0, preempted for a static Pod": (
        meshed().exit(0).exit(143, name="proxy").phase("Failed", "Preempting").condition(*BY_KUBELET),
        "Disrupted",
        "Preempted",
    ),
    "exit 0 of all, which the kubelet calls Succeeded in spite of its condition": (
        ran().exit(0).phase("Succeeded").condition(*BY_KUBELET, seconds=12),
        "Disrupted",
        "Evicted",
    ),
    "exit 0, and its Pod does not fit the node any more": (
        ran().exit(0).phase("Failed", "UnexpectedAdmissionError", "Pod was rejected: no GPU"),
        "Disrupted",
        "NodeRefused",
    ),
    "killed because its Pod does not fit the node any more": (
        ran().exit(137).phase("Failed", "NodeAffinity", "Pod was rejected: no label"),
        "Disrupted",
        "NodeRefused",
    ),
    "exit 0, failed by the kubelet for a reason of its own": (
        ran().exit(0).phase("Failed", "NewReason"),
        "Disrupted",
        "NodeRefused",
    ),
    "exit 0 within its own deadline's grace": (
        ran().exit(0).phase("Failed", "DeadlineExceeded"),
        "Failed",
        "RunDeadlineExceeded",
    ),
    "exit 0, and the kubelet is about to say why the Pod failed": (
        ran().exit(0).condition("Ready", "PodFailed", status="False"),
        None,
        "",
    ),
    "exit 0, and the kubelet says that it ended the Pod": (ran().exit(0).condition(*BY_KUBELET), None, ""),
    "exit 0, and the Pod is about to be done": (
        ran().exit(0).condition("Ready", "PodCompleted", status="False"),
        "Succeeded",
        "Completed",
    ),
    "exit 0, and the others are stopped for it": (
        meshed().exit(0).stopped("MainContainerEnded").condition("Ready", "PodFailed", status="False"),
        "Succeeded",
        "Completed",
    ),
    "exit 0, and its node goes while the others are stopped": (
        meshed().exit(0).stopped("MainContainerEnded").phase("Failed", "Terminated").condition(*BY_KUBELET),
        "Succeeded",
        "Completed",
    ),
    "exit 0 in a drain": (
        ran().exit(0, 20).condition("DisruptionTarget", "EvictionByEvictionAPI", seconds=15).deleted(15),
        "Succeeded",
        "Completed",
    ),
    "exit 0, cancelled and evicted": (
        ran().exit(0).stopped("Cancelled").phase("Failed", "Evicted", LOW).condition(*BY_KUBELET),
        "Stopped",
        "Cancelled",
    ),
    # its own limits
    "its volume grew over its size": (
        ran().exit(137).phase("Failed", "Evicted", 'Usage of EmptyDir volume "d" exceeds the limit "5Mi". '),
        "Failed",
        "Evicted",
    ),
    "its container wrote more than its limit": (
        ran().exit(137).phase("Failed", "Evicted", 'Container base exceeded its local ephemeral storage limit "5Mi". '),
        "Failed",
        "Evicted",
    ),
    "its volume grew, and the node was low as well": (
        ran().exit(137).phase("Failed", "Evicted", "Container base exceeded").condition(*BY_KUBELET),
        "Disrupted",
        "Evicted",
    ),
    "evicted at the kubelet's restart": (
        ran().exit(137).phase("Failed", "Evicted", "Pod was rejected: The node had condition: [MemoryPressure]. "),
        "Disrupted",
        "Evicted",
    ),
    # without a word on the containers
    "succeeded, and no container is known": (make_pod().scheduled().phase("Succeeded"), "Succeeded", "Completed"),
    "refused by the node": (make_pod().scheduled().phase("Failed", "OutOfcpu"), "Disrupted", "NodeRefused"),
    "ended without a word": (make_pod().scheduled().phase("Failed"), "Disrupted", "NodeRefused"),
    "lost by the kubelet": (
        ran().exit(137, None, reason="ContainerStatusUnknown", started_at=None).phase("Failed"),
        "Disrupted",
        "NodeLost",
    ),
    "lost by the runtime": (ran().exit(255, None, reason="Unknown").phase("Failed"), "Disrupted", "NodeLost"),
    "an exit code of 255 of its own": (ran().exit(255, reason="Error").phase("Failed"), "Failed", "NonZeroExit"),
    "stopped by its own deadline": (
        ran().exit(137).phase("Failed", "DeadlineExceeded"),
        "Failed",
        "RunDeadlineExceeded",
    ),
    "over its own deadline, and the kubelet made up an end of what it never started": (
        make_pod()
        .with_init("mesh", "Always")
        .exit(137, None, name="mesh", reason="ContainerStatusUnknown", started_at=None)
        .exit(137, None, reason="ContainerStatusUnknown", started_at=None)
        .phase("Failed", "DeadlineExceeded"),
        "Failed",
        "StartDeadlineExceeded",
    ),
    "never started within its own deadline": (
        make_pod().scheduled().phase("Failed", "DeadlineExceeded"),
        "Failed",
        "StartDeadlineExceeded",
    ),
    # our own stops
    "cancelled": (ran().exit(143).stopped("Cancelled").phase("Failed", "DeadlineExceeded"), "Stopped", "Cancelled"),
    "cancelled, and then deleted by a user": (
        ran().exit(143, 12).stopped("Cancelled").deleted(15),
        "Stopped",
        "Cancelled",
    ),
    "cancelled and still stopping": (ran().stopped("Cancelled"), None, ""),
    "cancelled, has ended well, its Pod has not": (ran().exit(0).stopped("Cancelled"), None, ""),
    "cancelled, but it was quicker": (ran().exit(0).stopped("Cancelled").phase("Succeeded"), "Succeeded", "Completed"),
    "cancelled, took it well": (
        ran().exit(0).stopped("Cancelled").phase("Failed", "DeadlineExceeded"),
        "Stopped",
        "Cancelled",
    ),
    "cancelled, but failed by itself": (ran().exit(1).stopped("Cancelled").phase("Failed"), "Stopped", "Cancelled"),
    "cancelled, seen before its Pod's end": (ran().exit(1).stopped("Cancelled"), "Stopped", "Cancelled"),
    "ran too long": (ran().exit(143).stopped("RunDeadlineExceeded"), "Failed", "RunDeadlineExceeded"),
    "took too long in all": (ran().exit(143).stopped("TotalDeadlineExceeded"), "Stopped", "TotalDeadlineExceeded"),
    "suspended": (ran().noted("Suspended").deleted(15).exit(143, 20), "Stopped", "Suspended"),
    "suspended, but it had ended": (ran().noted("Suspended").deleted(15).exit(0, 10), "Succeeded", "Completed"),
    "suspended, ends well because of it": (
        ran().noted("Suspended").deleted(15).exit(0, 20).phase("Succeeded"),
        "Stopped",
        "Suspended",
    ),
    "suspended, and seen once its kubelet has done with it": (
        ran().noted("Suspended").exit(143, 20).phase("Failed").deleted(22, grace=0),
        "Stopped",
        "Suspended",
    ),
    "given up with its node": (ran().noted("NodeLost").deleted(15, grace=0), "Disrupted", "NodeLost"),
    "stopped for an unknown reason": (ran().noted("Whim").deleted(15, grace=0), "Disrupted", "PodDeleted"),
    "never scheduled": (
        make_pod().noted("ScheduleDeadlineExceeded").deleted(15, grace=0),
        "Stopped",
        "ScheduleDeadlineExceeded",
    ),
    "its other containers were stopped": (
        ran().exit(0).stopped("MainContainerEnded").phase("Failed", "DeadlineExceeded"),
        "Succeeded",
        "Completed",
    ),
}


@pytest.mark.parametrize(("made", "outcome", "reason"), ENDS.values(), ids=ENDS)
def test_classify(made: MadePod, outcome: str | None, reason: str) -> None:
    got = classify_termination(made.build(), "base")
    assert (got.outcome, got.reason) == (outcome, reason) if got else outcome is None


def test_the_main_container_may_have_any_name() -> None:
    made = make_pod(container="worker").with_container("base").exit(0, name="base").running(name="worker")
    assert classify_termination(made.build(), "worker") is None
    got = classify_termination(made.exit(5, name="worker").build(), "worker")
    assert got is not None
    assert got.exit_code == 5


def test_exit_0_that_is_no_success_is_told_as_it_was() -> None:
    got = classify_termination(ran().exit(0).phase("Failed", "NewReason", "as it likes").build(), "base")
    assert got is not None
    assert (got.exit_code, got.message) == (0, "NewReason: as it likes")
    got = classify_termination(ran().exit(0).phase("Failed", "DeadlineExceeded").build(), "base")
    assert got is not None
    assert got.message == "container base ended with exit code 0, stopped by the Pod's own activeDeadlineSeconds"


def test_what_was_seen_to_run_is_over_its_time_to_run_though_its_end_is_lost() -> None:
    lost = ran().exit(137, None, reason="ContainerStatusUnknown", started_at=None).phase("Failed", "DeadlineExceeded")
    got = classify_termination(lost.build(), "base", was_running=True)
    assert got is not None
    assert (got.outcome, got.reason, got.exit_code) == ("Failed", "RunDeadlineExceeded", None)
    assert got.message == "container base was stopped by the Pod's own activeDeadlineSeconds, and its end is not known"


def test_a_limit_of_its_own_is_told_in_the_kubelets_words_with_the_last_of_the_log() -> None:
    words = "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. "
    got = classify_termination(ran().exit(137, message="writing").phase("Failed", "Evicted", words).build(), "base")
    assert got is not None
    assert (got.message, got.exit_code, got.log_tail) == (f"Evicted: {words}", 137, "writing")


def test_a_success_without_a_known_end_has_no_exit_code() -> None:
    got = classify_termination(make_pod().scheduled().phase("Succeeded").build(), "base")
    assert got is not None
    assert (got.exit_code, got.started_at, got.finished_at) == (None, None, None)
    assert got.message == "the Pod succeeded, and the end of container base was not reported"


def test_an_init_containers_exit_code_is_not_the_tasks() -> None:
    got = classify_termination(make_pod().with_init("prep").exit(3, name="prep").phase("Failed").build(), "base")
    assert got is not None
    assert got.exit_code is None
    assert got.message == "init container prep ended with exit code 3"


def test_the_evidence_is_kept() -> None:
    got = classify_termination(ran().exit(3, signal=9, message="x" * 3000 + "end").build(), "base")
    assert got is not None
    assert got.message == "container base ended with exit code 3 (signal 9)"
    assert got.log_tail == ("x" * 2045) + "end"
    assert (got.started_at, got.finished_at, got.exit_code) == (at(2), at(10), 3)


def test_a_stopped_task_keeps_its_last_words() -> None:
    got = classify_termination(
        ran().exit(143, message="waiting for lock").stopped("RunDeadlineExceeded").build(), "base"
    )
    assert got is not None
    assert got.log_tail == "waiting for lock"


def test_a_start_error_has_no_start_and_no_tail() -> None:
    got = classify_termination(
        make_pod().exit(128, reason="StartError", message="no such file", started_at=EPOCH).build(), "base"
    )
    assert got is not None
    assert (got.started_at, got.log_tail) == (None, "")
    assert "no such file" in got.message


def test_blame_goes_to_the_init_container_and_not_to_the_sidecar_before_it() -> None:
    made = make_pod().with_init("mesh", "Always").with_init("prep")
    made = made.exit(137, name="mesh").exit(4, name="prep", reason="OOMKilled").phase("Failed")
    got = classify_termination(made.build(), "base")
    assert got is not None
    assert got.message == "init container prep was killed because it ran out of memory (exit code 4)"
    assert got.started_at is None


STARTS = {
    "nothing known": (make_pod(), False),
    "waits": (make_pod().scheduled().waiting("ContainerCreating"), False),
    "runs": (ran(), True),
    "ran": (ran().exit(0), True),
    "could not be started": (make_pod().exit(128, reason="StartError"), False),
    "ended in 1970": (make_pod().exit(137, started_at=EPOCH), False),
}


@pytest.mark.parametrize(("made", "want"), STARTS.values(), ids=STARTS)
def test_has_started(made: MadePod, want: bool) -> None:
    assert has_started(made.build(), "base") is want


def test_success_is_exit_0_without_a_kill() -> None:
    assert succeeded(Terminated(exit_code=0))
    assert not succeeded(Terminated(exit_code=0, reason="OOMKilled"))
    assert not succeeded(None)
