"""HTTP client for the few requests that starting a cluster needs. Importing a client library would take longer."""

from __future__ import annotations

import functools
import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from .paths import ClusterDirectory

REQUEST_TIMEOUT_SECONDS = 5.0


class ApiClient:
    """Sends requests to one API server as the admin."""

    def __init__(self, directory: ClusterDirectory, server: str) -> None:
        self._directory = directory
        self._target = urlsplit(server)

    def status(self, path: str) -> int:
        """Return the HTTP status of a GET; 0 if the server cannot be reached."""
        return self.request("GET", path)[0]

    def get(self, path: str) -> dict[str, Any] | None:
        """Return the object, or None if it does not exist or the server cannot be reached."""
        status, body = self.request("GET", path)
        if status != http.HTTPStatus.OK:
            return None
        found: dict[str, Any] = json.loads(body)
        return found

    def post(self, path: str, body: dict[str, Any]) -> int:
        """Create an object; return the HTTP status. 409 means that it exists."""
        return self.request("POST", path, json.dumps(body))[0]

    def request(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        """Send one request on a new connection: requests are few, and the server may be restarted between two."""
        host, port = self._target.hostname or "", self._target.port
        connection = http.client.HTTPSConnection(host, port, timeout=REQUEST_TIMEOUT_SECONDS, context=self._tls)
        try:
            connection.request(method, path, body=body, headers={"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        pki = self._directory.pki
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        return context
