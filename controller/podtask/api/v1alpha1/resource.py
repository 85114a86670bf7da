"""The whole object, as the CRD describes it."""

from typing import Any, Literal

from ..types import Model
from .spec import PodTaskSpec
from .status import PodTaskStatus


class PodTask(Model):
    """PodTask runs one containerised task in a Pod: retried by rule, held to deadlines, its result in the status."""

    api_version: Literal["podtask.dev/v1alpha1"]
    """apiVersion is the versioned schema of this object, podtask.dev/v1alpha1."""
    kind: Literal["PodTask"]
    """kind is PodTask."""
    metadata: dict[str, Any]
    """metadata as every object of Kubernetes has it."""
    spec: PodTaskSpec
    """spec is what the user wants: what to run, how it may fail, how it is run and what stays of it."""
    status: PodTaskStatus | None = None
    """status is the whole story of the task, written by the controller alone."""
