"""The parts that PodTasks and Pods share, in the shape of the API server's JSON."""

from datetime import datetime

import msgspec


class View(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """A part of an object, in the shape of the API server's JSON."""


class OwnerReference(View, frozen=True):
    """An entry of metadata.ownerReferences."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Metadata(View, frozen=True):
    """The metadata of an object, with the fields that decisions need."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = "0"
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()
