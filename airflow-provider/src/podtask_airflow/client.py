"""The only place that speaks HTTP: a small synchronous client for one cluster, safe to share between threads.

The kubernetes package gives credentials, TLS and the connection pool; its model classes are never built, objects stay
dictionaries. What fails for a while is tried again within a budget; what was refused becomes one of `errors`. Watches
and logs are streams that any thread may close.
"""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from . import errors, names

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

BUDGET_SECONDS = 60.0
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
SILENCE_SECONDS = 150.0
"""A watch hears at least a bookmark each minute; one that is silent for longer is dead."""
LOG_SILENCE_SECONDS = 300.0
"""A container may have nothing to say. A cut that nobody announced is found after this time, and nothing is lost."""
WATCH_SECONDS = 270
LONGEST_DELAY = 10.0
CHUNK = 64 * 1024

_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_NOT_APPLIED = "the server rejected our request due to an error in our request"
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

JSON = dict[str, Any]
Operations = list[JSON]
T = TypeVar("T")


class Stream:
    """An open reply, read as lines. It may be closed from any thread, which ends the reading at once and quietly."""

    def __init__(self, response: Any, doing: str, forget: Callable[[Stream], None]) -> None:
        self._response = response
        self._doing = doing
        self._forget = forget
        self._closed = threading.Event()
        self.cut = False
        """Whether the last line that was given had no end."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._lines()
        finally:
            self._forget(self)
            self._release()

    def _lines(self) -> Iterator[bytes]:
        pending = bytearray()
        for chunk in self._chunks():
            seen = len(pending)
            pending += chunk
            end = pending.find(b"\n", seen)
            begin = 0
            while end >= 0:
                yield bytes(pending[begin:end])
                begin = end + 1
                end = pending.find(b"\n", begin)
            del pending[:begin]
        if pending and not self._closed.is_set():
            self.cut = True
            yield bytes(pending)

    def _chunks(self) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        try:
            for chunk in self._response.stream(CHUNK, decode_content=True):
                if self._closed.is_set():
                    return
                yield chunk
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            # The last two come from a socket that was closed under the reader's feet.
            if self._closed.is_set():
                return
            raise errors.Unreachable(_said(error), doing=self._doing) from error

    def close(self) -> None:
        """End it. A thread that is reading wakes up and finds the end."""
        self._closed.set()
        wire = _socket_of(self._response)
        if wire is not None:
            try:
                wire.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _release(self) -> None:
        """Give the connection back where it was read to its end, else end it."""
        from urllib3.exceptions import HTTPError

        try:
            if self._closed.is_set() or not getattr(self._response, "closed", True):
                self._response.close()
            self._response.release_conn()
        except (HTTPError, OSError):
            return


def _socket_of(response: Any) -> Any:
    """The socket under a reply. Where the server announced to close, it stands in another place."""
    wire = getattr(getattr(response, "connection", None), "sock", None)
    if wire is None:
        raw = getattr(getattr(getattr(response, "_fp", None), "fp", None), "raw", None)
        wire = getattr(raw, "_sock", None)
    return wire


class Watch:
    """The changes of a watch as (type, object), bookmarks too. Raises Expired when its version is too old."""

    def __init__(self, stream: Stream, doing: str) -> None:
        self._stream = stream
        self._doing = doing

    def __iter__(self) -> Iterator[tuple[str, JSON]]:
        for line in self._stream:
            try:
                event = json.loads(line)
            except ValueError:
                raise errors.Unreachable("a watch ended within a line", doing=self._doing) from None
            if event["type"] == "ERROR":
                raise errors.of_status(event["object"], doing=self._doing)
            yield event["type"], event["object"]

    def close(self) -> None:
        """End it, from any thread."""
        self._stream.close()


class Client:
    """One cluster. `connect` gives a fresh kubernetes ApiClient, and is called again when a token has expired."""

    def __init__(self, connect: Callable[[], ApiClient], *, budget: float = BUDGET_SECONDS) -> None:
        self._connect = connect
        self._budget = budget
        self._lock = threading.Lock()
        self._api: ApiClient | None = None
        self._streams: set[Stream] = set()
        self._closed = threading.Event()

    # PodTasks

    def create(self, namespace: str, body: JSON) -> JSON:
        """POST it. Trying again is safe, as the caller has named the object: Conflict then means to look at it."""
        doing = f"create a PodTask in namespace {namespace}"
        return self._json("POST", _path(namespace), doing, {"fieldValidation": "Strict"}, body=body)

    def get(self, namespace: str, name: str) -> JSON:
        """The object, or NotFound."""
        return self._json("GET", _path(namespace, name), f"get PodTask {name} in namespace {namespace}")

    def list(self, namespace: str, selector: str = "", page: int = 500) -> Iterator[JSON]:
        """Each object that the selector picks, page by page."""
        for document in self._pages(namespace, selector, page, None):
            yield from document["items"]

    def patch(self, namespace: str, name: str, ops: Operations) -> JSON:
        """JSON patch; its reply is the object. PatchTestFailed where a `test` did not hold.

        A patch may be applied twice (a reply can be lost), so let no operation spoil its own test.
        """
        doing = f"patch PodTask {name} in namespace {namespace}"
        try:
            return self._json("PATCH", _path(namespace, name), doing, body=ops, content_type=_JSON_PATCH)
        except errors.Invalid as error:
            # The API server gives no reason for a patch that could not be applied; a refused object has one.
            if error.status == 422 and error.message == _NOT_APPLIED:
                raise errors.PatchTestFailed("a test did not hold", doing=doing, status=422) from None
            raise

    def merge(self, namespace: str, name: str, body: JSON) -> JSON:
        """JSON merge patch; its reply is the object."""
        doing = f"patch PodTask {name} in namespace {namespace}"
        return self._json("PATCH", _path(namespace, name), doing, body=body, content_type=_MERGE_PATCH)

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
        """Every change after that version: of one object, or of all that the selector picks."""
        doing = f"watch podtasks in namespace {namespace}"
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
        stream = self._stream(_path(namespace), doing, query, SILENCE_SECONDS, accept=accept)
        return Watch(stream, doing)

    def tables(self, namespace: str, selector: str = "", page: int = 500) -> Iterator[JSON]:
        """The same objects as the columns that kubectl prints, page by page: no spec and no result travels."""
        return self._pages(namespace, selector, page, _TABLE)

    # Pods

    def pod(self, namespace: str, name: str) -> JSON:
        """A Pod; needs a right that is not needed otherwise."""
        return self._json("GET", _pod_path(namespace, name), f"get pod {name} in namespace {namespace}")

    def events(self, namespace: str, uid: str) -> Sequence[JSON]:
        """The events of one object, oldest first; needs a right that is not needed otherwise."""
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": "500", "resourceVersion": "0"}
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/events"
        found = self._json("GET", path, f"list events in namespace {namespace}", query)["items"]
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
        tail_lines: int | None = None,
    ) -> Stream:
        """A container's log, line by line without the line's end. `since` is RFC 3339, and works by the second."""
        query = {
            "container": container,
            "follow": "true" if follow else "",
            "timestamps": "true" if timestamps else "",
            "sinceTime": since or "",
            "tailLines": "" if tail_lines is None else str(tail_lines),
        }
        silence = LOG_SILENCE_SECONDS if follow else READ_SECONDS
        doing = f"read the log (pods/log) of pod {pod} in namespace {namespace}"
        return self._stream(f"{_pod_path(namespace, pod)}/log", doing, query, silence, accept="*/*")

    @property
    def is_closed(self) -> bool:
        """Whether nobody wants it any more."""
        return self._closed.is_set()

    def close(self) -> None:
        """End all streams and waits, and let go of the connections."""
        self._closed.set()
        with self._lock:
            streams, api = list(self._streams), self._api
        for stream in streams:
            stream.close()
        if api is not None:
            api.rest_client.pool_manager.clear()

    # Requests

    def _pages(self, namespace: str, selector: str, page: int, accept: str | None) -> Iterator[JSON]:
        doing = f"list podtasks in namespace {namespace}"
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
    ) -> JSON:
        headers = {"Accept": accept or "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
            body = json.dumps(body).encode()

        def read(response: Any) -> JSON:
            document: JSON = json.loads(_body(response))
            return document

        return self._retried(method, path, doing, query or {}, headers, body, READ_SECONDS, read)

    def _stream(self, path: str, doing: str, query: dict[str, str], silence: float, *, accept: str) -> Stream:
        def keep(response: Any) -> Stream:
            stream = Stream(response, doing, self._forget)
            with self._lock:
                self._streams.add(stream)
            if self._closed.is_set():
                stream.close()
            return stream

        return self._retried("GET", path, doing, query, {"Accept": accept}, None, silence, keep)

    def _forget(self, stream: Stream) -> None:
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
        silence: float,
        read: Callable[[Any], T],
    ) -> T:
        """Try until it works, is refused for good, or the budget is spent. A first 401 renews the credentials."""
        url = path + ("?" + urlencode({key: value for key, value in query.items() if value}) if query else "")
        end = time.monotonic() + self._budget
        renewed = False
        attempt = 0
        while True:
            api = self._current()
            try:
                return self._once(api, method, url, doing, headers, body, silence, read)
            except errors.Unauthorized:
                if renewed:
                    raise
                renewed = True
                self._renew(api)
            except errors.ApiError as error:
                delay = _delay(attempt, error.retry_after)
                if error.lasting or isinstance(error, errors.Expired) or time.monotonic() + delay > end:
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
        silence: float,
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
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=silence),
                preload_content=False,
                retries=False,
            )
            if response.status < 300:
                return read(response)
            said = _body(response)
        except urllib3.exceptions.SSLError as error:
            kind = errors.Untrusted if "CERTIFICATE" in str(error).upper() else errors.Unreachable
            raise kind(_said(error), doing=doing) from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise errors.Unreachable(_said(error), doing=doing) from error
        raise errors.of_reply(response.status, said, doing=doing, retry_after=_retry_after(response))

    def _current(self) -> ApiClient:
        with self._lock:
            if self._api is None:
                self._api = self._connect()
            return self._api

    def _renew(self, used: ApiClient) -> None:
        """Make fresh credentials, once for all threads that met the same 401. Open streams keep their connection."""
        with self._lock:
            if self._api is used:
                self._api = self._connect()


def _path(namespace: str, name: str = "") -> str:
    path = f"/apis/{names.API_VERSION}/namespaces/{quote(namespace, safe='')}/{names.PLURAL}"
    return f"{path}/{quote(name, safe='')}" if name else path


def _pod_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"


def _body(response: Any) -> bytes:
    """Read a reply to its end, which gives its connection back to the pool."""
    try:
        content: bytes = response.read(decode_content=True)
        return content
    finally:
        response.release_conn()


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _retry_after(response: Any) -> float | None:
    try:
        return float(response.headers.get("Retry-After", ""))
    except ValueError:
        return None


def _delay(attempt: int, asked: float | None) -> float:
    """Longer each time, and spread: a thousand tasks that met the same outage do not come back together."""
    delay = min(0.2 * 2.0**attempt, LONGEST_DELAY) * random.uniform(0.5, 1.0)  # noqa: S311
    return delay if asked is None else asked + delay
