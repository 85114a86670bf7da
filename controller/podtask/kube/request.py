"""The HTTP request of each verb, as a value.

The functions are pure, so tests check without a server that a create is strict, that a delete has the uid as its
precondition, and that no list may be served from an old cache.
"""

import functools
import re
import urllib.parse
from dataclasses import dataclass, field

import orjson

from . import client

FIELD_MANAGER = "podtask"
_JSON = "application/json"
_PLAIN = re.compile("[a-z0-9-]+")
"""Nearly every name consists of these characters, which need no quoting."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request without the server's address and the credentials."""

    verb: str
    """The Kubernetes verb, as in RBAC and in the metrics."""
    resource: str
    """The plural, followed by a slash and the subresource, if any."""
    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @property
    def is_write(self) -> bool:
        """Whether the request changes anything, so that it must not be repeated without care."""
        return self.method != "GET"

    @property
    def target(self) -> str:
        """Path and query, encoded."""
        return f"{self.path}?{_encoded(tuple(self.query.items()))}" if self.query else self.path


def get(resource: client.Resource, namespace: str, name: str) -> Request:
    """Read one object. No resourceVersion is sent, so the API server reads it from etcd."""
    return Request("get", resource.plural, "GET", _path(resource, namespace, name), headers=_accept())


def list_page(
    resource: client.Resource, *, namespace: str, selector: str, fields: str = "", limit: int, continue_token: str
) -> Request:
    """Read one page of a consistent list."""
    query = {"limit": str(limit)}
    if selector:
        query["labelSelector"] = selector
    if fields:
        query["fieldSelector"] = fields
    if continue_token:
        query["continue"] = continue_token
    return Request("list", resource.plural, "GET", _path(resource, namespace), query, _accept())


def watch(
    resource: client.Resource,
    *,
    namespace: str,
    selector: str,
    fields: str = "",
    resource_version: str,
    timeout_seconds: int,
) -> Request:
    """Watch, with bookmarks. The server ends the stream after `timeout_seconds`."""
    query = {
        "watch": "true",
        "resourceVersion": resource_version,
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(timeout_seconds),
    }
    if selector:
        query["labelSelector"] = selector
    if fields:
        query["fieldSelector"] = fields
    return Request("watch", resource.plural, "GET", _path(resource, namespace), query, _accept())


def create(resource: client.Resource, namespace: str, body: bytes) -> Request:
    """POST a new object. Unknown fields are refused, not dropped."""
    query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
    path = _path(resource, namespace)
    return Request("create", resource.plural, "POST", path, query, _accept() | {"Content-Type": _JSON}, body)


def patch(
    resource: client.Resource,
    namespace: str,
    name: str,
    body: bytes,
    patch_type: client.PatchType,
    *,
    subresource: str,
) -> Request:
    """PATCH an object or its subresource.

    Not strict: during an upgrade the controller may be newer than the CRD, and then a status without the newest
    field is better than no status.
    """
    return Request(
        "patch",
        _join(resource.plural, subresource),
        "PATCH",
        _path(resource, namespace, name, subresource),
        {"fieldManager": FIELD_MANAGER},
        _accept() | {"Content-Type": patch_type.value},
        body,
    )


def delete(resource: client.Resource, namespace: str, name: str, *, uid: str, grace_seconds: int | None) -> Request:
    """DELETE the object that has this uid, and no other of the same name."""
    options: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": uid},
    }
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    path = _path(resource, namespace, name)
    headers = _accept() | {"Content-Type": _JSON}
    return Request("delete", resource.plural, "DELETE", path, {}, headers, orjson.dumps(options))


def read_log(namespace: str, pod: str, container: str, *, limit_bytes: int) -> Request:
    """Read a container's log from its beginning. The kubelet cuts it at `limit_bytes`."""
    query = {"container": container, "limitBytes": str(limit_bytes)}
    path = _path(client.PODS, namespace, pod, "log")
    return Request("get", "pods/log", "GET", path, query, {"Accept": "*/*"})


@functools.lru_cache(maxsize=64)
def _encoded(query: tuple[tuple[str, str], ...]) -> str:
    """Encode a query. It is cached, because all writes of one verb have the same."""
    return urllib.parse.urlencode(query)


def _accept() -> dict[str, str]:
    return {"Accept": _JSON}


def _join(path: str, subresource: str) -> str:
    return f"{path}/{subresource}" if subresource else path


def _path(resource: client.Resource, namespace: str, name: str = "", subresource: str = "") -> str:
    path = resource.prefix
    if namespace:
        path += "/namespaces/" + _quoted(namespace)
    path += "/" + resource.plural
    if name:
        path += "/" + _quoted(name)
    return _join(path, subresource)


def _quoted(part: str) -> str:
    """Quote every special character, slashes included: a name may come from a user's object."""
    return part if _PLAIN.fullmatch(part) else urllib.parse.quote(part, safe="")
