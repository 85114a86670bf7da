"""The Lease on the wire: one small object that says which process works, and for how long it may go on.

Every write names the version that was judged, so of two processes that reach for the Lease one meets a Conflict. The
times in it are for people: what they mean for us is decided in `runtime.election`, by our own clock alone.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import orjson

from . import client

LEASES = client.Resource("/apis/coordination.k8s.io/v1", "leases")


class Record(NamedTuple):
    """One version of the Lease."""

    version: str
    holder: str
    """Empty where it was let go."""
    duration_seconds: int
    transitions: int


class _Meta(msgspec.Struct):
    resource_version: str = msgspec.field(name="resourceVersion")


class _Spec(msgspec.Struct):
    holder: str | None = msgspec.field(name="holderIdentity", default=None)
    duration_seconds: int | None = msgspec.field(name="leaseDurationSeconds", default=None)
    transitions: int | None = msgspec.field(name="leaseTransitions", default=None)


class _Lease(msgspec.Struct):
    metadata: _Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)


_lease = msgspec.json.Decoder(_Lease)


class LeaseClient:
    """One Lease, and who we are to it. Everything here raises `errors.ApiError`."""

    def __init__(
        self,
        api: client.Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        duration_seconds: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`identity` belongs to this process and to no other, not even to the one that was here before it."""
        self._api = api
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._duration_seconds = duration_seconds
        self._now = now

    async def read(self) -> Record:
        """Read it live; NotFound where there is none."""
        return _record(await self._api.get(LEASES, self._namespace, self._name))

    async def create(self) -> Record:
        """Make it, ours from the first; Conflict where somebody was faster."""
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._claim(transitions=0),
        }
        return _record(await self._api.create(LEASES, self._namespace, orjson.dumps(body)))

    async def take(self, record: Record) -> Record:
        """Take it from whoever holds this version of it."""
        return await self._patch(record, self._claim(transitions=record.transitions + 1))

    async def renew(self, record: Record) -> Record:
        """Say that we are still there."""
        return await self._patch(record, {"renewTime": self._stamp()})

    async def release(self, record: Record) -> None:
        """Let it go, for the next to take at once."""
        await self._patch(record, {"holderIdentity": None, "renewTime": self._stamp()})

    async def watch(self, record: Record) -> AsyncGenerator[Record | None, None]:
        """Follow what comes after this version; None where it is deleted."""
        # By name, so that RBAC can grant it by name.
        fields = f"metadata.name={self._name}"
        stream = self._api.watch(LEASES, namespace=self._namespace, fields=fields, resource_version=record.version)
        async with aclosing(stream):
            async for event in stream:
                if event.type is client.EventType.DELETED:
                    yield None
                elif event.type is not client.EventType.BOOKMARK:
                    yield _record(event.object)

    def _claim(self, *, transitions: int) -> dict[str, Any]:
        at = self._stamp()
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._duration_seconds,
            "leaseTransitions": transitions,
            "acquireTime": at,
            "renewTime": at,
        }

    async def _patch(self, record: Record, spec: dict[str, Any]) -> Record:
        body = orjson.dumps({"metadata": {"resourceVersion": record.version}, "spec": spec})
        return _record(await self._api.patch(LEASES, self._namespace, self._name, body, client.PatchType.MERGE))

    def _stamp(self) -> str:
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _record(raw: bytes) -> Record:
    lease = _lease.decode(raw)
    spec = lease.spec
    return Record(lease.metadata.resource_version, spec.holder or "", spec.duration_seconds or 0, spec.transitions or 0)
