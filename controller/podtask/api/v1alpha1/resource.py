"""The whole object. Read leniently, so that an older controller understands a newer CRD's objects; written strictly."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from ..types import Int, Model, Opaque, Timestamp
from . import rules
from .spec import PodTaskSpec
from .status import PodTaskStatus


class InvalidPodTaskError(ValueError):
    """An object is no valid PodTask. The message lists every problem, each with its path."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Metadata(Model):
    """What of an object's metadata is read here; the server alone judges and writes it."""

    name: str | None = None
    """name of the object."""
    namespace: str | None = None
    """namespace of the object."""
    uid: str | None = None
    """uid tells this object from an earlier one of the same name."""
    resource_version: str | None = None
    """resourceVersion changes with each write."""
    generation: Int | None = None
    """generation changes with each write of spec."""
    creation_timestamp: Timestamp | None = None
    """creationTimestamp by the API server's clock."""
    deletion_timestamp: Timestamp | None = None
    """deletionTimestamp is set while the object waits for its finalizers."""
    labels: dict[str, str] | None = None
    """labels of the object."""
    annotations: dict[str, str] | None = None
    """annotations of the object."""
    finalizers: list[str] | None = None
    """finalizers that hold the object."""
    owner_references: list[Opaque] | None = None
    """ownerReferences of the object."""


class PodTask(Model):
    """PodTask runs one containerised task in a Pod: retried by rule, held to deadlines, its result in the status."""

    api_version: Literal["podtask.dev/v1alpha1"]
    """apiVersion is the versioned schema of this object, podtask.dev/v1alpha1."""
    kind: Literal["PodTask"]
    """kind is PodTask."""
    metadata: Metadata
    """metadata as every object of Kubernetes has it."""
    spec: PodTaskSpec
    """spec is what the user wants: what to run, how it may fail, how it is run and what stays of it."""
    status: PodTaskStatus | None = None
    """status is the whole story of the task, written by the controller alone."""


def parse(obj: Mapping[str, Any]) -> PodTask:
    """Read an object as the API server sends it; raise InvalidPodTaskError with all that is wrong with it."""
    problems = [str(violation) for violation in rules.violations(obj)]
    try:
        task = PodTask.model_validate(obj)
    except ValidationError as error:
        problems = [_worded(problem) for problem in error.errors(include_url=False, include_context=False)] + problems
        raise InvalidPodTaskError(problems) from error
    if problems:
        raise InvalidPodTaskError(problems)
    return task


def dump(model: BaseModel) -> dict[str, Any]:
    """Write a part of the API as JSON: wire names, and only what was set."""
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _worded(problem: Mapping[str, Any]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    return f"{path or '(object)'}: {problem['msg']}"
