"""What the wire's tests share: an API server of plain HTTP that says what a test wants, and a wire that can be cut.

`FakeApi` is for what no real API server can be brought to do (half a reply, a 429). `Wire` stands before the real one,
passes bytes on, counts connections, and cuts them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.server
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import kubernetes.client  # noqa: F401 (it loads for seconds on a busy machine: not within a test)
from podtask_airflow.hooks import cluster_config
from podtask_airflow.hooks import podtask as hook

HANG_SECONDS = 180
"""The bound on one wait. It ends a hang and decides no test; as in tests/harness, which is not seen from here."""


def client_of(kubeconfig: Path | str, **more: Any) -> hook.PodTaskClient:
    """A client by a kubeconfig file, as the operator makes it."""
    resolved = cluster_config.resolve(
        cluster_config.ClusterRef(conn_id=None, config_file=str(kubeconfig)), no_connection
    )
    return hook.PodTaskClient(resolved.api_client_factory, **more)


def no_connection(conn_id: str) -> Any:
    """An Airflow without connections."""
    raise AssertionError(f"connection {conn_id} is not needed")


def task(name: str, **more: Any) -> dict[str, Any]:
    """A PodTask."""
    metadata = {"name": name, **more.pop("metadata", {})}
    return {
        "apiVersion": "podtask.dev/v1alpha1",
        "kind": "PodTask",
        "metadata": metadata,
        "spec": {"image": "example.com/x", "managedBy": "tests.example.com/none"},
        **more,
    }


def status(code: int, reason: str, message: str) -> bytes:
    """A Kubernetes Status."""
    return json.dumps({"kind": "Status", "code": code, "reason": reason, "message": message}).encode()


def kubeconfig_of(server: str, path: Path, user: dict[str, Any] | None = None, **cluster: Any) -> Path:
    """Write a kubeconfig."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(document))
    return path


@dataclass
class Request:
    """One request, and the means to answer it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    handler: Any
    number: int

    def reply(self, code: int, body: bytes = b"", **headers: str) -> None:
        """A whole reply."""
        self.handler.send_response(code)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.send_header("Content-Length", str(len(body)))
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def json(self, document: Any, code: int = 200) -> None:
        """A whole reply of JSON."""
        self.reply(code, json.dumps(document).encode())

    def begin(self) -> None:
        """A reply in chunks."""
        self.handler.send_response(200)
        self.handler.send_header("Transfer-Encoding", "chunked")
        self.handler.end_headers()

    def chunk(self, data: bytes) -> None:
        """One of them; an empty one is the proper end."""
        self.handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.handler.wfile.flush()

    def cut(self) -> None:
        """End the connection without a word."""
        self.handler.close_connection = True
        with contextlib.suppress(OSError):
            self.handler.connection.shutdown(socket.SHUT_RDWR)


Answer = Callable[[Request], None]


class FakeApi:
    """A context manager. `answer` is called for each request, in a thread of the connection's."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self._lock = threading.Lock()

    def __enter__(self) -> FakeApi:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                api.connections += 1

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle()

            def do_any(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with api._lock:
                    request = Request(
                        self.command,
                        parts.path,
                        dict(parse_qsl(parts.query)),
                        {name.lower(): value for name, value in self.headers.items()},
                        body,
                        self,
                        len(api.requests) + 1,
                    )
                    api.requests.append(request)
                api.answer(request)

            do_GET = do_POST = do_PATCH = do_DELETE = do_any  # noqa: N815 (the library's names)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


@dataclass
class Wire:
    """A context manager: a TCP port that leads to the API server of a kubeconfig."""

    kubeconfig: Path
    connections: int = 0
    is_open: bool = True
    limit: int | None = None
    """Cut a connection after so many bytes from the server, once each; None: never."""
    _pairs: list[tuple[socket.socket, socket.socket]] = field(default_factory=list)

    def __enter__(self) -> Wire:
        self.document = json.loads(self.kubeconfig.read_text())
        parts = urlsplit(self.document["clusters"][0]["cluster"]["server"])
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def write(self, path: Path) -> Path:
        """A kubeconfig that leads through here."""
        document = json.loads(json.dumps(self.document))
        cluster = document["clusters"][0]["cluster"]
        cluster["tls-server-name"] = self._target[0]
        cluster["server"] = f"https://127.0.0.1:{self.port}"
        path.write_text(json.dumps(document))
        return path

    def cut(self) -> None:
        """Cut what is open now."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _end(*pair)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                if not self.is_open:
                    here.close()
                    continue
                self.connections += 1
                try:
                    there = socket.create_connection(self._target)
                except OSError:
                    here.close()
                    continue
                self._pairs.append((here, there))
                for a, b, is_answer in ((here, there, False), (there, here, True)):
                    threading.Thread(target=self._pass, args=(a, b, is_answer), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        left = self.limit if is_answer else None
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                sink.sendall(data)
                if left == 0:
                    break
        _end(source, sink)


def _end(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def fake(answer: Answer, tmp_path: Path, **more: Any) -> Iterator[tuple[FakeApi, hook.PodTaskClient]]:
    """A fake API server and a client of it."""
    with FakeApi(answer) as api:
        wired = client_of(kubeconfig_of(api.url, tmp_path / f"kubeconfig-{api.url.rsplit(':', 1)[1]}"), **more)
        try:
            yield api, wired
        finally:
            wired.close()


class Pauses(threading.Event):
    """Records the requested pauses, and returns at once. After `count` times it is set."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.asked: list[float] = []
        self._count = count

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout or 0)
        if len(self.asked) >= self._count:
            self.set()
        return self.is_set()

    def clear(self) -> None:
        """Stay as it is."""


def resolving(path: Path) -> Any:
    """Resolves each connection to this kubeconfig, for an informer."""

    async def resolve(of: cluster_config.ClusterRef) -> cluster_config.ClusterConfig:
        return cluster_config.resolve(cluster_config.ClusterRef(conn_id=None, config_file=str(path)), no_connection)

    return resolve


async def until(condition: Callable[[], object], seconds: float = HANG_SECONDS) -> None:
    """Look again and again, where no event tells."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def until_true(condition: Callable[[], object], seconds: float = HANG_SECONDS) -> None:
    """The same for tests without a loop."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.05)


def make(
    kubeconfig: Path, place: str, count: int, stem: str, labels: dict[str, str], weight: int = 0
) -> dict[str, str]:
    """Many tasks: name → uid."""
    one = client_of(kubeconfig)

    def create(number: int) -> tuple[str, str]:
        made = task(f"{stem}-{number}", metadata={"labels": labels})
        made["spec"]["env"] = [{"name": "WEIGHT", "value": "x" * weight}]
        return made["metadata"]["name"], one.create(place, made)["metadata"]["uid"]

    with ThreadPoolExecutor(8) as pool:
        return dict(pool.map(create, range(count)))


class Admin:
    """The real API server, with all rights, for what a test sets up and looks at."""

    def __init__(self, kubeconfig: Path) -> None:
        resolved = cluster_config.resolve(
            cluster_config.ClusterRef(conn_id=None, config_file=str(kubeconfig)), no_connection
        )
        self._api = resolved.api_client_factory()
        self.server = self._api.configuration.host
        self.ca = Path(self._api.configuration.ssl_ca_cert).read_text()

    def __call__(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        reply = self._api.rest_client.pool_manager.request(
            method, self.server + path, body=None if body is None else json.dumps(body), headers={"Content-Type": kind}
        )
        assert reply.status < 300, (method, path, reply.status, reply.data)
        return json.loads(reply.data) if reply.data.startswith(b"{") else reply.data.decode()

    def namespace(self) -> str:
        """A fresh one."""
        prefix = os.environ.get("PODTASK_TEST_NAMESPACE_PREFIX", "airflow")
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def drop(self, namespace: str) -> None:
        """Delete what is in it and it. A cluster without controllers keeps a namespace that is going."""
        self("DELETE", f"{tasks_path(namespace)}?gracePeriodSeconds=0")
        self("DELETE", f"/api/v1/namespaces/{namespace}")

    def finish(self, namespace: str, name: str, phase: str = "Succeeded", **more: Any) -> Any:
        """What the controller would write."""
        body = {"status": {"phase": phase, "observedGeneration": 1, **more}}
        return self("PATCH", f"{tasks_path(namespace)}/{name}/status", body, "application/merge-patch+json")

    def watches(self) -> int:
        """How many watches of PodTasks the API server holds open, of all clients."""
        found = re.findall(r"^apiserver_longrunning_requests{([^}]*)} (\d+)", self("GET", "/metrics"), re.MULTILINE)
        return sum(int(n) for labels, n in found if 'resource="podtasks"' in labels and 'verb="WATCH"' in labels)

    def account(self, namespace: str, name: str, verbs: list[str]) -> None:
        """A ServiceAccount that may do this with PodTasks."""
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        self("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
        if verbs:
            self.grant(namespace, name, verbs, rbac)

    def grant(
        self, namespace: str, name: str, verbs: list[str], rbac: str = "/apis/rbac.authorization.k8s.io/v1"
    ) -> None:
        """Give it rights."""
        rule = {"apiGroups": ["podtask.dev"], "resources": ["podtasks"], "verbs": verbs}
        self("POST", f"{rbac}/namespaces/{namespace}/roles", {"metadata": {"name": name}, "rules": [rule]})
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
        self("POST", f"{rbac}/namespaces/{namespace}/rolebindings", binding)

    def token(self, namespace: str, account: str, secret: str) -> str:
        """A token that ends with the Secret that it is bound to."""
        made = self("POST", f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": secret}})
        bound = {"kind": "Secret", "apiVersion": "v1", "name": secret, "uid": made["metadata"]["uid"]}
        body = {"spec": {"boundObjectRef": bound, "expirationSeconds": 3600}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return str(self("POST", path, body)["status"]["token"])

    def kubeconfig(self, path: Path, user: dict[str, Any]) -> Path:
        """A kubeconfig of this server for another user."""
        authority = base64.b64encode(self.ca.encode()).decode()
        return kubeconfig_of(self.server, path, user, **{"certificate-authority-data": authority})


def tasks_path(namespace: str) -> str:
    """Where PodTasks are."""
    return f"/apis/podtask.dev/v1alpha1/namespaces/{namespace}/podtasks"
