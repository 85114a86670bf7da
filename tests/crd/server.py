"""A few lines of HTTP to a real API server: the answer and its status, nothing retried, nothing hidden."""

import base64
import http.client
import json
import ssl
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from tests.harness import HANG_SECONDS

Json = Any

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

_IDLE_SECONDS = 60.0
"""The server closes what was idle for 90 s."""


class Server:
    """One connection, as the kubeconfig's user."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self._address = urlsplit(cluster["server"]).netloc
        self._tls = ssl.create_default_context(cadata=_part(cluster, "certificate-authority"))
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = Path(folder, "client.crt"), Path(folder, "client.key")
            certificate.write_text(_part(user, "client-certificate"))
            key.touch(mode=0o600)
            key.write_text(_part(user, "client-key"))
            self._tls.load_cert_chain(certificate, key)
        self._connection = self._connect()
        self._used = time.monotonic()

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._address, context=self._tls, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Json = None, kind: str = "application/json") -> tuple[int, Json]:
        encoded = None if body is None else json.dumps(body).encode()
        if time.monotonic() - self._used > _IDLE_SECONDS:
            self._connection.close()  # it is opened anew by the next request
        self._used = time.monotonic()
        self._connection.request(method, path, encoded, {"Content-Type": kind, "Accept": "application/json"})
        reply = self._connection.getresponse()
        return reply.status, json.loads(reply.read())

    def watch(self, path: str) -> Generator[tuple[str, Json], None, None]:
        """The events of a watch, from the moment that it stands."""
        connection = self._connect()
        try:
            for _ in range(HANG_SECONDS):
                connection.request("GET", path)
                reply = connection.getresponse()
                if reply.status != 429:
                    break
                # "storage is (re)initializing", after a change of the CRD, with the time after which to ask again.
                reply.read()
                time.sleep(float(reply.headers.get("Retry-After", 1)))
            assert reply.status == 200, reply.read()
            yield "STANDS", None
            while line := reply.readline():
                event = json.loads(line)
                yield event["type"], event["object"]
        finally:
            connection.close()


class PodTasks:
    """The PodTasks of one namespace."""

    def __init__(self, server: Server, namespace: str) -> None:
        self._server = server
        self.namespace = namespace
        self.path = f"/apis/podtask.dev/v1alpha1/namespaces/{namespace}/podtasks"

    def create(self, obj: Json, *, strict: bool = True) -> tuple[int, Json]:
        return self._server.call("POST", f"{self.path}?fieldValidation={'Strict' if strict else 'Warn'}", obj)

    def get(self, name: str) -> Json:
        status, obj = self._server.call("GET", f"{self.path}/{name}")
        assert status == 200, obj
        return obj

    def names(self, selector: str) -> list[str]:
        _, found = self._server.call("GET", f"{self.path}?fieldSelector={quote(selector)}")
        return sorted(item["metadata"]["name"] for item in found["items"])

    def replace(self, name: str, part: str, value: Json) -> tuple[int, Json]:
        """Put a part of the object in place of what is there; None removes it."""
        obj = self.get(name)
        obj.pop(part, None)
        obj |= {} if value is None else {part: value}
        return self._server.call("PUT", f"{self.path}/{name}{'/status' if part == 'status' else ''}", obj)

    def patch(self, name: str, body: Json, *, status: bool = False, kind: str = MERGE) -> tuple[int, Json]:
        return self._server.call("PATCH", f"{self.path}/{name}{'/status' if status else ''}", body, kind)

    def watch(self, selector: str) -> Generator[tuple[str, Json], None, None]:
        yield from self._server.watch(f"{self.path}?watch=1&timeoutSeconds=60&fieldSelector={quote(selector)}")

    def delete_all(self) -> None:
        self._server.call("DELETE", self.path)


def _part(entry: Json, name: str) -> str:
    if f"{name}-data" in entry:
        return base64.b64decode(entry[f"{name}-data"]).decode()
    return Path(entry[name]).read_text()
