"""Whole plans: the actions, their order, and the time of the next decision."""

from typing import Any

import msgspec
import pytest

from podtask.api import names
from podtask.core import plan, times
from podtask.core.decide import decide, decide_orphans
from podtask.core.pod import ManagedFieldsEntry
from podtask.core.settings import Settings
from podtask.core.snapshot import CreateError, PodEvent, PodEvents, Relabelled, TaskSnapshot
from podtask.core.wire import OwnerReference
from podtask.kube.merge_patch import json_merge_patch
from tests.builders import (
    KUBELETS,
    MadePod,
    MadeTask,
    at,
    condition,
    make_attempt,
    make_live_attempt,
    make_pod,
    make_task,
    pod_name,
)

SETTINGS = Settings()
POD, UID = pod_name(1), "pod-1"
CREATE = plan.CreatePod(attempt=1, name=POD)
RELEASE = plan.RemoveFinalizer(name=POD, uid=UID)


def delete(reason: str = "", grace: int | None = None) -> plan.DeletePod:
    return plan.DeletePod(name=POD, uid=UID, reason=reason, grace_seconds=grace)


def stop(reason: str) -> plan.StopPod:
    return plan.StopPod(name=POD, uid=UID, reason=reason)


def refused(message: str = "exceeded quota: q", code: int = 403, seconds: float = 6, count: int = 1) -> CreateError:
    return CreateError(attempt=1, code=code, reason="", message=message, at=at(seconds), count=count)


def relabelled(count: int, uid: str = "pod-1", seconds: float = 5) -> Relabelled:
    return Relabelled(pod_uid=uid, at=at(seconds), count=count)


def brief(action: plan.Action) -> object:
    """A status write as (phase, reason); any other action as itself."""
    return (str(action.status.phase), str(action.status.reason)) if isinstance(action, plan.WriteStatus) else action


def done(phase: str = "Succeeded", **fields: Any) -> MadeTask:
    return make_task(**fields).status(
        phase=phase, reason="Completed", attempt_count=1, completion_time=at(12), observed_generation=1,
        attempts=(make_attempt(outcome="Succeeded" if phase == "Succeeded" else "Failed"),),
    )  # fmt: skip


def retrying(**fields: Any) -> MadeTask:
    return make_task(backoff_limit=2, **fields).status(
        phase="Pending", reason="Backoff", attempt_count=1, failure_count=1, next_attempt_time=at(30),
        attempts=(make_attempt(),), observed_generation=1,
    )  # fmt: skip


def running(**fields: Any) -> MadeTask:
    return make_task(**fields).status(
        phase="Running", reason="Running", observed_generation=1, attempts=(make_live_attempt(),)
    )


def fixed() -> MadeTask:
    """A second attempt is due, whose Pod has the same fixed name as the first one's."""
    template = {"metadata": {"name": "fixed"}}
    return retrying(template=template).attempts(make_attempt(pod_name="fixed"))


def gated() -> MadeTask:
    entry = make_live_attempt(start_time=None)
    return make_task().status(phase="Pending", reason="SchedulingGated", attempts=(entry,))


RESTORE = plan.RestoreLabels(attempt=1, name=POD, uid=UID)
RESTORE_FIXED = plan.RestoreLabels(attempt=1, name="fixed", uid=UID)
UNLABELLED = make_pod().running().metadata(labels={}).build()
ENDED = make_pod().running().exit(0)
FINISHED = ENDED.phase("Succeeded").released()
FAILED = make_pod().running().exit(1).phase("Failed").released()
LIVE = make_pod().running()
RETRY_2 = plan.CreatePod(attempt=2, name=pod_name(2))
BAD_PULL = make_pod().scheduled().waiting("ErrImagePull", "401")
REPORTED_PULL = {"phase": "Pending", "reason": "ImagePullFailed", "message": "container base: ErrImagePull: 401"}

OTHER_UID = "99999999-2222-3333-4444-555555555555"
OTHER = make_task().metadata(uid=OTHER_UID, name="other")
OVER = OTHER.status(phase="Succeeded", attempt_count=1, attempts=(make_attempt(),))
KEEPING = make_task(pod_retention="Keep").metadata(uid=OTHER_UID).status(phase="Succeeded", attempt_count=1)
STRANGER = make_pod().metadata(labels={}, owner_references=()).build()
OTHERS = make_pod().running().metadata(
    labels={names.LABEL_TASK_UID: OTHER_UID},
    owner_references=(OwnerReference(kind=names.KIND, uid=OTHER_UID, controller=True),),
).build()  # fmt: skip
OTHERS_ENDED = msgspec.structs.replace(OTHERS, status=make_pod().running().exit(0).phase("Succeeded").build().status)
TAKEN = CreateError(
    attempt=1, code=409, reason="AlreadyExists", message=f"Pod {POD} of PodTask other still has the name", at=at(6)
)
READY = make_pod().scheduled().condition("PodReadyToStartContainers").waiting("ContainerCreating")
NO_MAP = PodEvents(
    pod_uid=UID,
    again_at=at(80),
    events=(PodEvent(reason="FailedMount", message='configmap "m" not found', last_timestamp=at(19)),),
)

# sentence: (facts, now, want actions, want wake)
PLANS: dict[str, tuple[TaskSnapshot, float, list[object], float | None]] = {
    "another controller's task is not touched": (make_task(managed_by="kueue").observe(LIVE), 5, [], None),
    "a new task gets its Pod": (make_task().observe(), 1, [CREATE], None),
    "a Pod that starts needs nothing": (make_task().observe(make_pod()), 1, [], 20),
    "a Pod that starts slowly says how far it is": (
        make_task().observe(make_pod()),
        20,
        [("Pending", "Created")],
        None,
    ),
    "a deleted task releases its Pods": (make_task().deleted().observe(LIVE), 6, [RELEASE], None),
    "a deleted task has nothing left to release": (make_task().deleted().observe(FINISHED), 6, [], None),
    # running
    "a running container is reported once": (make_task().observe(LIVE), 3, [("Running", "Running")], None),
    "one that has just started is reported later, because it may end before": (make_task().observe(LIVE), 2, [], 3),
    "a kubelet's clock that is ahead delays no report": (
        make_task().observe(LIVE.running(60)),
        3,
        [("Running", "Running")],
        None,
    ),
    "nor does a kubelet that reports no start": (
        make_task().observe(LIVE.running(None)),
        3,
        [("Running", "Running")],
        None,
    ),
    "and not again": (running().observe(LIVE), 4, [], None),
    "a start without a time is reported once": (
        running().attempts(make_live_attempt(start_time=None)).observe(LIVE.running(0)),
        4,
        [],
        None,
    ),
    "an edit is observed": (running().metadata(generation=2).observe(LIVE), 4, [("Running", "Running")], None),
    "the next deadline is the wake-up": (
        running(deadlines={"runSeconds": 60, "totalSeconds": 50}).observe(LIVE),
        4,
        [],
        50,
    ),
    "cancelTime is a wake-up": (running(cancel_time="2026-01-01T00:00:40Z").observe(LIVE), 4, [], 40),
    # the end
    "success is recorded, then the Pod released": (
        running().observe(ENDED),
        12,
        [("Succeeded", "Completed"), RELEASE],
        None,
    ),
    "others are stopped after success": (
        running().observe(ENDED.with_container("side").running(name="side")),
        12,
        [("Succeeded", "Completed"), stop("MainContainerEnded"), RELEASE],
        None,
    ),
    "others that are stopping are left alone": (
        running().observe(ENDED.with_container("side").running(name="side").stopped("MainContainerEnded")),
        12,
        [("Succeeded", "Completed"), RELEASE],
        None,
    ),
    "without a finalizer nothing is released": (running().observe(FINISHED), 12, [("Succeeded", "Completed")], None),
    "a failure without a budget is the end": (running().observe(FAILED), 12, [("Failed", "NonZeroExit")], None),
    "a failure with a budget backs off": (running(backoff_limit=1).observe(FAILED), 12, [("Pending", "Backoff")], None),
    "the result is awaited": (running(xcom={}).observe(ENDED.with_result()), 12, [], 15),
    "a late result is reported": (
        running(xcom={}).observe(ENDED.with_result()),
        16,
        [("Running", "CollectingResult")],
        100,
    ),
    "others are stopped so that the sidecar can deliver": (
        running(xcom={}).observe(ENDED.with_result().with_container("side").running(name="side")),
        12,
        [stop("MainContainerEnded")],
        None,
    ),
    "and keep the stop reason by which the attempt was classified": (
        running(suspend=True, xcom={"onFailure": "Keep"}).observe(
            LIVE.noted("Suspended").exit(42).with_result().with_container("side").running(name="side")
        ),
        12,
        [stop("Suspended")],
        None,
    ),
    "the sidecar's time begins when the others have ended": (
        running(xcom={}).observe(ENDED.with_result().with_container("side").exit(0, 500, name="side")),
        520,
        [("Running", "CollectingResult")],
        590,
    ),
    "on a Pod that is being deleted the wait for the others ends": (
        running(xcom={}).observe(ENDED.with_result().with_container("side").running(name="side").deleted(12)),
        20,
        [("Running", "CollectingResult")],
        102,
    ),
    # between attempts
    "the next attempt waits": (retrying().observe(), 20, [], 30),
    "the next attempt begins": (retrying().observe(), 30, [RETRY_2], None),
    "and that is reported after the backoff": (
        retrying().observe(make_pod().running().stopped("RunDeadlineExceeded").released()),
        20,
        [],
        30,
    ),
    "and reported once": (
        retrying()
        .status(reason="PodTerminating")
        .observe(make_pod().running().stopped("RunDeadlineExceeded").released()),
        40,
        [],
        90,
    ),
    "never beside the old Pod": (
        retrying().observe(make_pod().running().stopped("RunDeadlineExceeded").released()),
        40,
        [("Pending", "PodTerminating")],
        90,
    ),
    "an old Pod that does not stop is deleted": (
        retrying()
        .status(reason="PodTerminating")
        .observe(make_pod().running().stopped("RunDeadlineExceeded").released()),
        90,
        [delete("RunDeadlineExceeded")],
        None,
    ),
    "an old Pod that is being deleted is not deleted again": (
        done().observe(make_pod().running().stopped("RunDeadlineExceeded").deleted(50).released()),
        90,
        [],
        None,
    ),
    "a finished Pod of the last attempt is no obstacle": (retrying().observe(FAILED), 30, [RETRY_2], 70),
    "the wait for the old Pod is reported": (
        retrying().status(reason="Suspended").observe(make_pod().running().deleted(11).released()),
        20,
        [("Pending", "PodTerminating")],
        None,
    ),
    "another spec is refused": (retrying().status(spec_hash="other").observe(), 30, [("Failed", "SpecChanged")], None),
    "with a fixed name the old Pod is deleted at once": (
        retrying(template={"metadata": {"name": "fixed"}}).observe(FAILED.metadata(name="fixed")),
        30,
        [plan.DeletePod(name="fixed", uid=UID)],
        None,
    ),
    "with a fixed name the attempt waits for the name": (
        retrying(template={"metadata": {"name": "fixed"}}).observe(FAILED.metadata(name="fixed").deleted(20, 0)),
        30,
        [],
        None,
    ),
    # suspend and cancel
    "suspended before the first Pod": (make_task(suspend=True).observe(), 1, [("Suspended", "Suspended")], None),
    "suspended, and reported already": (make_task(suspend=True).suspended().observe(), 9, [], None),
    "suspended: cancelTime still counts": (
        make_task(suspend=True, cancel_time="2026-01-01T00:00:40Z").suspended().observe(),
        9,
        [],
        40,
    ),
    "suspended: the total deadline does not": (
        make_task(suspend=True, deadlines={"totalSeconds": 5}).suspended().observe(),
        900,
        [],
        None,
    ),
    "resumed": (make_task().suspended().observe(), 9, [("Pending", "Created")], None),
    "suspending deletes": (running(suspend=True).observe(LIVE), 5, [delete("Suspended")], None),
    "the removed Pod is recorded": (
        running(suspend=True).observe(LIVE.noted("Suspended").deleted(5).exit(143, 6).phase("Failed")),
        7,
        [("Pending", "Suspended"), RELEASE],
        None,
    ),
    "cancelled before the first Pod": (make_task(cancel=True).observe(), 1, [("Cancelled", "Cancelled")], None),
    "cancelled while suspended": (
        make_task(suspend=True, cancel=True).suspended().observe(),
        1,
        [("Cancelled", "Cancelled")],
        None,
    ),
    "cancelTime passed while waiting": (
        make_task(cancel_time="2026-01-01T00:00:01Z").observe(),
        5,
        [("Cancelled", "CancelTimeReached")],
        None,
    ),
    "cancelled while it runs": (running(cancel=True).observe(LIVE), 5, [stop("Cancelled")], None),
    "cancelTime passed while it runs": (
        running(cancel_time="2026-01-01T00:00:01Z").observe(LIVE),
        5,
        [stop("CancelTimeReached")],
        None,
    ),
    "cancelled before it started": (make_task(cancel=True).observe(make_pod()), 5, [delete("Cancelled")], None),
    "a stop in progress is reported and not repeated": (
        running(cancel=True, deadlines={"runSeconds": 1}).observe(LIVE.stopped("Cancelled")),
        50,
        [("Running", "Stopping")],
        90,
    ),
    "and reported after it has lasted": (
        running(cancel=True).observe(LIVE.stopped("Cancelled"), diagnosed_at=at(48)),
        50,
        [],
        53,
    ),
    "a stop whose reason is no field of the spec is not reported": (
        running().observe(LIVE.stopped("MainContainerEnded")),
        50,
        [],
        90,
    ),
    "an ignored stop is reported, and the Pod deleted": (
        running(cancel=True).observe(LIVE.stopped("Cancelled", 5)),
        95,
        [("Running", "NodeUnreachable"), delete("Cancelled")],
        None,
    ),
    "a second before it has its time": (
        running(cancel=True).status(reason="Stopping").observe(LIVE.stopped("Cancelled", 5), diagnosed_at=at(90)),
        94,
        [],
        95,
    ),
    "reported and not deleted (a restart in between), it is deleted": (
        running(cancel=True).status(reason="NodeUnreachable").observe(LIVE.stopped("Cancelled", 5)),
        99,
        [delete("Cancelled")],
        None,
    ),
    "a longer grace is waited for": (
        running().observe(LIVE.spec(termination_grace_period_seconds=600).stopped("MainContainerEnded")),
        600,
        [],
        660,
    ),
    "one that an older controller has stopped gets the time of the stop now": (
        running(cancel=True).observe(LIVE.stopped("Cancelled", None)),
        500,
        [stop("Cancelled")],
        None,
    ),
    "a DELETE whose reason was written and that was not sent is sent": (
        running(suspend=True).observe(LIVE.noted("Suspended")),
        50,
        [delete("Suspended")],
        None,
    ),
    "cancelled in the backoff": (retrying(cancel=True).observe(FAILED), 20, [("Cancelled", "Cancelled")], 70),
    "a cancel during the collection of the result has no effect": (
        running(cancel=True, xcom={}).observe(ENDED.with_result()),
        12,
        [],
        15,
    ),
    "a stop whose reason was written is carried out even if the reason no longer holds": (
        running().observe(LIVE.noted("Suspended")),
        50,
        [delete("Suspended")],
        None,
    ),
    # deadlines
    "ran too long": (running(deadlines={"runSeconds": 5}).observe(LIVE), 7, [stop("RunDeadlineExceeded")], None),
    "took too long in all": (
        running(deadlines={"totalSeconds": 5}).observe(LIVE),
        7,
        [stop("TotalDeadlineExceeded")],
        None,
    ),
    "took too long between attempts": (
        retrying(deadlines={"totalSeconds": 15}).observe(),
        20,
        [("Failed", "TotalDeadlineExceeded")],
        None,
    ),
    "the total deadline wakes between attempts": (retrying(deadlines={"totalSeconds": 25}).observe(), 20, [], 25),
    "what held it up is reported before it is deleted": (
        make_task(deadlines={"startSeconds": 5}).observe(BAD_PULL),
        7,
        [("Pending", "ImagePullFailed"), delete("StartDeadlineExceeded")],
        None,
    ),
    "an image name that cannot work": (
        make_task().observe(make_pod().scheduled().waiting("InvalidImageName")),
        1,
        [("Pending", "ImagePullFailed"), delete("ImagePullFailed")],
        None,
    ),
    # diagnosis
    "a problem is reported after it has lasted": (make_task().observe(BAD_PULL), 3, [], 5),
    "and then it is": (make_task().observe(BAD_PULL), 6, [("Pending", "ImagePullFailed")], None),
    "not more often than every few seconds": (make_task().observe(BAD_PULL, diagnosed_at=at(8)), 9, [], 13),
    "a backoff repeat is not reported": (
        make_task().status(**REPORTED_PULL).observe(make_pod().scheduled().waiting("ImagePullBackOff", "later")),
        90,
        [],
        None,
    ),
    "a long message does not oscillate": (
        make_task()
        .status(phase="Pending", reason="Unschedulable", message="x" * 4096)
        .observe(make_pod().unschedulable("x" * 5000)),
        90,
        [],
        None,
    ),
    "the end of a problem is reported": (
        make_task().status(**REPORTED_PULL).observe(READY),
        90,
        [("Pending", "Created")],
        None,
    ),
    "Events of a Pod that was just scheduled are not read": (
        make_task().observe(make_pod().scheduled(3).waiting("ContainerCreating")),
        5,
        [],
        13,
    ),
    "nor those of one that its kubelet has not reported on": (
        make_task().observe(make_pod().scheduled(3)),
        13,
        [],
        20,
    ),
    "those of one that does not start are read": (
        make_task().observe(make_pod().scheduled(3).waiting("ContainerCreating")),
        13,
        [plan.ReadPodEvents(name=POD, uid=UID)],
        None,
    ),
    "a slow start names the node": (make_task().observe(READY), 30, [("Pending", "Created")], None),
    "one that only pulls its image is not": (make_task().observe(READY), 19, [], 20),
    "the message of its Events is reported, and they are read again later": (
        make_task().observe(make_pod().scheduled(3).waiting("ContainerCreating"), pod_events=NO_MAP),
        20,
        [("Pending", "ConfigError")],
        80,
    ),
    "Events of an earlier Pod are ignored": (
        make_task().observe(
            make_pod().scheduled(3).waiting("ContainerCreating"),
            pod_events=msgspec.structs.replace(NO_MAP, pod_uid="other"),
        ),
        12,
        [],
        13,
    ),
    "Events are read again after a minute": (
        make_task().observe(make_pod().scheduled(3).waiting("ContainerCreating"), pod_events=NO_MAP),
        80,
        [plan.ReadPodEvents(name=POD, uid=UID)],
        None,
    ),
    "an old backoff is taken back once the Pod waits": (
        retrying().observe(make_pod(2)),
        90,
        [("Pending", "Created")],
        None,
    ),
    "removed gates are recorded": (gated().observe(make_pod()), 90, [("Pending", "Created")], None),
    "gates that still hold are not": (
        gated().status(message="the Pod has the scheduling gates g").observe(make_pod().gated("g")),
        90,
        [],
        None,
    ),
    # refusals
    "a refusal is reported and waited out": (
        make_task().observe(create_error=refused()),
        7,
        [("Pending", "QuotaExceeded")],
        8,
    ),
    "reported already, it only waits": (
        make_task()
        .status(phase="Pending", reason="QuotaExceeded", message="exceeded quota: q")
        .observe(create_error=refused()),
        7,
        [],
        8,
    ),
    "and then the create is repeated": (make_task().observe(create_error=refused()), 8, [CREATE], None),
    "a wait is never longer than a minute": (
        make_task().observe(create_error=refused(count=10**9)),
        66,
        [CREATE],
        None,
    ),
    "until the schedule deadline": (
        make_task(deadlines={"scheduleSeconds": 7}).observe(create_error=refused()),
        7,
        [("Failed", "ScheduleDeadlineExceeded")],
        None,
    ),
    "which wakes": (
        make_task(deadlines={"scheduleSeconds": 8}).observe(create_error=refused(count=9), diagnosed_at=at(6)),
        7,
        [],
        8,
    ),
    "a permanent create error fails the task": (
        make_task().observe(create_error=refused("no", 422)),
        7,
        [("Failed", "InvalidPodTemplate")],
        None,
    ),
    "in a namespace that is being deleted nothing is created": (
        make_task().observe(create_error=refused('namespaces "x" not found', 404)),
        7,
        [],
        None,
    ),
    "a create error of another attempt is ignored": (retrying().observe(create_error=refused()), 30, [RETRY_2], None),
    "cancelled while creates fail": (
        make_task(cancel=True).observe(create_error=refused()),
        7,
        [("Cancelled", "Cancelled")],
        None,
    ),
    "suspended while creates fail": (
        make_task(suspend=True).observe(create_error=refused()),
        7,
        [("Suspended", "Suspended")],
        None,
    ),
    # Pods that are not as they should be
    "a foreign Pod has the name": (
        make_task().observe(conflicting_pod=STRANGER, create_error=TAKEN),
        7,
        [("Failed", "NameConflict")],
        None,
    ),
    "another task's Pod has the name and runs": (
        make_task().observe(conflicting_pod=OTHERS, conflicting_task=OTHER.build(), create_error=TAKEN),
        7,
        [("Pending", "NameTaken")],
        8,
    ),
    "its task has finished, and it will be deleted": (
        make_task().observe(conflicting_pod=OTHERS_ENDED, conflicting_task=OVER.build(), create_error=TAKEN),
        7,
        [("Pending", "NameTaken")],
        8,
    ),
    "its task is gone, and it will be deleted": (
        make_task().observe(conflicting_pod=OTHERS_ENDED, create_error=TAKEN),
        7,
        [("Pending", "NameTaken")],
        8,
    ),
    "the create is repeated for the name": (
        make_task().observe(conflicting_pod=OTHERS_ENDED, conflicting_task=OVER.build(), create_error=TAKEN),
        8,
        [CREATE],
        None,
    ),
    "its retention keeps it": (
        make_task().observe(conflicting_pod=OTHERS_ENDED, conflicting_task=KEEPING.build(), create_error=TAKEN),
        7,
        [("Failed", "NameConflict")],
        None,
    ),
    "the name does not come free in time": (
        make_task(deadlines={"scheduleSeconds": 5}).observe(
            conflicting_pod=OTHERS, conflicting_task=OTHER.build(), create_error=TAKEN
        ),
        7,
        [("Failed", "ScheduleDeadlineExceeded")],
        None,
    ),
    "a Pod with our labels and without our owner has the name": (
        make_task().observe(make_pod().metadata(owner_references=())),
        1,
        [("Failed", "NameConflict")],
        None,
    ),
    "a Pod without its number gets it back": (
        make_task().observe(make_pod().metadata(labels={})),
        1,
        [RESTORE],
        None,
    ),
    "a recorded Pod lost its number": (running().observe(LIVE.metadata(labels={})), 5, [RESTORE], None),
    "a Pod of ours that is not watched gets its labels back": (
        make_task(cancel=True, deadlines={"totalSeconds": 2}).observe(unlabelled_pod=UNLABELLED),
        5,
        [RESTORE],
        None,
    ),
    "a recorded one as well": (running().observe(unlabelled_pod=UNLABELLED), 5, [RESTORE], None),
    "what is watched is newer than what was read": (
        running().observe(LIVE, unlabelled_pod=UNLABELLED),
        5,
        [],
        None,
    ),
    "in another namespace it is none of ours": (
        make_task().observe(unlabelled_pod=make_pod().metadata(labels={}, namespace="other").build()),
        5,
        [CREATE],
        None,
    ),
    "labels taken off again are put back later": (
        running().observe(unlabelled_pod=UNLABELLED, relabelled=relabelled(2)),
        8,
        [],
        9,
    ),
    "no later than a deadline that finishes the task": (
        running(cancel_time="2026-01-01T00:00:08Z", deadlines={"totalSeconds": 7}).observe(
            unlabelled_pod=UNLABELLED, relabelled=relabelled(2)
        ),
        6,
        [],
        7,
    ),
    "and then they are": (running().observe(unlabelled_pod=UNLABELLED, relabelled=relabelled(2)), 9, [RESTORE], None),
    "of another Pod they were not taken yet": (
        running().observe(unlabelled_pod=UNLABELLED, relabelled=relabelled(2, "pod-0")),
        8,
        [RESTORE],
        None,
    ),
    "labels that are removed again and again fail the task": (
        running().observe(unlabelled_pod=UNLABELLED, relabelled=relabelled(6)),
        8,
        [delete(), ("Failed", "NameConflict"), RELEASE],
        None,
    ),
    "before the first status too": (
        make_task().observe(unlabelled_pod=UNLABELLED, relabelled=relabelled(6)),
        8,
        [delete(), ("Failed", "NameConflict"), RELEASE],
        None,
    ),
    "a cancellation does not wait for the labels": (
        running(cancel=True).observe(unlabelled_pod=UNLABELLED, relabelled=relabelled(1)),
        6,
        [delete(), ("Cancelled", "Cancelled"), RELEASE],
        None,
    ),
    "a Pod that lost them again is verified": (
        make_task(cancel=True).observe(relabelled=relabelled(1)),
        6,
        [plan.VerifyDeleted(name=POD, uid=UID)],
        None,
    ),
    "which is verified once": (
        make_task(cancel=True).observe(relabelled=relabelled(1), gone_pods=frozenset({UID})),
        6,
        [("Cancelled", "Cancelled")],
        None,
    ),
    "or is none of the task's any more": (
        make_task(cancel=True).observe(relabelled=relabelled(1), unlabelled_pod=STRANGER),
        6,
        [("Cancelled", "Cancelled")],
        None,
    ),
    "nor does cancelTime": (
        make_task(cancel_time="2026-01-01T00:00:04Z").observe(unlabelled_pod=UNLABELLED, relabelled=relabelled(1)),
        6,
        [delete(), ("Cancelled", "CancelTimeReached"), RELEASE],
        None,
    ),
    "nor the total time": (
        running(deadlines={"totalSeconds": 5}).observe(unlabelled_pod=UNLABELLED, relabelled=relabelled(1)),
        6,
        [delete(), ("Failed", "TotalDeadlineExceeded"), RELEASE],
        None,
    ),
    "a recorded Pod lost its owner reference": (
        running().observe(LIVE.metadata(owner_references=())),
        5,
        [("Failed", "NameConflict"), RELEASE],
        None,
    ),
    "with its labels, and its finalizer": (
        running().observe(unlabelled_pod=make_pod().metadata(labels={}, owner_references=(), finalizers=()).build()),
        5,
        [("Failed", "NameConflict")],
        None,
    ),
    "lost by a task that was cancelled": (
        running(cancel=True).observe(LIVE.metadata(owner_references=())),
        5,
        [("Cancelled", "Cancelled"), RELEASE],
        None,
    ),
    "the Pod of an earlier attempt has the fixed name and no labels": (
        fixed().observe(unlabelled_pod=make_pod(name="fixed").metadata(labels={}).build()),
        40,
        [RESTORE_FIXED],
        None,
    ),
    "whose labels are restored with delays": (
        fixed().observe(
            unlabelled_pod=make_pod(name="fixed").metadata(labels={}).build(), relabelled=relabelled(9, seconds=39)
        ),
        40,
        [],
        99,
    ),
    "an unrecorded Pod of a fixed name is the due attempt's": (
        fixed().observe(make_pod(7, name="fixed")),
        40,
        [plan.RestoreLabels(attempt=2, name="fixed", uid="pod-7")],
        None,
    ),
    "or that of a late create, as its number shows": (
        fixed().observe(make_pod(name="fixed").metadata(uid="late")),
        40,
        [
            ("Pending", "PodTerminating"),
            plan.DeletePod(name="fixed", uid="late", reason="MainContainerEnded"),
            plan.RemoveFinalizer(name="fixed", uid="late"),
        ],
        None,
    ),
    "a recorded Pod is not in the cache": (running().observe(), 5, [plan.VerifyDeleted(name=POD, uid=UID)], None),
    "and a live read did not find it": (
        running().observe(gone_pods=frozenset({UID})),
        5,
        [("Pending", "Backoff")],
        None,
    ),
    "gone, and out of time": (
        running(deadlines={"totalSeconds": 5}).observe(gone_pods=frozenset({UID})),
        5,
        [("Failed", "TotalDeadlineExceeded")],
        None,
    ),
    "gone, and cancelled": (
        running(cancel=True).observe(gone_pods=frozenset({UID})),
        5,
        [("Cancelled", "Cancelled")],
        None,
    ),
    "a spec that cannot be decoded": (running().problem("what").observe(LIVE), 5, [("Failed", "InvalidSpec")], None),
    # nodes that do not answer
    "a Pod that stops has its grace": (running().observe(LIVE.deleted(5)), 6, [], 65),
    "overdue, its node is named": (running().observe(LIVE.deleted(5)), 66, [("Running", "NodeUnreachable")], None),
    "deleted by force only if the spec allows it": (
        running(force_delete_pod_after_seconds=100).observe(LIVE.deleted(5)),
        135,
        [delete("NodeLost", 0)],
        None,
    ),
    "which wakes, too": (running(force_delete_pod_after_seconds=10).observe(LIVE.deleted(5)), 6, [], 45),
    "an old Pod is deleted by force as well": (
        retrying(force_delete_pod_after_seconds=10).observe(LIVE.deleted(5).released()),
        50,
        [delete("NodeLost", 0)],
        None,
    ),
    # after the end
    "a finished Pod has its hold": (done().observe(FINISHED), 20, [], 72),
    "and is deleted after it": (done().observe(FINISHED), 72, [delete()], None),
    "a Pod that was not released is": (
        done().observe(FINISHED.metadata(finalizers=(names.FINALIZER,))),
        20,
        [RELEASE],
        72,
    ),
    "a longer TTL keeps it": (done(pod_ttl_seconds_after_finished=900).observe(FINISHED), 100, [], 912),
    "until it is acknowledged": (
        done(pod_ttl_seconds_after_finished=900)
        .metadata(annotations={names.ANNOTATION_ACKNOWLEDGED: "1"})
        .observe(FINISHED),
        100,
        [delete()],
        None,
    ),
    "podRetention Keep keeps it": (done(pod_retention="Keep").observe(FINISHED), 100, [], None),
    "DeleteSucceeded deletes a success": (
        done(pod_retention="DeleteSucceeded").observe(FINISHED),
        100,
        [delete()],
        None,
    ),
    "and keeps a failure": (done("Failed", pod_retention="DeleteSucceeded").observe(FAILED), 100, [], None),
    "a Pod that is being deleted is not deleted again": (done().observe(FINISHED.deleted(20, 0)), 100, [], None),
    "a late create is stopped": (
        done().observe(make_pod(2)),
        100,
        [
            plan.DeletePod(name=pod_name(2), uid="pod-2", reason="MainContainerEnded"),
            plan.RemoveFinalizer(name=pod_name(2), uid="pod-2"),
        ],
        None,
    ),
    "containers that still run are stopped": (done().observe(LIVE.released()), 100, [stop("MainContainerEnded")], None),
    "containers that have ended are not": (done().observe(ENDED.released()), 100, [], None),
    "TTL": (done(ttl_seconds_after_finished=50).observe(), 20, [], 62),
    "TTL is over": (done(ttl_seconds_after_finished=50).observe(), 62, [plan.DeleteTask()], None),
    "TTL of success": (done(ttl_seconds_after_finished=5, ttl_seconds_after_succeeded=50).observe(), 20, [], 62),
    "TTL of failure, zero": (
        done("Failed", ttl_seconds_after_finished=50, ttl_seconds_after_failed=0).observe(),
        20,
        [plan.DeleteTask()],
        None,
    ),
    "an edit after the end is observed": (
        done().metadata(generation=2).observe(),
        20,
        [("Succeeded", "Completed")],
        None,
    ),
}


@pytest.mark.parametrize(("snapshot", "now", "want", "wake"), PLANS.values(), ids=PLANS)
def test_decide(snapshot: TaskSnapshot, now: float, want: list[object], wake: float | None) -> None:
    got = decide(snapshot, at(now), SETTINGS)
    assert [brief(action) for action in got.actions] == want
    assert got.wake_at == (at(wake) if wake is not None else None)


def status_of(snapshot: TaskSnapshot, now: float) -> Any:
    return next(s.status for s in decide(snapshot, at(now), SETTINGS).actions if isinstance(s, plan.WriteStatus))


def test_orphans_are_released() -> None:
    assert decide_orphans((make_pod().build(), make_pod(2).released().build())).actions == (RELEASE,)


def test_a_failure_is_an_event_and_success_is_none() -> None:
    assert decide(running().observe(ENDED), at(12), SETTINGS).events == ()
    (note,) = decide(running().observe(FAILED), at(12), SETTINGS).events
    assert (note.kind, note.reason) == ("Warning", "NonZeroExit")


def test_the_whole_status_of_a_success() -> None:
    got = status_of(running(xcom={"mode": "Direct"}).observe(direct("[1]")), 12)
    assert got.completion_time == at(12)
    assert got.start_time == at(0)
    assert got.xcom.value == "[1]"
    assert {c.type: c.observed_generation for c in got.conditions} == {"Finished": 1, "Succeeded": 1}


def direct(message: str, code: int = 0) -> MadePod:
    made = make_pod().spec(containers=()).with_container("base", termination_message_path="/airflow/xcom/return.json")
    return made.running().exit(code, message=message).phase("Succeeded" if code == 0 else "Failed")


def inline(text: str) -> str:
    import hashlib
    import json

    digest = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({"v": 1, "state": "inline", "size": len(text), "sha256": digest, "payload": text})


def delivered(message: str, code: int = 0, main: int = 0, finished: float = 11) -> MadePod:
    return ENDED.exit(main).with_result().exit(code, finished, name="podtask-result", message=message)


LOG = '{"v":1,"state":"log","size":9,"sha256":"ab","encoding":"gzip+base64","chunks":1}'
# sentence: (xcom, pod, facts, phase, reason, xcom state, xcom reason)
RESULTS: dict[str, tuple[dict[str, Any], MadePod, dict[str, Any], tuple[str, str, str, str]]] = {
    "delivered": ({}, delivered(inline("{}")), {}, ("Succeeded", "Completed", "Collected", "")),
    "missing": ({}, delivered('{"v":1,"state":"missing"}'), {}, ("Succeeded", "Completed", "Empty", "XComMissing")),
    "missing and required": (
        {"required": True},
        delivered('{"v":1,"state":"missing"}'),
        {},
        ("Failed", "XComMissing", "Empty", "XComMissing"),
    ),
    "the sidecar failed": ({}, delivered("", 74), {}, ("Failed", "XComSidecarFailed", "Failed", "XComSidecarFailed")),
    "not JSON": ({}, delivered(inline("{")), {}, ("Failed", "XComInvalid", "Failed", "XComInvalid")),
    "too late": ({}, ENDED.with_result(), {}, ("Failed", "XComSidecarFailed", "Failed", "XComSidecarFailed")),
    "lost with a node that does not answer": (
        {},
        ENDED.with_result().with_container("side").running(name="side").deleted(12),
        {},
        ("Failed", "XComLost", "Failed", "XComLost"),
    ),
    "lost": ({}, ENDED.with_result().phase("Failed"), {}, ("Failed", "XComLost", "Failed", "XComLost")),
    "lost with all that was known of the containers": (
        {},
        make_pod().scheduled().with_result().phase("Succeeded"),
        {},
        ("Failed", "XComLost", "Failed", "XComLost"),
    ),
    "direct, lost with all that was known of the containers": (
        {"mode": "Direct"},
        make_pod().scheduled().phase("Succeeded"),
        {},
        ("Failed", "XComLost", "Failed", "XComLost"),
    ),
    "lost, and onLost is Drop": (
        {"onLost": "Drop"},
        ENDED.with_result().phase("Failed"),
        {},
        ("Succeeded", "Completed", "Failed", "XComLost"),
    ),
    "the envelope of a sidecar that ended early does not count": (
        {},
        delivered('{"v":1,"state":"missing"}', finished=5).phase("Failed"),
        {},
        ("Failed", "XComLost", "Failed", "XComLost"),
    ),
    "a sidecar that was killed as the task ended, in a second of the node's that looks earlier": (
        {},
        delivered("", 137, finished=9).phase("Succeeded"),
        {},
        ("Failed", "XComSidecarFailed", "Failed", "XComSidecarFailed"),
    ),
    "a failed task's is dropped": (
        {},
        delivered(inline("{}"), main=1),
        {},
        ("Failed", "NonZeroExit", "Dropped", "XComDropped"),
    ),
    "or kept": ({"onFailure": "Keep"}, delivered(inline("{}"), main=1), {}, ("Failed", "NonZeroExit", "Collected", "")),
    "kept after a stop": (
        {"onFailure": "Keep"},
        delivered(inline("{}"), main=143).stopped("TotalDeadlineExceeded"),
        {},
        ("Failed", "TotalDeadlineExceeded", "Collected", ""),
    ),
    "direct": ({"mode": "Direct"}, direct("[1]"), {}, ("Succeeded", "Completed", "Collected", "")),
    "direct, perhaps truncated": (
        {"mode": "Direct"},
        direct("[" + "1" * 4095),
        {},
        ("Failed", "XComTooLarge", "Failed", "XComTooLarge"),
    ),
    "direct, in a Pod to which a mesh was added": (
        {"mode": "Direct", "maxBytes": 4000},
        direct("[" + "1" * 2998 + "]").with_container("istio-proxy").with_init("istio-init"),
        {},
        ("Succeeded", "Completed", "Collected", ""),
    ),
    "a sidecar's end without a time counts": (
        {},
        ENDED.with_result().exit(0, None, name="podtask-result", message=inline("{}")),
        {},
        ("Succeeded", "Completed", "Collected", ""),
    ),
    "direct, bytes that the kubelet replaced": (
        {"mode": "Direct"},
        direct('"\ufffd"'),
        {},
        ("Failed", "XComInvalid", "Failed", "XComInvalid"),
    ),
    "direct, and the Pod disappeared": (
        {"mode": "Direct", "onFailure": "Keep"},
        make_pod().running().deleted(5, 0),
        {},
        ("Pending", "Backoff", "", ""),
    ),
    "the log cannot be read": ({}, delivered(LOG), {"log_failures": 5}, ("Failed", "XComLost", "Failed", "XComLost")),
    "the log is forbidden": ({}, delivered(LOG), {"error": "forbidden"}, ("Failed", "XComLost", "Failed", "XComLost")),
    "the log is damaged": ({}, delivered(LOG), {"content": b"x"}, ("Failed", "XComLost", "Failed", "XComLost")),
    "the object would be too large": (
        {"mode": "Direct"},
        direct("1"),
        {"result_refused": True},
        ("Failed", "XComTooLarge", "Failed", "XComTooLarge"),
    ),
    "the log would be too large": (
        {"maxBytes": 5},
        delivered(LOG),
        {},
        ("Failed", "XComTooLarge", "Failed", "XComTooLarge"),
    ),
}


@pytest.mark.parametrize(("xcom", "made", "facts", "want"), RESULTS.values(), ids=RESULTS)
def test_results(xcom: dict[str, Any], made: MadePod, facts: dict[str, Any], want: tuple[str, str, str, str]) -> None:
    from podtask.core.snapshot import ResultLog

    if "content" in facts or "error" in facts:
        facts = {"result_log": ResultLog(pod_uid=UID, **facts)}
    got = status_of(running(xcom=xcom).observe(made, live_version="0", **facts), 500)
    xcom_state = (str(got.xcom.state), str(got.xcom.reason)) if got.xcom else ("", "")
    assert (str(got.phase), str(got.reason), *xcom_state) == want


def test_a_result_is_given_up_only_by_what_the_server_has() -> None:
    """The cache may be minutes behind, and the sidecar may have delivered the result since."""
    silent = ENDED.with_result().running(name="podtask-result")
    snapshot = running(xcom={}).observe(silent)
    read = decide(snapshot, at(500), SETTINGS)
    assert read.actions == (plan.ReadPod(name=POD, uid=UID),)
    older = msgspec.structs.replace(snapshot, live_version="99")
    assert decide(older, at(500), SETTINGS).actions == read.actions, "what was read is newer than the cache"
    seen = msgspec.structs.replace(snapshot, live_version="0")
    assert status_of(seen, 500).xcom.reason == "XComSidecarFailed"


def test_a_task_does_not_expire_while_a_create_is_unknown() -> None:
    over = done(ttl_seconds_after_finished=0).observe(FINISHED, unknown_create_deadline=at(40))
    assert decide(over, at(20), SETTINGS) == plan.Plan(wake_at=at(40))
    assert decide(over, at(40), SETTINGS).actions == (plan.DeleteTask(),)


def test_the_pods_of_a_deleted_task_stay_while_a_create_is_unknown() -> None:
    """While they exist, a late create conflicts with their name and makes no second Pod."""
    going = make_task().deleted().observe(LIVE, unknown_create_deadline=at(60))
    assert decide(going, at(6), SETTINGS) == plan.Plan(wake_at=at(60))
    assert decide(going, at(60), SETTINGS).actions == (RELEASE,)


def test_the_log_is_read_once() -> None:
    got = decide(running(xcom={}).observe(delivered(LOG)), at(12), SETTINGS)
    assert got.actions == (plan.ReadResultLog(name=POD, uid=UID),)


def test_a_lost_result_may_be_run_again_within_the_disruption_budget() -> None:
    lost = ENDED.with_result().phase("Failed")
    got = status_of(running(xcom={"onLost": "Retry"}).observe(lost), 20)
    assert (got.phase, got.disruption_count, got.attempts[0].outcome) == ("Pending", 1, "Disrupted")
    got = status_of(running(xcom={"onLost": "Retry"}, disruption_limit=0).observe(lost), 20)
    assert (got.phase, got.reason) == ("Failed", "XComLost")


def test_a_kubelet_behind_leaves_the_sidecar_its_time() -> None:
    made = make_pod().scheduled(1000, taken=-2600).running(-2590).exit(0, -2500).with_result()
    made = made.metadata(creation_timestamp=at(0))
    got = decide(running(xcom={}).observe(made), at(1110), SETTINGS)
    assert ([brief(action) for action in got.actions], got.wake_at) == ([("Running", "CollectingResult")], at(1190))


def test_a_kubelet_behind_that_took_its_pod_late_leaves_the_sidecar_its_time_too() -> None:
    """The Pod does not show the skew of its clock then. The API server's time of the kubelet's last write counts."""
    made = make_pod().scheduled(0, taken=10).running(15).exit(0, 20).with_result().running(name="podtask-result")
    told = made.metadata(managed_fields=(ManagedFieldsEntry("status", at(820), KUBELETS),))
    got = decide(running(xcom={}).observe(told), at(821), SETTINGS)
    assert (plan.ReadPod(name=POD, uid=UID) not in got.actions, got.wake_at) == (True, at(910))
    assert decide(running(xcom={}).observe(told), at(911), SETTINGS).actions[-1] == plan.ReadPod(name=POD, uid=UID)
    got = decide(running(xcom={}).observe(made), at(821), SETTINGS)
    assert got.actions[-1] == plan.ReadPod(name=POD, uid=UID), "without the note it would be over"


def test_a_kubelet_ahead_does_not_lengthen_a_run() -> None:
    ahead = (
        make_pod()
        .scheduled(1, taken=602)
        .running(605)
        .metadata(managed_fields=(ManagedFieldsEntry("status", at(6), KUBELETS),))
    )
    made = running(deadlines={"runSeconds": 10})
    assert decide(made.observe(ahead), at(16), SETTINGS).actions[0] == plan.StopPod(
        name=POD, uid=UID, reason="RunDeadlineExceeded"
    )


OWN_LIMIT = make_pod().running().exit(137).phase("Failed", "Evicted", 'Usage of EmptyDir volume "d" exceeds the limit')
LOST_AT_DEADLINE = (
    make_pod()
    .scheduled()
    .exit(137, None, reason="ContainerStatusUnknown", started_at=None)
    .phase("Failed", "DeadlineExceeded")
)
FAIL_RULE = {"rules": [{"onReasons": {"values": ["NonZeroExit"]}, "action": "Fail"}]}
ENDS: dict[str, tuple[dict[str, Any], dict[str, Any], MadePod, tuple[str, str, int, int]]] = {
    "the budget is used up": (
        {"backoff_limit": 1}, {"failure_count": 1, "attempt_count": 1}, make_pod(2).running().exit(1),
        ("Failed", "BackoffLimitExceeded", 2, 0),
    ),
    "the disruption budget is used up": (
        {"disruption_limit": 1}, {"disruption_count": 1, "attempt_count": 1},
        make_pod(2).running().exit(1).phase("Failed", "Evicted"), ("Failed", "DisruptionLimitExceeded", 0, 2),
    ),
    "disrupted before it started costs nothing": (
        {"disruption_limit": 0}, {}, make_pod().scheduled().phase("Failed", "Evicted"), ("Pending", "Backoff", 0, 0)
    ),
    "an eviction for a limit of its own is a failure": ({}, {}, OWN_LIMIT, ("Failed", "Evicted", 1, 0)),
    "which is tried again within its budget": ({"backoff_limit": 1}, {}, OWN_LIMIT, ("Pending", "Backoff", 1, 0)),
    "exit 0 of an evicted Pod is tried again": (
        {}, {}, make_pod().running().exit(0).phase("Failed", "Evicted"), ("Pending", "Backoff", 0, 1)
    ),
    "a Pod that succeeded is not run twice, whatever is known of its containers": (
        {}, {}, make_pod().scheduled().phase("Succeeded"), ("Succeeded", "Completed", 0, 0)
    ),
    "over the template's deadline, and it was seen to run": (
        {}, {"attempts": (make_live_attempt(),)}, LOST_AT_DEADLINE, ("Failed", "RunDeadlineExceeded", 1, 0)
    ),
    "over the template's deadline, and it was not": (
        {}, {}, LOST_AT_DEADLINE, ("Failed", "StartDeadlineExceeded", 1, 0)
    ),
    "a queue's eviction costs nothing": (
        {"disruption_limit": 0}, {}, make_pod().running().exit(143).condition("TerminationTarget"),
        ("Pending", "Backoff", 0, 0),
    ),
    "but a thousand attempts are enough": (
        {}, {"attempt_count": 999}, make_pod(1000).scheduled().phase("Failed", "Evicted"),
        ("Failed", "AttemptLimitExceeded", 0, 0),
    ),
    "ignored": (
        {"failure_policy": {"rules": [{"onReasons": {"values": ["NonZeroExit"]}, "action": "Ignore"}]}}, {},
        make_pod().running().exit(1), ("Pending", "Backoff", 0, 0),
    ),
    "skipped": (
        {"failure_policy": {"rules": [{"onReasons": {"values": ["NonZeroExit"]}, "action": "Skip"}]}}, {},
        make_pod().running().exit(1), ("Skipped", "Skipped", 1, 0),
    ),
    "failed by a rule": (
        {"backoff_limit": 9, "failure_policy": FAIL_RULE},
        {},
        make_pod().running().exit(1),
        ("Failed", "NonZeroExit", 1, 0),
    ),
    "a disruption counted as a failure by a rule": (
        {"failure_policy": {"rules": [{"onReasons": {"values": ["Evicted"]}, "action": "Retry"}]}}, {},
        make_pod().running().exit(1).phase("Failed", "Evicted"), ("Failed", "Evicted", 1, 0),
    ),
    "lost by the kubelet after it was seen to run": (
        {}, {"attempts": (make_live_attempt(),)},
        make_pod().scheduled().exit(137, None, reason="ContainerStatusUnknown", started_at=None).phase("Failed"),
        ("Pending", "Backoff", 0, 1),
    ),
    "never scheduled: the message has the scheduler's words": (
        {"deadlines": {"scheduleSeconds": 3}},
        {"phase": "Pending", "reason": "Unschedulable", "message": "0/3 nodes"},
        make_pod().noted("ScheduleDeadlineExceeded").deleted(5, 0), ("Failed", "ScheduleDeadlineExceeded", 0, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "status", "made", "want"), ENDS.values(), ids=ENDS)
def test_what_an_end_means(
    spec: dict[str, Any], status: dict[str, Any], made: MadePod, want: tuple[str, str, int, int]
) -> None:
    got = status_of(make_task(**spec).status(**status).observe(made), 20)
    assert (str(got.phase), str(got.reason), got.failure_count, got.disruption_count) == want
    if status.get("reason") == "Unschedulable":
        assert got.message == (
            "the Pod was not scheduled within deadlines.scheduleSeconds (3 s); Unschedulable: 0/3 nodes"
        )


def code_rule(action: str, operator: str, value: int, **more: Any) -> dict[str, Any]:
    return {"rules": [{"action": action, "onExitCodes": {"operator": operator, "values": [value], **more}}]}


INIT_RULES = {
    "the task's container, which never ran": (code_rule("Skip", "In", 100), "Failed", "InitContainerFailed"),
    "the task's container by name": (
        code_rule("Skip", "In", 100, containerName="base"),
        "Failed",
        "InitContainerFailed",
    ),
    "every code but one": (code_rule("Ignore", "NotIn", 42), "Failed", "InitContainerFailed"),
    "the init container by name": (code_rule("Skip", "In", 100, containerName="fetch"), "Skipped", "Skipped"),
}


@pytest.mark.parametrize(("policy", "phase", "reason"), INIT_RULES.values(), ids=INIT_RULES)
def test_a_rule_on_exit_codes_looks_at_the_container_that_it_names(
    policy: dict[str, Any], phase: str, reason: str
) -> None:
    failed = make_pod().with_init("fetch").scheduled().exit(100, name="fetch").waiting("PodInitializing")
    got = status_of(make_task(failure_policy=policy).observe(failed.phase("Failed")), 20)
    assert (str(got.phase), str(got.reason), got.exit_code) == (phase, reason, None)
    assert got.attempts[0].exit_code is None
    assert got.message == "init container fetch ended with exit code 100"


LIMITS = {
    "deadlines": {
        "scheduleSeconds": 1, "imagePullSeconds": 2, "startSeconds": 3, "runSeconds": 4, "totalSeconds": 5,
    },
    "cancelTime": "2026-01-01T00:00:09Z",
    "forceDeletePodAfterSeconds": 6,
}  # fmt: skip
STOPPED = make_pod().running().exit(143).phase("Failed", "DeadlineExceeded")
MESSAGES = {
    "ImagePullDeadlineExceeded": "the images were not pulled within deadlines.imagePullSeconds (2 s)",
    "StartDeadlineExceeded": "container base did not start within deadlines.startSeconds (3 s)",
    "RunDeadlineExceeded": "container base ran longer than deadlines.runSeconds (4 s)",
    "TotalDeadlineExceeded": "the task took longer than deadlines.totalSeconds (5 s) over all attempts",
    "Cancelled": "spec.cancel was set",
    "CancelTimeReached": "spec.cancelTime (2026-01-01 00:00:09+00:00) was reached",
}


@pytest.mark.parametrize(("reason", "message"), MESSAGES.items(), ids=MESSAGES)
def test_a_stop_is_reported_with_its_limit(reason: str, message: str) -> None:
    got = status_of(running(**LIMITS).observe(STOPPED.stopped(reason)), 20)
    assert (str(got.phase in {"Failed", "Cancelled"}), got.reason, got.message) == ("True", reason, message)
    assert got.attempts[0].message == message


def test_a_stop_is_reported_while_it_lasts() -> None:
    got = status_of(running(**LIMITS).observe(LIVE.stopped("RunDeadlineExceeded")), 20)
    assert got.message == f"{MESSAGES['RunDeadlineExceeded']}; Pod {POD} is being stopped (grace period 30 s)"


def test_an_end_by_a_limit_without_a_pod_is_reported_with_it() -> None:
    got = status_of(make_task(deadlines={"totalSeconds": 5}).observe(), 6)
    assert (got.reason, got.message) == ("TotalDeadlineExceeded", MESSAGES["TotalDeadlineExceeded"])
    got = status_of(make_task(deadlines={"scheduleSeconds": 5}).observe(create_error=refused()), 7)
    assert (
        got.message
        == "the Pod was not scheduled within deadlines.scheduleSeconds (5 s); QuotaExceeded: exceeded quota: q"
    )


def test_a_pod_deleted_by_force_is_reported_with_its_time() -> None:
    lost = LIVE.noted("NodeLost").deleted(5, 0)
    got = status_of(running(disruption_limit=0, force_delete_pod_after_seconds=6).observe(lost), 20)
    assert (
        got.message
        == "the node did not stop the Pod within forceDeletePodAfterSeconds (6 s), so it was deleted without grace"
    )


def test_a_budget_that_is_used_up_is_reported_with_its_figures() -> None:
    made = make_task(backoff_limit=1).status(failure_count=1, attempt_count=1).observe(make_pod(2).running().exit(1))
    want = "2 failures exceed backoffLimit 1; the last one: NonZeroExit: container base ended with exit code 1"
    assert status_of(made, 20).message == want


def test_the_first_disruption_does_not_wait_for_old_failures() -> None:
    made = make_task(backoff_limit=9).status(failure_count=5, attempt_count=5)
    got = status_of(made.observe(make_pod(6).running().exit(1).phase("Failed", "Evicted")), 0)
    assert got.next_attempt_time <= at(11)


def test_twenty_entries_are_kept_and_the_counters_stay_exact() -> None:
    entries = tuple(make_attempt(n) for n in range(11, 31))
    made = make_task(backoff_limit=99).status(attempts=entries, attempt_count=30, failure_count=30)
    got = status_of(made.observe(make_pod(31).running().exit(1)), 20)
    assert [a.number for a in got.attempts] == list(range(12, 32))
    assert (got.attempt_count, got.failure_count) == (31, 31)


def test_suspension_is_measured() -> None:
    got = status_of(make_task(suspend=True).observe(), 50)
    assert got.conditions[0].last_transition_time == at(0), "never acted on: paused since its creation"
    got = status_of(retrying(suspend=True).observe(), 50)
    assert got.conditions[0].last_transition_time == at(50)
    got = status_of(make_task().suspended(10).status(suspended_seconds=5).observe(), 50)
    assert (got.suspended_seconds, got.conditions[0].status) == (45, "False")


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    old = condition(names.CONDITION_FINISHED, "True", 1)
    got = status_of(make_task(cancel=True).status(conditions=(old,)).observe(), 50)
    times = {c.type: c.last_transition_time for c in got.conditions}
    assert times == {"Finished": at(1), "Succeeded": at(50), "Stalled": at(50)}


SPREAD = {
    "the running": (make_task().observe(LIVE), 2, 3.5),
    "the end of a Pod's hold": (done().observe(FINISHED), 20, 72.5),
    "the end of a task's life": (done(ttl_seconds_after_finished=50).observe(), 20, 62.5),
}


@pytest.mark.parametrize(("snapshot", "now", "due"), SPREAD.values(), ids=SPREAD.keys())
def test_what_is_due_at_a_whole_second_is_spread_over_the_next(
    snapshot: TaskSnapshot, now: float, due: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "spread_seconds", lambda _: 0.5)
    assert decide(snapshot, at(now), SETTINGS).wake_at == at(due)


def test_the_hash_on_the_pod_is_pinned() -> None:
    made = LIVE.annotated(**{names.ANNOTATION_SPEC_HASH: "abc"})
    assert status_of(make_task().observe(made), 3).spec_hash == "abc"


def test_the_finish_time_is_on_our_clock() -> None:
    got = status_of(running().observe(LIVE.exit(0, finished=5000)), 12)
    assert got.attempts[0].completion_time == at(12)


def test_back_to_pending_writes_the_phase() -> None:
    got = status_of(running(backoff_limit=1).observe(FAILED), 12)
    before = msgspec.to_builtins(running().build().status)
    assert json_merge_patch(msgspec.to_builtins(got), before)["phase"] == "Pending"


def test_an_entry_of_another_pod_is_not_carried_over() -> None:
    got = status_of(
        running().attempts(make_live_attempt(pod_uid="before", start_time=at(1))).observe(LIVE, live_version="0"), 12
    )
    assert (got.attempts[0].pod_uid, got.attempts[0].start_time) == (UID, at(2))


def test_a_pod_names_its_task_and_ignores_an_invalid_number() -> None:
    assert LIVE.build().task_name == "etl"
    for label in ("", "x", "-1", "²", "9" * 60):
        assert make_pod().metadata(labels={names.LABEL_ATTEMPT: label}).build().attempt == 0


# ---- Pods of another namespace ----


def forged(number: int = 1) -> MadePod:
    """A Pod with the task's labels, owner reference and the attempt's name, in another tenant's namespace."""
    return make_pod(number).running().exit(0, message='{"return_value":"FORGED"}').phase("Succeeded").metadata(
        namespace="attacker"
    )  # fmt: skip


@pytest.mark.parametrize(
    "task",
    [make_task(), make_task(suspend=True).suspended(), retrying(), make_task().attempts(make_live_attempt()), done()],
    ids=["new", "suspended", "between two attempts", "running", "finished"],
)
def test_a_pod_of_another_namespace_changes_no_plan(task: MadeTask) -> None:
    for number in (1, 2):
        assert decide(task.observe(forged(number)), at(40), SETTINGS) == decide(task.observe(), at(40), SETTINGS)


def test_a_pod_of_another_namespace_is_no_name_conflict() -> None:
    foreign = forged().metadata(owner_references=())
    assert decide(make_task().observe(foreign), at(1), SETTINGS).actions == (CREATE,)


def test_the_tasks_own_pod_counts_beside_one_of_another_namespace() -> None:
    plan_made = decide(make_task().observe(forged(), make_pod().running().exit(3)), at(20), SETTINGS)
    assert brief(plan_made.actions[0]) == ("Failed", "NonZeroExit")


def test_a_pod_that_the_watch_lost_is_looked_for_before_the_task_goes_on_without_it() -> None:
    """No status names it. Without the read a cancelled task would finish while its Pod runs."""
    look = plan.VerifyDeleted(name=POD, uid=UID)
    for spec in ({}, {"cancel": True}):
        assert decide(make_task(**spec).observe(lost_pod=UID), at(5), SETTINGS).actions == (look,)
    gone = make_task().observe(lost_pod=UID, gone_pods=frozenset({UID}))
    assert decide(gone, at(5), SETTINGS).actions == (CREATE,)
    found = make_task(cancel=True).observe(lost_pod=UID, unlabelled_pod=make_pod().metadata(labels={}).build())
    assert decide(found, at(5), SETTINGS).actions == (plan.RestoreLabels(attempt=1, name=POD, uid=UID),)


def test_a_pod_that_the_status_does_not_name_is_read_before_it_counts() -> None:
    """Otherwise two leaders, one with an old Pod in its cache, would overwrite each other's status again and again."""
    task = make_task().status(phase="Running", reason="Running", observed_generation=1).attempts(make_live_attempt())
    other = make_pod().running().metadata(uid="pod-new", resource_version="9")
    assert decide(task.observe(other), at(20), SETTINGS).actions == (plan.ReadPod(name=POD, uid="pod-new"),)
    (write,) = decide(task.observe(other, live_version="9"), at(20), SETTINGS).actions
    assert isinstance(write, plan.WriteStatus)
    assert write.status.attempts[-1].pod_uid == "pod-new"
    assert decide(task.observe(other, make_pod().running()), at(20), SETTINGS).actions == ()


def test_the_last_attempts_pod_gets_its_labels_back_before_the_next_one_begins() -> None:
    """The controller crashed after it recorded the attempt and before it stopped the Pod's other containers."""
    bare = make_pod().running().metadata(labels={})
    back = plan.RestoreLabels(attempt=1, name=POD, uid=UID)
    assert decide(retrying().observe(unlabelled_pod=bare.build()), at(40), SETTINGS).actions == (back,)
    others = {
        "of no recorded attempt": bare.metadata(uid="pod-7"),
        "of another owner": bare.metadata(owner_references=()),
    }
    for stray in others.values():
        plan_made = decide(retrying().observe(unlabelled_pod=stray.build()), at(40), SETTINGS)
        assert plan_made.actions == (plan.CreatePod(attempt=2, name=pod_name(2)),)
    seen = decide(retrying().observe(make_pod().exit(1).phase("Failed"), unlabelled_pod=bare.build()), at(40), SETTINGS)
    assert plan.CreatePod(attempt=2, name=pod_name(2)) in seen.actions
