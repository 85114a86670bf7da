"""The whole object, as the CRD describes it."""

from typing import Any, Literal

from ..types import Model
from .spec import PodTaskSpec
from .status import PodTaskStatus


class PodTask(Model):
    """PodTask runs a container to completion in a Pod, with retries, deadlines and a result in its status."""

    api_version: Literal["podtask.dev/v1alpha1"]
    """Version of the schema of this object: podtask.dev/v1alpha1."""
    kind: Literal["PodTask"]
    """Kind of this object: PodTask."""
    metadata: dict[str, Any]
    """Metadata of the object."""
    spec: PodTaskSpec
    """The desired state: what to run, when to retry, time limits, and what is kept after the end."""
    status: PodTaskStatus | None = None
    """The observed state: phase, attempts and result. Only the controller writes it."""
