"""The API server, as far as the controller can tell: verbs on JSON bytes, refused as the real one refuses them.

Everything here happens at once and in order; delays and faults are added by `client.py`. `tests/conformance` runs one
suite of behaviours against this and against a real API server.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

import orjson

from podtask.kube import errors
from podtask.kube.client import Page, PatchType, Resource

from . import patches, pods, podtasks
from .etcd import Etcd, Key, Object

V = TypeVar("V")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_KEPT = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


class Kind(Protocol):
    """What differs from one kind to another."""

    def create(self, obj: Object) -> Object:
        """Validate and complete a new object. Raises `errors.ApiError`."""
        ...

    def update(self, old: Object, new: Object, subresource: str) -> Object:
        """Validate a change, and keep what the subresource may not touch. Raises `errors.ApiError`."""
        ...

    def grace(self, obj: Object, asked: int | None) -> int | None:
        """Seconds between DELETE and removal; None for a kind that knows no grace."""
        ...


def stamp(seconds: float) -> str:
    """Write a moment as the API does: in whole seconds."""
    return (EPOCH + timedelta(seconds=int(seconds))).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> float:
    """Read a moment."""
    return (datetime.fromisoformat(text) - EPOCH).total_seconds()


class Server:
    """One API server with its etcd."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` gives the seconds since `EPOCH`."""
        self.now = now
        self.etcd = Etcd(now)
        self._kinds: dict[str, Kind] = {"pods": pods.Pods(), "podtasks": podtasks.PodTasks()}
        self.admit: Callable[[str, Object], None] = lambda _plural, _obj: None
        """Admission: raises `errors.Forbidden` for what the cluster does not let in."""
        self.events_of: Callable[[str], list[Object]] = lambda _fields: []
        """The Events that a field selector finds."""
        self.sent_at = 0.0
        """When the request that is being carried out was sent."""
        self.sender = ""
        """Which controller sent it; empty for other senders."""
        self._uids = 0
        self._snapshots: dict[str, tuple[str, list[bytes]]] = {}

    def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        """Read one object."""
        key = (resource.plural, namespace, name)
        self._require(key)
        return self.etcd.raw[key]

    def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object as a dict, not to be changed; None where there is none."""
        return self.etcd.get((resource.plural, namespace, name))

    def list_page(
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
        """Read one page of one consistent list: later pages show what was there when the first was read."""
        if resource.plural == "events":
            return Page([read(orjson.dumps(event)) for event in self.events_of(fields)], str(self.etcd.revision), "")
        if continue_token:
            if continue_token not in self._snapshots:
                raise errors.Gone("The provided continue parameter is too old", reason="Expired")
            version, raw = self._snapshots.pop(continue_token)
        else:
            version = str(self.etcd.revision)
            matches = parse_selector(selector)
            raw = [
                self.etcd.raw[resource.plural, obj["metadata"]["namespace"], obj["metadata"]["name"]]
                for obj in self.etcd.scan(resource.plural, namespace)
                if matches(obj["metadata"].get("labels", {}))
            ]
        token = ""
        if len(raw) > limit:
            token = f"{version}-{len(self._snapshots)}-{len(raw)}"
            self._snapshots[token] = (version, raw[limit:])
        return Page(list(map(read, raw[:limit])), version, token)

    def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        """Make a new object."""
        obj: Object = orjson.loads(body)
        obj = self._kinds[resource.plural].create(obj)
        name = obj["metadata"]["name"]
        key = (resource.plural, namespace, name)
        if key in self.etcd.objects:
            raise errors.Conflict(f'{resource.plural} "{name}" already exists', reason="AlreadyExists")
        self.admit(resource.plural, obj)
        self._uids += 1
        meta = {k: v for k, v in obj["metadata"].items() if k not in _KEPT and v not in ([], {})}
        meta |= {"name": name, "namespace": namespace, "uid": f"{self._uids:08x}-{resource.plural}", "generation": 1}
        meta["creationTimestamp"] = stamp(self.now())
        return self.etcd.put(key, {**obj, "metadata": meta})

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes,
        patch_type: PatchType,
        *,
        subresource: str = "",
    ) -> bytes:
        """Change an object or its subresource."""
        if patch_type is PatchType.STRATEGIC and resource.plural != "pods":
            raise errors.ApiError("the body of the request was in an unknown format", code=415)
        key = (resource.plural, namespace, name)
        old = self._require(key)
        apply = patches.merge if patch_type is PatchType.MERGE else patches.strategic
        return self.update(key, apply(old, orjson.loads(body)), subresource)

    def update(self, key: Key, new: Object, subresource: str = "") -> bytes:
        """Write a changed object, against the version and the uid that it carries."""
        old = self._require(key)
        before, meta = old["metadata"], new["metadata"]
        if meta.get("resourceVersion") not in {None, before["resourceVersion"]}:
            raise _modified(key)
        if not subresource and meta.get("uid") not in {None, before["uid"]}:
            raise errors.Invalid("metadata.uid: Invalid value: field is immutable", reason="Invalid")
        meta = {k: v for k, v in meta.items() if k not in _KEPT} | {k: before[k] for k in _KEPT if k in before}
        meta |= {"resourceVersion": before["resourceVersion"], "generation": before["generation"]}
        if "deletionTimestamp" in before and set(meta.get("finalizers", ())) - set(before.get("finalizers", ())):
            raise errors.Invalid("metadata.finalizers: Forbidden: no new finalizers can be added", reason="Invalid")
        new = self._kinds[key[0]].update(old, {**new, "metadata": meta}, subresource)
        if new == old:
            return self.etcd.raw[key]
        if _may_go(new["metadata"]):
            self.etcd.remove(key)
            return orjson.dumps(new)
        return self.etcd.put(key, new)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_seconds: int | None = None,
        finalizer: str = "",
    ) -> None:
        """Delete an object, at once or gracefully. `finalizer` is what a propagation policy adds."""
        key = (resource.plural, namespace, name)
        old = self._require(key)
        meta = dict(old["metadata"])
        if uid and uid != meta["uid"]:
            raise errors.Conflict("Precondition failed: UID in precondition is another", reason="Conflict")
        grace = self._kinds[resource.plural].grace(old, grace_seconds)
        if "deletionTimestamp" in meta:
            meta = _shorten(meta, grace_seconds, self.now())
        else:
            if finalizer:
                meta["finalizers"] = [*meta.get("finalizers", []), finalizer]
            meta |= {
                "deletionTimestamp": stamp(self.now() + (grace or 0)),
                "deletionGracePeriodSeconds": grace or 0,
                "generation": meta["generation"] + 1,
            }
        if _may_go(meta):
            self.etcd.remove(key)
        elif meta != old["metadata"]:
            self.etcd.put(key, {**old, "metadata": meta})

    def _require(self, key: Key) -> Object:
        found = self.etcd.get(key)
        if found is None:
            raise errors.NotFound(f'{key[0]} "{key[2]}" not found', reason="NotFound")
        return found


def parse_selector(selector: str) -> Callable[[dict[str, Any]], bool]:
    """Read a selector of the two forms in use: `key` (is there) and `key=value`."""
    if not selector:
        return lambda _labels: True
    name, equals, value = selector.partition("=")
    return (lambda labels: labels.get(name) == value) if equals else (lambda labels: name in labels)


def _may_go(meta: dict[str, Any]) -> bool:
    return "deletionTimestamp" in meta and not meta.get("finalizers") and not meta["deletionGracePeriodSeconds"]


def _shorten(meta: dict[str, Any], asked: int | None, now: float) -> dict[str, Any]:
    """Bring a deletion that is under way forward; it is never put off, nor moved into the past."""
    left = meta["deletionGracePeriodSeconds"]
    if asked is None or asked >= left:
        return meta
    at = stamp(max(moment(meta["deletionTimestamp"]) - left + asked, now))
    return {**meta, "deletionTimestamp": at, "deletionGracePeriodSeconds": asked}


def _modified(key: Key) -> errors.Conflict:
    return errors.Conflict(
        f'Operation cannot be fulfilled on {key[0]} "{key[2]}": the object has been modified; please apply your '
        "changes to the latest version and try again",
        reason="Conflict",
    )
