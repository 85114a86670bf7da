"""A small pure model of the API server: `settle` applies a plan's actions to the facts as the server would."""

from datetime import UTC, datetime

import msgspec

from podtask.api import names
from podtask.core import identity, plan, pod, times, wire
from podtask.core.pod import Pod
from podtask.core.snapshot import CreateError, PodEvents, ResultLog, Task, TaskSnapshot, TaskStatus, spec_as_dict

_replace = msgspec.structs.replace

START = datetime(2026, 1, 1, tzinfo=UTC)


class Gone(Exception):
    """The task was deleted."""


def settle(snapshot: TaskSnapshot, decided: plan.Plan, now: datetime) -> TaskSnapshot:
    """Apply every action of a plan to the snapshot."""
    for action in decided.actions:
        snapshot = _settle_step(snapshot, action, now)
    return snapshot


def _settle_step(snapshot: TaskSnapshot, action: plan.Action, now: datetime) -> TaskSnapshot:
    match action:
        case plan.CreatePod():
            return _created(snapshot, action, now)
        case plan.WriteStatus():
            return _replace(
                snapshot, task=_replace(snapshot.task, status=over_the_wire(action.status)), diagnosed_at=now
            )
        case plan.StopPod():
            return _change(snapshot, action.uid, lambda found: _stopped(found, action.reason, now))
        case plan.DeletePod():
            if action.reason:
                snapshot = _change(snapshot, action.uid, lambda found: _noted(found, action.reason))
            return _change(snapshot, action.uid, lambda found: _deleted(found, action.grace_seconds, now))
        case plan.RemoveFinalizer():
            return _change(snapshot, action.uid, _released)
        case plan.RestoreLabels():
            return _relabelled(snapshot, action)
        case plan.DeleteTask():
            raise Gone
    return _learnt(snapshot, action, now)


def _learnt(snapshot: TaskSnapshot, action: plan.Action, now: datetime) -> TaskSnapshot:
    match action:
        case plan.VerifyDeleted():
            return _replace(snapshot, gone_pods=snapshot.gone_pods | {action.uid})
        case plan.ReadPod():
            found = next(p for p in snapshot.pods if p.metadata.uid == action.uid)
            return _replace(snapshot, live_version=found.metadata.resource_version)
        case plan.ReadPodEvents():
            return _replace(snapshot, pod_events=PodEvents(pod_uid=action.uid, again_at=times.add_saturating(now, 60)))
        case plan.ReadResultLog():
            return _replace(snapshot, result_log=ResultLog(pod_uid=action.uid, error="there is no log in the model"))
    raise AssertionError(action)


def over_the_wire(status: TaskStatus) -> TaskStatus:
    """Return a status as it is read back: enums are strings."""
    return msgspec.json.decode(msgspec.json.encode(status), type=TaskStatus)


def new_pod(task: Task, action: plan.CreatePod, now: datetime) -> Pod:
    """Return the Pod that the server stores. A second Pod of one attempt has another uid."""
    meta = task.metadata
    digest = identity.spec_hash(spec_as_dict(task))
    return Pod(
        metadata=pod.PodMetadata(
            name=action.name,
            namespace=meta.namespace,
            uid=f"{meta.uid}/{action.attempt}/{now.timestamp()}",
            creation_timestamp=now,
            labels=identity.pod_labels(meta.name, meta.uid, action.attempt),
            annotations={names.ANNOTATION_TASK: meta.name, names.ANNOTATION_SPEC_HASH: digest},
            finalizers=(names.FINALIZER,),
            owner_references=(wire.OwnerReference(kind=names.KIND, name=meta.name, uid=meta.uid, controller=True),),
        ),
        spec=pod.PodSpec(
            containers=(pod.ContainerSpec(name=task.spec.container_name),),
            init_containers=(
                (pod.ContainerSpec(name=names.RESULT_CONTAINER, restart_policy="Always"),) if task.spec.xcom else ()
            ),
        ),
        status=pod.PodStatus(phase="Pending"),
    )


def _relabelled(snapshot: TaskSnapshot, action: plan.RestoreLabels) -> TaskSnapshot:
    """Write the labels of a Pod that was read live. The watch reports it from then on."""
    stray, meta = snapshot.unlabelled_pod, snapshot.task.metadata
    if (
        stray is not None
        and stray.metadata.uid == action.uid
        and action.uid not in {p.metadata.uid for p in snapshot.pods}
    ):
        snapshot = _replace(snapshot, pods=(*snapshot.pods, stray))
    labels = identity.pod_labels(meta.name, meta.uid, action.attempt)
    snapshot = _replace(snapshot, unlabelled_pod=None)
    return _change(snapshot, action.uid, lambda p: _replace(p, metadata=_replace(p.metadata, labels=labels)))


def _created(snapshot: TaskSnapshot, action: plan.CreatePod, now: datetime) -> TaskSnapshot:
    if any(p.metadata.name == action.name for p in snapshot.pods):
        return snapshot
    return _replace(snapshot, pods=(*snapshot.pods, new_pod(snapshot.task, action, now)), create_error=None)


def _change(snapshot: TaskSnapshot, uid: str, change) -> TaskSnapshot:  # type: ignore[no-untyped-def]
    changed = (change(found) if found.metadata.uid == uid else found for found in snapshot.pods)
    return _replace(snapshot, pods=tuple(found for found in changed if found is not None))


def _noted(found: Pod, reason: str) -> Pod:
    annotations = {**found.metadata.annotations, names.ANNOTATION_STOP: reason}
    return _replace(found, metadata=_replace(found.metadata, annotations=annotations))


def _stopped(found: Pod, reason: str, now: datetime) -> Pod:
    noted = _noted(found, reason)
    annotations = {**noted.metadata.annotations, names.ANNOTATION_STOP_TIME: now.isoformat()}
    metadata = _replace(noted.metadata, annotations=annotations)
    return _replace(noted, metadata=metadata, spec=_replace(found.spec, active_deadline_seconds=1))


def _deleted(found: Pod, grace: int | None, now: datetime) -> Pod | None:
    """Delete a Pod as the server does: at once if nothing runs, else after the grace period; a finalizer keeps it."""
    instant = not found.spec.node_name or found.status.phase in {"Succeeded", "Failed"}
    seconds = 0 if instant else found.spec.termination_grace_period_seconds if grace is None else grace
    if not found.metadata.finalizers and seconds == 0:
        return None
    before = found.metadata
    grace_left = before.deletion_grace_period_seconds
    if before.deletion_timestamp is not None and grace_left is not None and grace_left <= seconds:
        return found
    meta = _replace(
        before, deletion_timestamp=times.add_saturating(now, seconds), deletion_grace_period_seconds=seconds
    )
    return _replace(found, metadata=meta)


def _released(found: Pod) -> Pod | None:
    finalizers = tuple(name for name in found.metadata.finalizers if name != names.FINALIZER)
    if not finalizers and found.metadata.deletion_timestamp is not None and found.is_terminal:
        return None
    return _replace(found, metadata=_replace(found.metadata, finalizers=finalizers))


def refuse(snapshot: TaskSnapshot, action: plan.CreatePod, code: int, message: str, now: datetime) -> TaskSnapshot:
    """Answer a create with an error."""
    before = snapshot.create_error
    count = before.count + 1 if before is not None and before.attempt == action.attempt else 1
    refused = CreateError(attempt=action.attempt, code=code, reason="", message=message, at=now, count=count)
    return _replace(snapshot, create_error=refused)
