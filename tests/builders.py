"""Builders of tasks and Pods: fluent, immutable, and valid unless a test says otherwise.

make_task(backoff_limit=2).status(attempt_count=1).build()
make_pod().ran(0, 10).exit(1).build()
"""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from podtask.api import names
from podtask.core import identity, pod, wire
from podtask.core.pod import Pod
from podtask.core.snapshot import Attempt, Task, TaskCondition, TaskSnapshot, TaskSpec, TaskStatus

ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
UID = "11111111-2222-3333-4444-555555555555"
NAME = "etl"

KUBELETS = pod.OwnedFields(pod.OwnedStatus(pod.Owned()))
"""The fields that only a kubelet owns of a Pod."""

_replace = msgspec.structs.replace


def at(seconds: float) -> datetime:
    """Return the time this many seconds after the task's creation."""
    return ORIGIN + timedelta(seconds=seconds)


def pod_name(number: int = 1) -> str:
    return identity.pod_name(NAME, UID, number)


def make_attempt(number: int = 1, **fields: Any) -> Attempt:
    """An attempt that has ended with exit code 1, unless said otherwise."""
    defaults = {
        "pod_name": pod_name(number),
        "pod_uid": f"pod-{number}",
        "creation_time": at(0),
        "completion_time": at(10),
        "outcome": "Failed",
        "exit_code": 1,
        "reason": "NonZeroExit",
    }
    return Attempt(number=number, **(defaults | fields))


def make_live_attempt(number: int = 1, **fields: Any) -> Attempt:
    """An attempt in progress, as recorded when its container runs."""
    open_end = {"completion_time": None, "outcome": "", "exit_code": None, "reason": "", "start_time": at(2)}
    return make_attempt(number, **(open_end | fields))


def condition(kind: str, status: str = "True", seconds: float = 0, reason: str = "Suspended") -> TaskCondition:
    return TaskCondition(type=kind, status=status, reason=reason, last_transition_time=at(seconds))


@dataclasses.dataclass(frozen=True)
class MadeTask:
    """A builder of a task. Every method returns a new one."""

    task: Task

    def build(self) -> Task:
        return self.task

    def status(self, **fields: Any) -> "MadeTask":
        return MadeTask(_replace(self.task, status=_replace(self.task.status, **fields)))

    def attempts(self, *entries: Attempt) -> "MadeTask":
        return self.status(attempts=entries)

    def metadata(self, **fields: Any) -> "MadeTask":
        return MadeTask(_replace(self.task, metadata=_replace(self.task.metadata, **fields)))

    def problem(self, text: str) -> "MadeTask":
        return MadeTask(_replace(self.task, problem=text, spec=TaskSpec()))

    def suspended(self, since: float = 0) -> "MadeTask":
        entry = condition(names.CONDITION_SUSPENDED, "True", since)
        return self.status(phase="Suspended", reason="Suspended", conditions=(entry,), observed_generation=1)

    def deleted(self, seconds: float = 5) -> "MadeTask":
        return self.metadata(deletion_timestamp=at(seconds))

    def observe(self, *pods: "MadePod | Pod", **facts: Any) -> TaskSnapshot:
        seen = tuple(p.build() if isinstance(p, MadePod) else p for p in pods)
        return TaskSnapshot(task=self.task, pods=seen, **facts)


def make_task(**spec: Any) -> MadeTask:
    """A task with an image; `spec` takes fields by their JSON names or in snake case, as plain JSON."""
    raw = {"image": "busybox", **{_camel(key): value for key, value in spec.items()}}
    encoded = msgspec.json.encode(raw)
    meta = wire.Metadata(
        name=NAME, namespace="default", uid=UID, resource_version="1", generation=1, creation_timestamp=at(0)
    )
    return MadeTask(Task(metadata=meta, spec=msgspec.json.decode(encoded, type=TaskSpec), raw_spec=encoded))


def _camel(key: str) -> str:
    if key == "pod_ttl_seconds_after_finished":
        return "podTTLSecondsAfterFinished"
    head, *tail = key.split("_")
    return head + "".join(word.title() for word in tail)


@dataclasses.dataclass(frozen=True)
class MadePod:
    """A builder of a Pod. Every method returns a new one."""

    pod: Pod
    container: str = names.DEFAULT_CONTAINER

    def build(self) -> Pod:
        return self.pod

    def _with(self, **fields: Any) -> "MadePod":
        return dataclasses.replace(self, pod=_replace(self.pod, **fields))

    def metadata(self, **fields: Any) -> "MadePod":
        return self._with(metadata=_replace(self.pod.metadata, **fields))

    def spec(self, **fields: Any) -> "MadePod":
        return self._with(spec=_replace(self.pod.spec, **fields))

    def status(self, **fields: Any) -> "MadePod":
        return self._with(status=_replace(self.pod.status, **fields))

    def annotated(self, **annotations: str) -> "MadePod":
        return self.metadata(annotations={**self.pod.metadata.annotations, **annotations})

    def stopped(self, reason: str, seconds: float | None = 0) -> "MadePod":
        """Stopped by us with activeDeadlineSeconds; with None by an older controller that does not record the time."""
        noted = {**self.pod.metadata.annotations, names.ANNOTATION_STOP: reason}
        if seconds is not None:
            noted[names.ANNOTATION_STOP_TIME] = at(seconds).isoformat()
        return self.metadata(annotations=noted).spec(active_deadline_seconds=1)

    def noted(self, reason: str) -> "MadePod":
        """With our stop annotation, before the DELETE."""
        return self.metadata(annotations={**self.pod.metadata.annotations, names.ANNOTATION_STOP: reason})

    def deleted(self, seconds: float, grace: int = 30) -> "MadePod":
        """Deleted by a request at that time."""
        return self.metadata(deletion_timestamp=at(seconds + grace), deletion_grace_period_seconds=grace)

    def released(self) -> "MadePod":
        return self.metadata(finalizers=())

    def scheduled(self, seconds: float = 0, node: str = "node-1", taken: float | None = None) -> "MadePod":
        """On a node; `taken` is status.startTime, by the kubelet's clock."""
        found = pod.Condition(type="PodScheduled", status="True", last_transition_time=at(seconds))
        others = tuple(c for c in self.pod.status.conditions if c.type != "PodScheduled")
        start = at(seconds if taken is None else taken)
        return self.spec(node_name=node).status(conditions=(*others, found), start_time=start, phase="Pending")

    def unschedulable(self, message: str = "0/3 nodes are available") -> "MadePod":
        found = pod.Condition(type="PodScheduled", status="False", reason="Unschedulable", message=message)
        return self.status(conditions=(found,), phase="Pending")

    def gated(self, *gates: str) -> "MadePod":
        return self.spec(scheduling_gates=tuple(pod.Gate(name=gate) for gate in gates))

    def condition(
        self, kind: str, reason: str = "", message: str = "", status: str = "True", seconds: float | None = None
    ) -> "MadePod":
        when = None if seconds is None else at(seconds)
        found = pod.Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=when)
        return self.status(conditions=(*self.pod.status.conditions, found))

    def _state(self, name: str, state: pod.ContainerState) -> "MadePod":
        field = "container_statuses"
        if any(c.name == name for c in self.pod.spec.init_containers):
            field = "init_container_statuses"
        kept = tuple(s for s in getattr(self.pod.status, field) if s.name != name)
        return self.status(**{field: (*kept, pod.ContainerStatus(name=name, state=state, image_id="sha256:1"))})

    def waiting(self, reason: str, message: str = "", name: str = "") -> "MadePod":
        return self._state(name or self.container, pod.ContainerState(waiting=pod.Waiting(reason, message)))

    def running(self, since: float | None = 2, name: str = "") -> "MadePod":
        made = self if self.pod.spec.node_name else self.scheduled()
        state = pod.ContainerState(running=pod.Running(started_at=None if since is None else at(since)))
        return made._state(name or self.container, state).status(phase="Running")

    def exit(self, code: int = 0, finished: float | None = 10, name: str = "", **fields: Any) -> "MadePod":
        """A container has ended; the Pod's phase is as it was."""
        made = self if self.pod.spec.node_name else self.scheduled()
        defaults: dict[str, Any] = {"started_at": at(2), "finished_at": None if finished is None else at(finished)}
        ended = pod.Terminated(exit_code=code, **(defaults | fields))
        return made._state(name or self.container, pod.ContainerState(terminated=ended))

    def phase(self, phase: str, reason: str = "", message: str = "") -> "MadePod":
        return self.status(phase=phase, reason=reason, message=message)

    def with_container(self, name: str, **fields: Any) -> "MadePod":
        return self.spec(containers=(*self.pod.spec.containers, pod.ContainerSpec(name=name, **fields)))

    def with_init(self, name: str, restart_policy: str = "") -> "MadePod":
        inits = (*self.pod.spec.init_containers, pod.ContainerSpec(name=name, restart_policy=restart_policy))
        return self.spec(init_containers=inits)

    def with_result(self) -> "MadePod":
        return self.with_init(names.RESULT_CONTAINER, "Always")


def make_pod(number: int = 1, *, container: str = names.DEFAULT_CONTAINER, name: str = "") -> MadePod:
    """The Pod of an attempt as the API server has it after the create."""
    owner = wire.OwnerReference(kind=names.KIND, name=NAME, uid=UID, controller=True)
    meta = pod.PodMetadata(
        name=name or pod_name(number),
        namespace="default",
        uid=f"pod-{number}",
        creation_timestamp=at(0),
        labels=identity.pod_labels(NAME, UID, number),
        annotations={names.ANNOTATION_TASK: NAME},
        finalizers=(names.FINALIZER,),
        owner_references=(owner,),
    )
    spec = pod.PodSpec(containers=(pod.ContainerSpec(name=container),))
    return MadePod(Pod(metadata=meta, spec=spec, status=pod.PodStatus(phase="Pending")), container)


def make_status(**fields: Any) -> TaskStatus:
    return TaskStatus(**fields)


__all__ = [
    "KUBELETS",
    "NAME",
    "ORIGIN",
    "UID",
    "MadePod",
    "MadeTask",
    "at",
    "condition",
    "make_attempt",
    "make_live_attempt",
    "make_pod",
    "make_status",
    "make_task",
    "pod_name",
]
