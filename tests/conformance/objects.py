"""What the tests write and read, in plain JSON."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson

from podtask.kube.client import PODS, Client, EventType, PatchType, Resource
from podtask.runtime.decode import PODTASKS
from tests.harness import HANG_SECONDS

Object = dict[str, Any]
FINALIZER = "podtask.dev/outcome"
LABEL = "podtask.dev/task-uid"


@dataclass(frozen=True)
class Scene:
    """A client and a namespace."""

    api: Client
    namespace: str

    async def create_pod(
        self, name: str = "a", *, held: bool = False, labels: Object | None = None, **spec: Any
    ) -> Object:
        """Create a Pod; with `nodeName` it counts as scheduled."""
        meta: Object = {"name": name, "labels": labels or {}}
        if held:
            meta["finalizers"] = [FINALIZER]
        body = {"metadata": meta, "spec": {"containers": [{"name": "base", "image": "x"}], **spec}}
        return await self.create(PODS, body)

    async def create_task(self, name: str = "a", **spec: Any) -> Object:
        """Create a PodTask."""
        body = {"apiVersion": "podtask.dev/v1alpha1", "kind": "PodTask", "metadata": {"name": name}}
        return await self.create(PODTASKS, {**body, "spec": {"image": "x", **spec}})

    async def create(self, resource: Resource, body: Object) -> Object:
        """POST."""
        return _load(await self.api.create(resource, self.namespace, orjson.dumps(body)))

    async def get(self, resource: Resource, name: str = "a") -> Object:
        """GET."""
        return _load(await self.api.get(resource, self.namespace, name))

    async def merge(self, resource: Resource, body: Object, name: str = "a", subresource: str = "") -> Object:
        """PATCH by merge."""
        raw = await self.api.patch(
            resource, self.namespace, name, orjson.dumps(body), PatchType.MERGE, subresource=subresource
        )
        return _load(raw)

    async def strategic(self, resource: Resource, body: Object, name: str = "a") -> Object:
        """PATCH by strategic merge."""
        raw = await self.api.patch(resource, self.namespace, name, orjson.dumps(body), PatchType.STRATEGIC)
        return _load(raw)

    async def release(self, name: str = "a", uid: str = "") -> Object:
        """Take our finalizer off, as the controller does."""
        meta: Object = {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}
        if uid:
            meta["uid"] = uid
        return await self.strategic(PODS, {"metadata": meta}, name)

    async def delete(self, resource: Resource, obj: Object, grace: int | None = None) -> None:
        """DELETE with the uid of the object."""
        meta = obj["metadata"]
        await self.api.delete(resource, self.namespace, meta["name"], uid=meta["uid"], grace_seconds=grace)

    async def watch(
        self, resource: Resource, version: str, count: int, selector: str = ""
    ) -> list[tuple[EventType, str, Object]]:
        """Give the next `count` events but bookmarks: type, name and object."""
        seen: list[tuple[EventType, str, Object]] = []
        stream = self.api.watch(resource, namespace=self.namespace, selector=selector, resource_version=version)
        async with aclosing(stream), asyncio.timeout(HANG_SECONDS):
            async for event in stream:
                if event.type is not EventType.BOOKMARK:
                    obj = _load(event.object)
                    seen.append((event.type, obj["metadata"]["name"], obj))
                if len(seen) == count:
                    break
        return seen


def _load(raw: bytes) -> Object:
    loaded: Object = orjson.loads(raw)
    return loaded
