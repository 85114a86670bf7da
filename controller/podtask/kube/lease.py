"""Reads and writes the Lease: one small object that names the leader and the time until which it may work.

Every write names the version that was judged, so of two processes that take the Lease at once one gets a Conflict. The
times in it are for people only: `runtime.election` decides by its own clock.
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
    """Empty if the Lease was released."""
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
    """One Lease and the identity that this process holds it by. Every method raises `errors.ApiError`."""

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
        """`identity` has to be unique to this process; the process that it replaced had another."""
        self._api = api
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._duration_seconds = duration_seconds
        self._now = now

    async def read(self) -> Record:
        """Read it from etcd; NotFound if it does not exist."""
        return _record(await self._api.get(LEASES, self._namespace, self._name))

    async def create(self) -> Record:
        """Create it, held by us; Conflict if another process was faster."""
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._claim(transitions=0),
        }
        return _record(await self._api.create(LEASES, self._namespace, orjson.dumps(body)))

    async def take(self, record: Record) -> Record:
        """Take it over from the holder in this version; Conflict if it has changed."""
        return await self._patch(record, self._claim(transitions=record.transitions + 1))

    async def renew(self, record: Record) -> Record:
        """Set the renew time to now."""
        return await self._patch(record, {"renewTime": self._stamp()})

    async def release(self, record: Record) -> None:
        """Give it up, so that another process can take it at once."""
        await self._patch(record, {"holderIdentity": None, "renewTime": self._stamp()})

    async def watch(self, record: Record) -> AsyncGenerator[Record | None, None]:
        """Yield each version after this one; None if it was deleted."""
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
