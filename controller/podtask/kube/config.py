"""The address of the API server, its certificate authority, and the credentials (client-go's rest.Config).

In a Pod the token is a file that the kubelet replaces about once an hour. The file is checked every few seconds, and at
once after a 401. Outside of a cluster a kubeconfig may name an exec plugin that prints a token instead.
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
"""A plugin's token is replaced this long before it expires."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A program that prints a short-lived token: a kubeconfig's `exec`, as `aws eks get-token` is one."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Added to the environment of this process."""
    api_version: str = "client.authentication.k8s.io/v1"
    cluster: Mapping[str, Any] | None = None
    """The kubeconfig's cluster, for a plugin with `provideClusterInfo`."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One API server and one identity. Certificates and keys are PEM; `…_data` takes precedence over `…_path`."""

    server: str
    """`https://host:port`, with a path if the API server is behind a proxy."""
    ca_data: bytes = b""
    ca_path: str = ""
    client_cert_data: bytes = field(default=b"", repr=False)
    client_cert_path: str = ""
    client_key_data: bytes = field(default=b"", repr=False)
    client_key_path: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    """Takes precedence over `token`."""
    plugin: Plugin | None = None
    insecure: bool = False
    """Do not verify the server's certificate. For development only."""


def in_cluster(environment: Mapping[str, str], directory: Path = _SERVICE_ACCOUNT) -> ClusterConfig:
    """Return the config of the service account of this Pod. Raises KeyError outside of a Pod."""
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    return ClusterConfig(
        f"https://{host}:{port}", ca_path=str(directory / "ca.crt"), token_file=str(directory / "token")
    )


def ssl_context(config: ClusterConfig) -> ssl.SSLContext | None:
    """Return the TLS settings, or None for plain HTTP. Raises OSError or ssl.SSLError for unusable certificates."""
    if not config.server.startswith("https:"):
        return None
    context = ssl.create_default_context(
        cafile=(not config.ca_data and config.ca_path) or None,
        cadata=config.ca_data.decode() or None,
    )
    # Python 3.13 requires extensions that the CAs of many clusters lack, and that other clients do not require.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if config.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.client_cert_data or config.client_cert_path:
        _load_client_certificate(context, config)
    return context


def _load_client_certificate(context: ssl.SSLContext, config: ClusterConfig) -> None:
    with contextlib.ExitStack() as stack:
        cert, key = config.client_cert_path, config.client_key_path
        # OpenSSL reads the pair from files only. mkstemp makes them readable by this user alone, for a moment.
        if config.client_cert_data:
            cert = stack.enter_context(_short_lived_file(config.client_cert_data))
        if config.client_key_data:
            key = stack.enter_context(_short_lived_file(config.client_key_data))
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
    """Run a plugin; returns its token and for how many seconds it is valid. Raises TransportError."""
    spec: dict[str, Any] = {"interactive": False}
    if plugin.cluster is not None:
        spec["cluster"] = plugin.cluster
    request = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    environment = {**os.environ, **plugin.environment, "KUBERNETES_EXEC_INFO": msgspec.json.encode(request).decode()}
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
        # The output is not put into the message, because it may be a token in another format.
        raise errors.TransportError(f"not sent: {program} gave no token: {type(fault).__name__}") from fault
    if not status.token:
        raise errors.TransportError(
            f"not sent: {program} gave no token; client certificates of plugins are not supported"
        )
    if status.expires is None:
        return status.token, float("inf")
    return status.token, (status.expires.astimezone(UTC) - datetime.now(UTC)).total_seconds()


class Token:
    """The current bearer token."""

    def __init__(self, config: ClusterConfig, *, time_source: clock.Clock = clock.SYSTEM) -> None:
        self._path = Path(config.token_file) if config.token_file else None
        self._value = config.token
        self._clock = time_source
        self._checked_at = float("-inf")
        self._modified_ns = -1
        self._plugin = None if config.token or config.token_file else config.plugin
        self._plugin_at = float("-inf")
        """When the plugin is to be run again."""

    def current(self) -> str:
        """Return the token, or an empty string. The file is checked at most every 5 s.

        Raises TransportError if the plugin prints no token. The event loop is blocked while a plugin runs.
        """
        if self._plugin is not None and self._clock.monotonic() >= self._plugin_at:
            self._ask(self._plugin)
        if self._path is not None and self._clock.monotonic() - self._checked_at >= _CHECK_SECONDS:
            self._read(self._path)
        return self._value

    def refused(self, token: str) -> bool:
        """Read the file, or run the plugin, after a 401 for `token`. Returns whether there is another token to try."""
        if self._plugin is not None and self._value == token:
            self._ask(self._plugin)
        if self._path is not None:
            self._modified_ns = -1
            self._read(self._path)
        return self._value != token

    def _ask(self, plugin: Plugin) -> None:
        self._value, seconds = ask(plugin)
        # A plugin whose tokens are valid for less than that is not run for every request.
        self._plugin_at = self._clock.monotonic() + max(seconds - _AHEAD_SECONDS, _CHECK_SECONDS)

    def _read(self, path: Path) -> None:
        self._checked_at = self._clock.monotonic()
        # The kubelet swaps a symbolic link, so the file is always complete. If it is missing nevertheless, the last
        # token is used until the server refuses it.
        with contextlib.suppress(OSError, ValueError):
            modified_ns = path.stat().st_mtime_ns
            if modified_ns != self._modified_ns:
                self._value = path.read_text(encoding="ascii").strip()
                self._modified_ns = modified_ns
