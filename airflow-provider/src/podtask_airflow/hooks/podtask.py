"""A synchronous client of one cluster, safe to share between threads. Only this module sends requests.

The kubernetes package provides credentials, TLS and the connection pool; its model classes are not used. Retry policy:
transport errors, 429 and 5xx are retried within a time budget; a 401 renews the credentials once; any other failure is
raised as a class of `api_errors`.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from .. import constants
from ..api_types import JsonObject, JsonPatch, PodTask
from . import api_errors
from .streams import Stream, Watch

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

BUDGET_SECONDS = 60.0
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
WATCH_READ_SECONDS = 150.0
"""Read timeout of a watch. The API server sends a bookmark each minute, so a longer silence means a dead peer."""
LOG_READ_SECONDS = 300.0
"""Read timeout of a followed log. It finds a dead peer; the log is then resumed without a lost line."""
WATCH_SECONDS = 270
MAX_DELAY = 10.0

_JSON_PATCH = "application/json-patch+json"
_NOT_APPLIED = "the server rejected our request due to an error in our request"
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

T = TypeVar("T")


class PodTaskClient:
    """Requests to one cluster. `connect` returns a new ApiClient; it is called again when the token has expired."""

    def __init__(self, connect: Callable[[], ApiClient], *, budget: float = BUDGET_SECONDS) -> None:
        self._connect = connect
        self._budget = budget
        self._lock = threading.Lock()
        self._api: ApiClient | None = None
        self._streams: set[Stream] = set()
        self._closed = threading.Event()

    # PodTasks

    def create(self, namespace: str, body: PodTask) -> PodTask:
        """Create a PodTask and return it. The caller has set the name, so a repeated POST raises Conflict."""
        doing = f"create a PodTask in namespace {namespace}"
        created: PodTask = self._json("POST", _path(namespace), doing, {"fieldValidation": "Strict"}, body=body)
        return created

    def get(self, namespace: str, name: str) -> PodTask:
        """Return a PodTask. Raises NotFound."""
        found: PodTask = self._json("GET", _path(namespace, name), f"get PodTask {namespace}/{name}")
        return found

    def list(self, namespace: str, selector: str = "", page: int = 500) -> Iterator[PodTask]:
        """Return each PodTask that matches the label selector, listing `page` objects per request."""
        for document in self._pages(namespace, selector, page, None):
            yield from document["items"]

    def patch(self, namespace: str, name: str, ops: JsonPatch) -> PodTask:
        """Apply a JSON patch and return the PodTask. Raises PatchTestFailed if a `test` operation fails.

        A patch may be sent twice, because a reply can be lost: no operation may make a test of the same patch fail.
        """
        doing = f"patch PodTask {namespace}/{name}"
        try:
            patched: PodTask = self._json("PATCH", _path(namespace, name), doing, body=ops, content_type=_JSON_PATCH)
        except api_errors.Invalid as error:
            # For a patch that cannot be applied the message has no details; for a rejected object it has.
            if error.status == 422 and error.message == _NOT_APPLIED:
                raise api_errors.PatchTestFailed("a test of the JSON patch failed", doing=doing, status=422) from None
            raise
        return patched

    def watch(
        self,
        namespace: str,
        *,
        name: str = "",
        selector: str = "",
        resource_version: str,
        timeout: int = WATCH_SECONDS,
        table: bool = False,
    ) -> Watch:
        """Watch the changes after a resourceVersion: of one object, or of all that match the label selector.

        `timeout` is in seconds; `table` asks for the columns that kubectl prints instead of the objects.
        """
        doing = f"watch PodTasks in namespace {namespace}"
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout),
            "labelSelector": selector,
            "fieldSelector": f"metadata.name={name}" if name else "",
            "includeObject": "Metadata" if table else "",
        }
        accept = _TABLE if table else "application/json"
        stream = self._stream(_path(namespace), doing, query, WATCH_READ_SECONDS, accept=accept)
        return Watch(stream, doing)

    def tables(self, namespace: str, selector: str = "", page: int = 500) -> Iterator[JsonObject]:
        """List the PodTasks as tables of the columns that kubectl prints, one table a page, without spec and result."""
        return self._pages(namespace, selector, page, _TABLE)

    # Events and logs

    def events(self, namespace: str, uid: str) -> Sequence[JsonObject]:
        """Return the Events of one object, oldest first. Needs the right to list events."""
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": "500", "resourceVersion": "0"}
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/events"
        found = self._json("GET", path, f"list Events in namespace {namespace}", query)["items"]
        return sorted(found, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")

    def pod_log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        since: str | None = None,
        follow: bool = False,
        timestamps: bool = False,
    ) -> Stream:
        """Open a container's log: lines without their newline. `since` is an RFC 3339 time in whole seconds."""
        query = {
            "container": container,
            "follow": "true" if follow else "",
            "timestamps": "true" if timestamps else "",
            "sinceTime": since or "",
        }
        read_seconds = LOG_READ_SECONDS if follow else READ_SECONDS
        doing = f"read the log (pods/log) of Pod {namespace}/{pod}"
        return self._stream(f"{_pod_path(namespace, pod)}/log", doing, query, read_seconds, accept="*/*")

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def close(self) -> None:
        """End all streams and pauses between retries, and close the connections."""
        self._closed.set()
        with self._lock:
            streams, api = list(self._streams), self._api
        for stream in streams:
            stream.close()
        if api is not None:
            api.rest_client.pool_manager.clear()

    # Requests

    def _pages(self, namespace: str, selector: str, page: int, accept: str | None) -> Iterator[JsonObject]:
        doing = f"list PodTasks in namespace {namespace}"
        query = {"labelSelector": selector, "limit": str(page), "includeObject": "Metadata" if accept else ""}
        token = ""
        while True:
            document = self._json("GET", _path(namespace), doing, {**query, "continue": token}, accept=accept)
            yield document
            token = document["metadata"].get("continue") or ""
            if not token:
                return

    def _json(
        self,
        method: str,
        path: str,
        doing: str,
        query: dict[str, str] | None = None,
        *,
        body: Any = None,
        content_type: str = "application/json",
        accept: str | None = None,
    ) -> Any:
        headers = {"Accept": accept or "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
            body = json.dumps(body).encode()

        def read(response: Any) -> Any:
            return json.loads(_body(response))

        return self._retried(method, path, doing, query or {}, headers, body, READ_SECONDS, read)

    def _stream(self, path: str, doing: str, query: dict[str, str], read_seconds: float, *, accept: str) -> Stream:
        def keep(response: Any) -> Stream:
            stream = Stream(response, doing, self._remove)
            with self._lock:
                self._streams.add(stream)
            if self._closed.is_set():
                stream.close()
            return stream

        return self._retried("GET", path, doing, query, {"Accept": accept}, None, read_seconds, keep)

    def _remove(self, stream: Stream) -> None:
        with self._lock:
            self._streams.discard(stream)

    def _retried(
        self,
        method: str,
        path: str,
        doing: str,
        query: dict[str, str],
        headers: dict[str, str],
        body: bytes | None,
        read_seconds: float,
        read: Callable[[Any], T],
    ) -> T:
        """Repeat a request until success, a permanent failure or the end of the budget. A 401 renews the token once."""
        url = path + ("?" + urlencode({key: value for key, value in query.items() if value}) if query else "")
        end = time.monotonic() + self._budget
        renewed = False
        attempt = 0
        while True:
            api = self._current()
            try:
                return self._once(api, method, url, doing, headers, body, read_seconds, read)
            except api_errors.Unauthorized:
                if renewed:
                    raise
                renewed = True
                self._renew(api)
            except api_errors.ApiError as error:
                delay = _delay(attempt, error.retry_after)
                if error.is_permanent or isinstance(error, api_errors.Expired) or time.monotonic() + delay > end:
                    raise
                attempt += 1
                if self._closed.wait(delay):
                    raise

    def _once(
        self,
        api: ApiClient,
        method: str,
        url: str,
        doing: str,
        headers: dict[str, str],
        body: bytes | None,
        read_seconds: float,
        read: Callable[[Any], T],
    ) -> T:
        import urllib3

        configuration = api.configuration
        auth = {setting["key"]: setting["value"] for setting in configuration.auth_settings().values()}
        impersonation = {name: text for name, text in api.default_headers.items() if name.startswith("Impersonate-")}
        try:
            response = api.rest_client.pool_manager.request(
                method,
                configuration.host + url,
                body=body,
                headers={"User-Agent": "podtask-airflow", **impersonation, **auth, **headers},
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds),
                preload_content=False,
                retries=False,
            )
            if response.status < 300:
                return read(response)
            body_ = _body(response)
        except urllib3.exceptions.SSLError as error:
            kind = api_errors.Untrusted if "CERTIFICATE" in str(error).upper() else api_errors.Unreachable
            raise kind(api_errors.text_of(error), doing=doing) from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise api_errors.Unreachable(api_errors.text_of(error), doing=doing) from error
        raise api_errors.of_reply(response.status, body_, doing=doing, retry_after=_retry_after(response))

    def _current(self) -> ApiClient:
        with self._lock:
            if self._api is None:
                self._api = self._connect()
            return self._api

    def _renew(self, used: ApiClient) -> None:
        """Renew the credentials, once for all threads that got the same 401. Open streams keep their connection."""
        with self._lock:
            if self._api is used:
                self._api = self._connect()


def _path(namespace: str, name: str = "") -> str:
    path = f"/apis/{constants.API_VERSION}/namespaces/{quote(namespace, safe='')}/{constants.PLURAL}"
    return f"{path}/{quote(name, safe='')}" if name else path


def _pod_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"


def _body(response: Any) -> bytes:
    """Read a reply to its end, which returns its connection to the pool."""
    try:
        content: bytes = response.read(decode_content=True)
        return content
    finally:
        response.release_conn()


def _retry_after(response: Any) -> float | None:
    try:
        return float(response.headers.get("Retry-After", ""))
    except ValueError:
        return None


def _delay(attempt: int, retry_after: float | None) -> float:
    """Return the pause in seconds: exponential, with jitter, so that tasks do not all retry at once after an outage."""
    delay = min(0.2 * 2.0**attempt, MAX_DELAY) * random.uniform(0.5, 1.0)  # noqa: S311
    return delay if retry_after is None else retry_after + delay
