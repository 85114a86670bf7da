"""Why a Pod does not start."""

import pytest

from podtask.core.diagnosis import diagnose, has_pull_error, progress
from podtask.core.snapshot import PodEvent, PodEvents
from tests.builders import MadePod, at, make_pod

PLACED = make_pod().scheduled().waiting("ContainerCreating")
CASES: dict[str, tuple[MadePod, str | None, bool]] = {
    "nothing": (PLACED, None, False),
    "gates": (make_pod().gated("kueue", "other"), "SchedulingGated", False),
    "no node": (make_pod().unschedulable(), "Unschedulable", False),
    "gated in the condition only": (
        make_pod().condition("PodScheduled", "SchedulingGated", status="False"),
        None,
        False,
    ),
    "no claim": (make_pod().unschedulable('persistentvolumeclaim "a" not found'), "ConfigError", False),
    "creating": (PLACED.waiting("ContainerCreating"), None, False),
    "bad pull": (PLACED.waiting("ErrImagePull", "401"), "ImagePullFailed", False),
    "wrong image name": (PLACED.waiting("InvalidImageName"), "ImagePullFailed", True),
    "no Secret": (PLACED.waiting("CreateContainerConfigError", 'secret "s" not found'), "ConfigError", False),
    "the sidecar crashes": (
        PLACED.with_result().waiting("CrashLoopBackOff", name="podtask-result"),
        "XComSidecarFailed",
        False,
    ),
    "another sidecar crashes": (
        PLACED.with_init("mesh", "Always").waiting("CrashLoopBackOff", name="mesh"),
        "InitContainerFailed",
        False,
    ),
    "the fatal one is reported first": (
        PLACED.with_container("b").waiting("CreateContainerError").waiting("InvalidImageName", name="b"),
        "ImagePullFailed",
        True,
    ),
}


@pytest.mark.parametrize(("made", "reason", "fatal"), CASES.values(), ids=CASES)
def test_diagnose(made: MadePod, reason: str | None, fatal: bool) -> None:
    got = diagnose(made.build())
    assert (got.reason, got.is_fatal) == (reason, fatal) if got else reason is None


def test_words() -> None:
    got = diagnose(PLACED.waiting("ErrImagePull", "401").build())
    assert got is not None
    assert got.message == "container base: ErrImagePull: 401"
    got = diagnose(PLACED.with_result().waiting("ImagePullBackOff", name="podtask-result").build())
    assert got is not None
    assert (got.message, got.is_backoff_repeat) == ("the result sidecar: ImagePullBackOff", True)


PROGRESS: dict[str, tuple[MadePod, str]] = {
    "no node yet": (make_pod(), "the Pod waits for the scheduler"),
    "on its node": (PLACED, "node node-1 is starting the Pod"),
    "the init container that runs": (
        PLACED.with_init("mesh", "Always").with_init("fetch").running(name="mesh").running(name="fetch"),
        "init container fetch is running",
    ),
    "an init container is over": (
        PLACED.with_init("fetch").running(name="fetch").exit(0, name="fetch"),
        "node node-1 is starting the Pod",
    ),
}


@pytest.mark.parametrize(("made", "words"), PROGRESS.values(), ids=PROGRESS)
def test_progress(made: MadePod, words: str) -> None:
    assert progress(made.build()) == words


def test_a_bad_pull_is_seen_behind_another_problem() -> None:
    made = PLACED.with_container("b").waiting("CreateContainerError").waiting("ErrImagePull", name="b")
    assert has_pull_error(made.build())
    assert not has_pull_error(PLACED.running().build())


NO_MAP = PodEvent(
    reason="FailedMount", message='MountVolume.SetUp failed: configmap "m" not found', last_timestamp=at(9)
)
SUMMARY = PodEvent(reason="FailedMount", message="Unable to attach or mount volumes: [m]", last_timestamp=at(30))
NO_DISK = PodEvent(reason="FailedAttachVolume", message="disk is in use by node-2", last_timestamp=at(8))
PULLING = PodEvent(reason="Pulling", message="Pulling image", last_timestamp=at(40))
NO_SANDBOX = PodEvent(
    reason="FailedCreatePodSandBox",
    message="Failed to create pod sandbox: plugin type=aws-cni failed (add): failed to assign an IP address",
    last_timestamp=at(20),
)
NO_NETWORK = PodEvent(reason="NetworkNotReady", message="network is not ready", last_timestamp=at(5))
NO_DEVICE = PodEvent(reason="FailedPrepareDynamicResources", message="Failed to prepare dynamic resources: no GPU")
EVENTS: dict[str, tuple[MadePod, tuple[PodEvent, ...], str | None]] = {
    "a volume that cannot be mounted": (PLACED, (PULLING, NO_MAP, SUMMARY), NO_MAP.message),
    "one that cannot be attached": (PLACED, (NO_DISK,), NO_DISK.message),
    "the latest of both": (PLACED, (NO_DISK, NO_MAP), NO_MAP.message),
    "only the summary": (PLACED, (SUMMARY,), SUMMARY.message),
    "an Event without a time": (PLACED, (PodEvent(reason="FailedMount", message="no"),), "no"),
    "no sandbox": (PLACED, (NO_SANDBOX,), NO_SANDBOX.message),
    "no network": (PLACED, (NO_NETWORK,), NO_NETWORK.message),
    "no device": (PLACED, (NO_DEVICE,), NO_DEVICE.message),
    "volumes, then the sandbox": (PLACED, (NO_SANDBOX, NO_MAP), NO_SANDBOX.message),
    "nothing of volumes": (PLACED, (PULLING,), None),
    "mounted by now": (PLACED.condition("PodReadyToStartContainers"), (NO_MAP,), None),
    "not yet ready": (PLACED.condition("PodReadyToStartContainers", status="False"), (NO_MAP,), NO_MAP.message),
    "it runs by now": (PLACED.running(), (NO_MAP,), None),
    "it is over by now": (PLACED.phase("Failed"), (NO_MAP,), None),
    "without a node": (make_pod(), (NO_MAP,), None),
    "its status says more": (PLACED.waiting("ErrImagePull", "401"), (NO_MAP,), "401"),
}


@pytest.mark.parametrize(("made", "events", "words"), EVENTS.values(), ids=EVENTS)
def test_what_the_node_lacks_is_told_by_events(made: MadePod, events: tuple[PodEvent, ...], words: str | None) -> None:
    got = diagnose(made.build(), PodEvents(pod_uid="pod-1", again_at=at(110), events=events))
    assert (got is None) == (words is None)
    assert got is None or got.message.endswith(str(words))


def test_events_of_another_pod_say_nothing() -> None:
    assert diagnose(PLACED.build(), PodEvents(pod_uid="pod-2", again_at=at(110), events=(NO_MAP,))) is None
