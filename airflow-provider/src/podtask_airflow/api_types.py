"""Shapes of the Kubernetes objects that the provider reads and writes, in the API's own spelling.

Only the fields that the provider looks at are listed; the API server returns more. A field may be missing unless the
API requires it.
"""

from __future__ import annotations

from typing import Any, TypedDict

Json = Any
"""JSON data, or a value in it that Airflow resolves later."""
JsonObject = dict[str, Any]
"""A JSON object of the Kubernetes API whose fields the provider passes on without naming them: a Pod or a part of one,
a container, a volume, the spec of a PodTask."""


class ObjectMeta(TypedDict, total=False):
    """`metadata` of an object."""

    name: str
    namespace: str
    uid: str
    resourceVersion: str
    creationTimestamp: str
    deletionTimestamp: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Attempt(TypedDict, total=False):
    """One entry of `status.attempts`: a Pod that the controller created for the task."""

    number: int
    podName: str
    nodeName: str
    reason: str
    message: str
    exitCode: int
    logTail: str


class XComStatus(TypedDict, total=False):
    """`status.xcom`: the task's result as JSON text, or why there is none."""

    state: str
    value: str
    message: str


class PodTaskStatus(TypedDict, total=False):
    """`status` of a PodTask. The controller alone writes it."""

    phase: str
    reason: str
    message: str
    exitCode: int
    observedGeneration: int
    attempts: list[Attempt]
    xcom: XComStatus


class PodTask(TypedDict, total=False):
    """A PodTask, or a list entry or watch event's object of that kind."""

    apiVersion: str
    kind: str
    metadata: ObjectMeta
    spec: JsonObject
    status: PodTaskStatus


class JsonPatchOperation(TypedDict, total=False):
    """One operation of a JSON patch (RFC 6902)."""

    op: str
    path: str
    value: Any


JsonPatch = list[JsonPatchOperation]
