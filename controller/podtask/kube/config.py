"""Where the API server is, and how we prove who we are.

In a Pod the token is a file that the kubelet replaces every hour or so; reading it once at the start would lock the
controller out within a day. It is looked at again every few seconds, and at once when the server refuses it. Outside
of a cluster a kubeconfig may name a program that prints one instead.
"""

import contextlib
import os
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from . import clock, errors

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CHECK_SECONDS = 5.0
_PLUGIN_SECONDS = 20.0
_AHEAD_SECONDS = 60.0
"""A plugin's token is replaced so long before it expires."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A program that prints a short-lived token: a kubeconfig's `exec`, as `aws eks get-token` is one."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Beside our own."""
    api_version: str = "client.authentication.k8s.io/v1"
    cluster: Mapping[str, Any] | None = None
    """Where to, for a plugin that asks for it."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One API server and one identity. Certificates and keys are PEM; `…_data` goes before `…_path`."""

    server: str
    """`https://host:port`, with a path behind it where a proxy wants one."""
    ca_data: bytes = b""
    ca_path: str = ""
    client_cert_data: bytes = field(default=b"", repr=False)
    client_cert_path: str = ""
    client_key_data: bytes = field(default=b"", repr=False)
    client_key_path: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    """Goes before `token`."""
    plugin: Plugin | None = None
    insecure: bool = False
    """Believe any certificate. For development only."""


def in_cluster(environment: Mapping[str, str], directory: Path = _SERVICE_ACCOUNT) -> ClusterConfig:
    """Connect as the service account of the Pod we run in; KeyError outside of a Pod."""
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    return ClusterConfig(
        f"https://{host}:{port}", ca_path=str(directory / "ca.crt"), token_file=str(directory / "token")
    )


def ssl_context(connection: ClusterConfig) -> ssl.SSLContext | None:
    """Build the TLS settings, None for plain HTTP; OSError or ssl.SSLError for unusable certificates."""
    if not connection.server.startswith("https:"):
        return None
    context = ssl.create_default_context(
        cafile=(not connection.ca_data and connection.ca_path) or None,
        cadata=connection.ca_data.decode() or None,
    )
    # Python 3.13 began to demand extensions that the CAs of many clusters do not carry; no other client does.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if connection.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if connection.client_cert_data or connection.client_cert_path:
        _load_client_certificate(context, connection)
    return context


def _load_client_certificate(context: ssl.SSLContext, connection: ClusterConfig) -> None:
    with contextlib.ExitStack() as stack:
        cert, key = connection.client_cert_path, connection.client_key_path
        # OpenSSL reads the pair from files only. mkstemp makes them readable by us alone, and they are gone at once.
        if connection.client_cert_data:
            cert = stack.enter_context(_short_lived_file(connection.client_cert_data))
        if connection.client_key_data:
            key = stack.enter_context(_short_lived_file(connection.client_key_data))
        context.load_cert_chain(cert, key or None)


@contextlib.contextmanager
def _short_lived_file(content: bytes) -> Iterator[str]:
    descriptor, path = tempfile.mkstemp()
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        yield path
    finally:
        Path(path).unlink()


class _PluginStatus(msgspec.Struct):
    token: str = ""
    expires: datetime | None = msgspec.field(name="expirationTimestamp", default=None)


class _PluginAnswer(msgspec.Struct):
    status: _PluginStatus


def ask(plugin: Plugin) -> tuple[str, float]:
    """Run a plugin; gives its token and the seconds that it is good for. Raises TransportError."""
    spec: dict[str, Any] = {"interactive": False}
    if plugin.cluster is not None:
        spec["cluster"] = plugin.cluster
    wish = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    environment = {**os.environ, **plugin.environment, "KUBERNETES_EXEC_INFO": msgspec.json.encode(wish).decode()}
    program = plugin.command[0]
    try:
        done = subprocess.run(
            plugin.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_PLUGIN_SECONDS,
        )
        status = msgspec.json.decode(done.stdout, type=_PluginAnswer).status
    except subprocess.CalledProcessError as fault:
        said = fault.stderr.decode("utf-8", "replace").strip()[-300:]
        raise errors.TransportError(f"not sent: {program} ended with {fault.returncode}: {said}") from fault
    except (OSError, subprocess.TimeoutExpired, msgspec.MsgspecError) as fault:
        # What it printed is not repeated: it may be a token in another form.
        raise errors.TransportError(f"not sent: {program} gave no token: {type(fault).__name__}") from fault
    if not status.token:
        raise errors.TransportError(
            f"not sent: {program} gave no token; client certificates of plugins are not supported"
        )
    if status.expires is None:
        return status.token, float("inf")
    return status.token, (status.expires.astimezone(UTC) - datetime.now(UTC)).total_seconds()


class Token:
    """The bearer token as it is now."""

    def __init__(self, connection: ClusterConfig, *, time_source: clock.Clock = clock.SYSTEM) -> None:
        self._path = Path(connection.token_file) if connection.token_file else None
        self._value = connection.token
        self._clock = time_source
        self._checked_at = float("-inf")
        self._modified_ns = -1
        self._plugin = None if connection.token or connection.token_file else connection.plugin
        self._plugin_at = float("-inf")
        """When the plugin is asked again."""

    def current(self) -> str:
        """The token, empty where there is none; the file is looked at when the last look is 5 s old.

        Raises TransportError where a plugin gives none. The loop stands still as long as a plugin takes.
        """
        if self._plugin is not None and self._clock.monotonic() >= self._plugin_at:
            self._ask(self._plugin)
        if self._path is not None and self._clock.monotonic() - self._checked_at >= _CHECK_SECONDS:
            self._read(self._path)
        return self._value

    def refused(self, token: str) -> bool:
        """Look at the file, or ask the plugin, after a 401 to `token`; True where there is another token to try."""
        if self._plugin is not None and self._value == token:
            self._ask(self._plugin)
        if self._path is not None:
            self._modified_ns = -1
            self._read(self._path)
        return self._value != token

    def _ask(self, plugin: Plugin) -> None:
        self._value, seconds = ask(plugin)
        # One that lives for less than that is not asked for anew with each request.
        self._plugin_at = self._clock.monotonic() + max(seconds - _AHEAD_SECONDS, _CHECK_SECONDS)

    def _read(self, path: Path) -> None:
        self._checked_at = self._clock.monotonic()
        # The kubelet swaps a symbolic link, so the file is whole at every moment. Where it is missing for a moment
        # nevertheless, the token we have is the best there is; the server will say so if it is not.
        with contextlib.suppress(OSError, ValueError):
            modified_ns = path.stat().st_mtime_ns
            if modified_ns != self._modified_ns:
                self._value = path.read_text(encoding="ascii").strip()
                self._modified_ns = modified_ns
