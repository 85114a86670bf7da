"""Generated snapshots: any that the types allow and a cluster might show, consistent or not."""

from datetime import timedelta

import msgspec
from hypothesis import strategies as st

from podtask.api import names
from podtask.api.reasons import Reason
from podtask.core import identity, pod, wire
from podtask.core.pod import Pod
from podtask.core.snapshot import (
    Attempt,
    CreateError,
    PodEvent,
    PodEvents,
    Relabelled,
    ResultLog,
    Task,
    TaskCondition,
    TaskSnapshot,
    TaskStatus,
)
from tests.builders import KUBELETS, NAME, UID, MadeTask, at, make_task, pod_name

times = st.one_of(st.integers(-100, 400).map(at), st.sampled_from([at(-(10**9)), at(10**10), at(10**11)]))
near = st.integers(-100, 400).map(at)
maybe_time = st.none() | times
texts = st.sampled_from(
    ["", "x", "exceeded quota", "Pod a still has the name", "y" * 5000, "persistentvolumeclaim a not found", "\x00é"]
)
exit_codes = st.sampled_from([0, 1, 2, 42, 137, 143, -1])

_ENVELOPE = '{"v":1,"state":"inline","size":2,"sha256":"%s","encoding":"raw","payload":"{}"}'
messages = st.sampled_from(
    [
        "",
        "{}",
        "oops",
        _ENVELOPE % "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        _ENVELOPE % "00",
        '{"v":1,"state":"missing"}',
        '{"v":1,"state":"log","size":9,"sha256":"ab","encoding":"gzip+base64","chunks":1}',
        '{"v":1,"state":"unreadable","message":"' + "m" * 4000 + '"}',
    ]
)

waiting = st.builds(
    pod.Waiting,
    reason=st.sampled_from(
        [
            "",
            "ContainerCreating",
            "ImagePullBackOff",
            "InvalidImageName",
            "CreateContainerConfigError",
            "CrashLoopBackOff",
        ]
    ),
    message=texts,
)
terminated = st.builds(
    pod.Terminated,
    exit_code=exit_codes,
    signal=st.sampled_from([0, 9]),
    reason=st.sampled_from(["", "Completed", "Error", "OOMKilled", "StartError", "ContainerStatusUnknown", "Unknown"]),
    message=messages,
    started_at=maybe_time,
    finished_at=maybe_time,
)
states = st.one_of(
    st.just(pod.ContainerState()),
    st.builds(pod.ContainerState, waiting=waiting),
    st.builds(pod.ContainerState, running=st.builds(pod.Running, started_at=maybe_time)),
    st.builds(pod.ContainerState, terminated=terminated),
)


def statuses(*container_names: str) -> st.SearchStrategy[tuple[pod.ContainerStatus, ...]]:
    one = st.builds(pod.ContainerStatus, name=st.sampled_from(container_names), state=states)
    return st.lists(one, max_size=2, unique_by=lambda s: s.name).map(tuple)


conditions = st.lists(
    st.builds(
        pod.Condition,
        type=st.sampled_from(["PodScheduled", "DisruptionTarget", "TerminationTarget", "PodReadyToStartContainers"]),
        status=st.sampled_from(["True", "False"]),
        reason=st.sampled_from(["", "Unschedulable", "PreemptionByScheduler", "DeletionByPodGC", "Other"]),
        message=texts,
        last_transition_time=maybe_time,
    ),
    max_size=2,
).map(tuple)
stop_reasons = st.sampled_from(
    ["", "", Reason.CANCELLED, Reason.SUSPENDED, Reason.RUN_DEADLINE_EXCEEDED, Reason.MAIN_CONTAINER_ENDED, "Nonsense"]
)

stop_times = st.sampled_from(
    [{}] + [{names.ANNOTATION_STOP_TIME: text} for text in ("", "soon", "2026-01-01T00:00:09", "2026-01-01T00:00:09Z")]
)


@st.composite
def pods(draw: st.DrawFn, exact: str | None = None) -> Pod:
    number = draw(st.integers(1, 4))
    stop = draw(stop_reasons)
    annotations = {names.ANNOTATION_TASK: NAME, names.ANNOTATION_SPEC_HASH: "h"} | (
        {names.ANNOTATION_STOP: str(stop)} | draw(stop_times) if stop else {}
    )
    deleted = draw(st.booleans())
    meta = pod.PodMetadata(
        name=exact or draw(st.sampled_from([pod_name(number)] * 5 + ["stranger"])),
        namespace="default",
        uid=f"pod-{number}",
        creation_timestamp=draw(st.none() | near),
        deletion_timestamp=draw(times) if deleted else None,
        deletion_grace_period_seconds=draw(st.sampled_from([None, 0, 30, 2**62])) if deleted else None,
        labels=identity.pod_labels(NAME, UID, number)
        | draw(st.sampled_from([{}] * 5 + [{names.LABEL_ATTEMPT: "9" * 60}, {names.LABEL_TASK_UID: "other"}])),
        annotations=annotations,
        finalizers=draw(st.sampled_from([(names.FINALIZER,), ()])),
        owner_references=draw(
            st.sampled_from([(wire.OwnerReference(uid=UID, controller=True),)] * 5 + [(wire.OwnerReference(uid=UID),)])
        ),
        managed_fields=tuple(
            pod.ManagedFieldsEntry("status", at, KUBELETS) for at in draw(st.lists(st.none() | times, max_size=2))
        ),
    )
    spec = pod.PodSpec(
        node_name=draw(st.sampled_from(["", "node"])),
        active_deadline_seconds=draw(st.sampled_from([None, 1, 100])),
        termination_grace_period_seconds=draw(st.sampled_from([0, 30, 2**62])),
        scheduling_gates=draw(st.sampled_from([(), (pod.Gate(name="g"),)])),
        containers=tuple(pod.ContainerSpec(name=n) for n in draw(st.sampled_from([("base",), ("side", "base"), ()]))),
        init_containers=draw(
            st.sampled_from([(), (pod.ContainerSpec(name=names.RESULT_CONTAINER, restart_policy="Always"),)])
        ),
    )
    status = pod.PodStatus(
        phase=draw(st.sampled_from(["", "Pending", "Running", "Succeeded", "Failed", "Unknown"])),
        reason=draw(st.sampled_from(["", "Evicted", "DeadlineExceeded", "NodeLost", "OutOfcpu"])),
        message=draw(texts),
        start_time=draw(maybe_time),
        conditions=draw(conditions),
        container_statuses=draw(statuses("base", "side")),
        init_container_statuses=draw(statuses(names.RESULT_CONTAINER, "prepare")),
    )
    return Pod(metadata=meta, spec=spec, status=status)


@st.composite
def entries(draw: st.DrawFn, count: int) -> tuple[Attempt, ...]:
    """Up to three entries of ended attempts, and perhaps one of the attempt in progress."""
    numbers = list(range(max(1, count - 2), count + 1))
    ended = [
        Attempt(
            number=n,
            pod_name=pod_name(n),
            pod_uid=f"pod-{n}",
            outcome=draw(st.sampled_from(["Failed", "Succeeded"])),
            completion_time=draw(maybe_time),
            exit_code=draw(exit_codes),
        )
        for n in numbers
    ]
    if draw(st.booleans()):
        uid = draw(st.sampled_from([f"pod-{count + 1}"] * 4 + ["other"]))
        ended.append(
            Attempt(
                number=count + 1,
                pod_name=pod_name(count + 1),
                pod_uid=uid,
                start_time=draw(maybe_time),
                admission_time=draw(maybe_time),
            )
        )
    return tuple(ended)


def exactly(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}}


RULES = [
    {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [42]}},
    {"action": "Fail", "onReasons": {"values": ["OOMKilled"]}},
    {"action": "Skip", "onExitCodes": {"operator": "In", "values": [2]}},
    {"action": "Retry", "onPodConditions": [{"type": "Ready"}]},
]
optional_seconds = st.none() | st.sampled_from([1, 30, 100])


@st.composite
def specs(draw: st.DrawFn) -> MadeTask:
    xcom = draw(
        st.none()
        | st.fixed_dictionaries(
            {
                "onFailure": st.sampled_from(["Drop", "Keep"]),
                "onLost": st.sampled_from(["Fail", "Drop", "Retry"]),
                "required": st.booleans(),
            }
        )
    )
    fields: dict[str, object] = {
        "backoffLimit": draw(st.integers(0, 2)),
        "disruptionLimit": draw(st.integers(0, 2)),
        "suspend": draw(st.booleans()),
        "cancel": draw(st.sampled_from([False, False, True])),
        "podRetention": draw(st.sampled_from(["Delete", "DeleteSucceeded", "Keep"])),
        "failurePolicy": {"rules": draw(st.lists(st.sampled_from(RULES), max_size=4))},
    }
    deadlines = {
        name: draw(optional_seconds)
        for name in ("scheduleSeconds", "imagePullSeconds", "startSeconds", "runSeconds", "totalSeconds")
    }
    fields["deadlines"] = {name: seconds for name, seconds in deadlines.items() if seconds is not None}
    optional = {
        "xcom": xcom,
        "cancelTime": draw(st.none() | near),
        "ttlSecondsAfterFinished": draw(optional_seconds),
        "podTTLSecondsAfterFinished": draw(optional_seconds),
        "forceDeletePodAfterSeconds": draw(optional_seconds),
    }
    fields |= {name: value for name, value in optional.items() if value is not None}
    if draw(st.integers(0, 4)) == 0:
        fields["template"] = exactly("fixed")
    return make_task(**fields)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    made = draw(specs())
    count = draw(st.integers(0, 3))
    kinds = draw(st.lists(st.sampled_from(["Suspended", "Finished", "Succeeded"]), unique=True, max_size=2))
    status = TaskStatus(
        observed_generation=draw(st.integers(0, 2)),
        phase=draw(
            st.sampled_from(["Pending", "Running", "Suspended"] * 3 + ["Succeeded", "Failed", "Cancelled", "Skipped"])
        ),
        reason=draw(st.sampled_from(["", *Reason])),
        message=draw(texts)[:4096],
        completion_time=draw(maybe_time),
        attempt_count=count,
        failure_count=draw(st.integers(0, count)),
        disruption_count=draw(st.integers(0, count)),
        next_attempt_time=draw(maybe_time),
        suspended_seconds=draw(st.sampled_from([0, 10, 9 * 10**15])),
        spec_hash=draw(st.sampled_from(["", "", "h"])),
        conditions=tuple(
            TaskCondition(
                type=k, status=draw(st.sampled_from(["True", "False"])), reason="r", last_transition_time=draw(near)
            )
            for k in kinds
        ),
        attempts=draw(entries(count)),
    )
    made = made.status(**{f: getattr(status, f) for f in status.__struct_fields__})
    if draw(st.integers(0, 9)) == 0:
        made = made.problem("spec cannot be understood")
    if draw(st.integers(0, 9)) == 0:
        made = made.deleted()
    if draw(st.integers(0, 3)) == 0:
        made = made.metadata(annotations={names.ANNOTATION_ACKNOWLEDGED: "true"})
    return made.build()


pod_events = st.builds(
    PodEvent, reason=st.sampled_from(["FailedMount", "Pulling"]), message=texts, last_timestamp=maybe_time
)


@st.composite
def observations(draw: st.DrawFn) -> TaskSnapshot:
    task = draw(tasks())
    seen = draw(st.lists(pods(exact=task.exact_pod_name), max_size=3, unique_by=lambda p: p.metadata.name))
    number = task.status.attempt_count + 1
    return TaskSnapshot(
        task=task,
        pods=tuple(seen),
        create_error=draw(
            st.none()
            | st.builds(
                CreateError,
                attempt=st.sampled_from([number, number, 1]),
                code=st.sampled_from([400, 403, 404, 409, 422, 500]),
                reason=st.just(""),
                message=texts,
                at=near,
                count=st.sampled_from([1, 3, 10**9]),
            )
        ),
        conflicting_pod=draw(st.none() | st.none() | pods(task.exact_pod_name)),
        conflicting_task=draw(st.none() | st.just(task)),
        unlabelled_pod=draw(st.none() | st.none() | pods(task.exact_pod_name)),
        relabelled=draw(
            st.none()
            | st.builds(
                Relabelled, pod_uid=st.sampled_from(["pod-1", "pod-2"]), at=near, count=st.sampled_from([1, 6, 10**9])
            )
        ),
        live_version=draw(st.sampled_from(["", "0"])),
        unknown_create_deadline=draw(st.none() | near),
        pod_events=draw(
            st.none()
            | st.builds(
                PodEvents,
                pod_uid=st.sampled_from(["pod-1", "pod-2"]),
                again_at=near,
                events=st.lists(pod_events).map(tuple),
            )
        ),
        gone_pods=frozenset(draw(st.lists(st.sampled_from(["pod-1", "pod-2", "other"]), max_size=2))),
        result_log=draw(st.none() | st.builds(ResultLog, pod_uid=st.sampled_from(["pod-1", "pod-2"]), error=texts)),
        log_failures=draw(st.integers(0, 6)),
        diagnosed_at=draw(st.none() | near),
    )


moments = st.integers(-10, 500).map(at)
replace = msgspec.structs.replace
__all__ = ["at", "moments", "observations", "replace", "timedelta"]
