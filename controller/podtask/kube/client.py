"""The narrow door to the API server: what the controller may ask of it, as a protocol.

The controller needs ten verbs. Naming them here, and nothing else, keeps the RBAC small (a test compares the two),
and lets the simulation put an in-memory model in the server's place. Bodies go out and come back as bytes, so that
each caller decodes into the smallest value it needs (a Pod costs 4 us that way, and 250 us through general models).

Every method raises `errors.ApiError` (or a subclass of it) and nothing else; a request whose reply was lost raises
`errors.ReplyLost`: the write may or may not have happened, and the caller has to look.
"""

import enum
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object: where its URLs are."""

    prefix: str
    """`/api/v1` or `/apis/<group>/<version>`."""
    plural: str


PODS = Resource("/api/v1", "pods")
POD_EVENTS = Resource("/api/v1", "events")
"""Events as the kubelet writes them; in this group they can be selected by the object that they are about."""


class PatchType(enum.StrEnum):
    """Content types of PATCH (https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/)."""

    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"


class EventType(enum.StrEnum):
    """Types of watch events."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class Page(Generic[V]):
    """One page of a LIST: what was read of each item."""

    items: list[V]
    resource_version: str
    continue_token: str
    size_bytes: int = 0
    """Of the answer."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch."""

    type: EventType
    object: bytes


class Client(Protocol):
    """What the controller may ask of the API server."""

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        """Read one object, live from etcd."""
        ...

    async def list_page(
        self,
        resource: Resource,
        *,
        read: Callable[[bytes], V],
        namespace: str = "",
        selector: str = "",
        fields: str = "",
        limit: int = 500,
        continue_token: str = "",
    ) -> Page[V]:
        """Read one page, consistently (no resourceVersion is sent). All namespaces where `namespace` is empty.

        `read` is given the JSON of each item as it arrives, and again where the request has to be sent again.
        `selector` is over labels, `fields` over the few fields that the API server selects a kind by.
        """
        ...

    def watch(
        self, resource: Resource, *, namespace: str = "", selector: str = "", fields: str = "", resource_version: str
    ) -> AsyncGenerator[WatchEvent, None]:
        """Follow changes after `resource_version`, bookmarks included, until the server closes the stream.

        A generator, so that whoever stops reading can close the stream at once (`contextlib.aclosing`).

        Raises `errors.Gone` for a version that is too old, be it as an HTTP status or inside the stream, and
        `errors.WatchSilent` when nothing came for longer than bookmarks allow.
        """
        ...

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        """POST with `fieldValidation=Strict`: a misspelt field is refused and not dropped. Never re-sent by itself."""
        ...

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes,
        patch_type: PatchType,
        *,
        subresource: str = "",
    ) -> bytes:
        """PATCH an object or its subresource."""
        ...

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> None:
        """DELETE with a uid precondition; `errors.Conflict` when the name now belongs to another object."""
        ...

    async def read_log(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> bytes:
        """Read one container's whole log, at most `limit_bytes` of it."""
        ...
