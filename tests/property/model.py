"""A small pure model of the API server: `settle` applies a plan's steps to the facts as the server would."""

from datetime import UTC, datetime

import msgspec

from podtask.api import names
from podtask.core import clock, identity, plan, pod
from podtask.core.observed import Observed, PodEvents, Refusal, ResultLog, Task, TaskStatus, spec_as_dict
from podtask.core.pod import Pod

_replace = msgspec.structs.replace

START = datetime(2026, 1, 1, tzinfo=UTC)


class Gone(Exception):
    """The task was deleted; nothing is left to decide."""


def settle(observed: Observed, decided: plan.Plan, now: datetime) -> Observed:
    """Carry out every step against the facts."""
    for step in decided.steps:
        observed = _settle_step(observed, step, now)
    return observed


def _settle_step(observed: Observed, step: plan.Step, now: datetime) -> Observed:
    match step:
        case plan.CreatePod():
            return _created(observed, step, now)
        case plan.WriteStatus():
            return _replace(observed, task=_replace(observed.task, status=over_the_wire(step.status)), diagnosed_at=now)
        case plan.StopPod():
            return _change(observed, step.uid, lambda found: _stopped(found, step.reason, now))
        case plan.DeletePod():
            if step.reason:
                observed = _change(observed, step.uid, lambda found: _noted(found, step.reason))
            return _change(observed, step.uid, lambda found: _deleted(found, step.grace_seconds, now))
        case plan.ReleasePod():
            return _change(observed, step.uid, _released)
        case plan.RestoreLabels():
            return _relabelled(observed, step)
        case plan.DeleteTask():
            raise Gone
    return _learnt(observed, step, now)


def _learnt(observed: Observed, step: plan.Step, now: datetime) -> Observed:
    match step:
        case plan.ConfirmGone():
            return _replace(observed, gone_pods=observed.gone_pods | {step.uid})
        case plan.ReadPod():
            found = next(p for p in observed.pods if p.metadata.uid == step.uid)
            return _replace(observed, live_version=found.metadata.resource_version)
        case plan.ReadPodEvents():
            return _replace(observed, pod_events=PodEvents(pod_uid=step.uid, again_at=clock.later(now, 60)))
        case plan.ReadResultLog():
            return _replace(observed, result_log=ResultLog(pod_uid=step.uid, error="there is no log in the model"))
    raise AssertionError(step)


def over_the_wire(status: TaskStatus) -> TaskStatus:
    """Give a status as it is read back: enums are text then."""
    return msgspec.json.decode(msgspec.json.encode(status), type=TaskStatus)


def new_pod(task: Task, step: plan.CreatePod, now: datetime) -> Pod:
    """Give the Pod that the server stores; the same number always has another uid after the first has gone."""
    meta = task.metadata
    digest = identity.spec_hash(spec_as_dict(task))
    return Pod(
        metadata=pod.PodMetadata(
            name=step.name,
            namespace=meta.namespace,
            uid=f"{meta.uid}/{step.attempt}/{now.timestamp()}",
            creation_timestamp=now,
            labels=identity.pod_labels(meta.name, meta.uid, step.attempt),
            annotations={names.ANNOTATION_TASK: meta.name, names.ANNOTATION_SPEC_HASH: digest},
            finalizers=(names.FINALIZER,),
            owner_references=(pod.OwnerReference(kind=names.KIND, name=meta.name, uid=meta.uid, controller=True),),
        ),
        spec=pod.PodSpec(
            containers=(pod.ContainerName(name=task.spec.container_name),),
            init_containers=(
                (pod.ContainerName(name=names.RESULT_CONTAINER, restart_policy="Always"),) if task.spec.xcom else ()
            ),
        ),
        status=pod.PodStatus(phase="Pending"),
    )


def _relabelled(observed: Observed, step: plan.RestoreLabels) -> Observed:
    """Of a Pod that was read live: from then on the watch follows it."""
    stray, meta = observed.unlabelled_pod, observed.task.metadata
    if stray is not None and stray.metadata.uid == step.uid and step.uid not in {p.metadata.uid for p in observed.pods}:
        observed = _replace(observed, pods=(*observed.pods, stray))
    labels = identity.pod_labels(meta.name, meta.uid, step.attempt)
    observed = _replace(observed, unlabelled_pod=None)
    return _change(observed, step.uid, lambda p: _replace(p, metadata=_replace(p.metadata, labels=labels)))


def _created(observed: Observed, step: plan.CreatePod, now: datetime) -> Observed:
    if any(p.metadata.name == step.name for p in observed.pods):
        return observed
    return _replace(observed, pods=(*observed.pods, new_pod(observed.task, step, now)), refusal=None)


def _change(observed: Observed, uid: str, change) -> Observed:  # type: ignore[no-untyped-def]
    changed = (change(found) if found.metadata.uid == uid else found for found in observed.pods)
    return _replace(observed, pods=tuple(found for found in changed if found is not None))


def _noted(found: Pod, reason: str) -> Pod:
    annotations = {**found.metadata.annotations, names.ANNOTATION_STOP: reason}
    return _replace(found, metadata=_replace(found.metadata, annotations=annotations))


def _stopped(found: Pod, reason: str, now: datetime) -> Pod:
    noted = _noted(found, reason)
    annotations = {**noted.metadata.annotations, names.ANNOTATION_STOP_TIME: now.isoformat()}
    metadata = _replace(noted.metadata, annotations=annotations)
    return _replace(noted, metadata=metadata, spec=_replace(found.spec, active_deadline_seconds=1))


def _deleted(found: Pod, grace: int | None, now: datetime) -> Pod | None:
    """As the server does: at once where nothing runs, else with the grace period; a finalizer keeps the object."""
    instant = not found.spec.node_name or found.status.phase in {"Succeeded", "Failed"}
    seconds = 0 if instant else found.spec.termination_grace_period_seconds if grace is None else grace
    if not found.metadata.finalizers and seconds == 0:
        return None
    before = found.metadata
    grace_left = before.deletion_grace_period_seconds
    if before.deletion_timestamp is not None and grace_left is not None and grace_left <= seconds:
        return found
    meta = _replace(before, deletion_timestamp=clock.later(now, seconds), deletion_grace_period_seconds=seconds)
    return _replace(found, metadata=meta)


def _released(found: Pod) -> Pod | None:
    finalizers = tuple(name for name in found.metadata.finalizers if name != names.FINALIZER)
    if not finalizers and found.metadata.deletion_timestamp is not None and found.is_terminal:
        return None
    return _replace(found, metadata=_replace(found.metadata, finalizers=finalizers))


def refuse(observed: Observed, step: plan.CreatePod, code: int, message: str, now: datetime) -> Observed:
    """Answer a create with a refusal instead."""
    before = observed.refusal
    count = before.count + 1 if before is not None and before.attempt == step.attempt else 1
    refused = Refusal(attempt=step.attempt, code=code, reason="", message=message, at=now, count=count)
    return _replace(observed, refusal=refused)
