"""Make the configuration of a cluster from an Airflow connection of type `kubernetes` and a task's arguments.

The extras of the connection are the same as with KubernetesPodOperator. A ClusterRef names where the credentials are
and holds none, so it may be stored in a trigger's row and used as a key.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from . import api_errors

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

DEFAULT_CONNECTION = "kubernetes_default"
SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
POOL_SIZE = 32
"""Connections kept for reuse. Further ones are opened where needed, and closed after use."""

_OLD_PREFIX = "extra__kubernetes__"
_SIDECAR_PREFIX = "xcom_sidecar_container_"
_log = logging.getLogger(__name__)
_importing = threading.Lock()

GetConnection = Callable[[str], Any]


@dataclass(frozen=True)
class ClusterRef:
    """Refers to a cluster, without credentials. The last three are the task's arguments and override the connection."""

    conn_id: str | None = DEFAULT_CONNECTION
    in_cluster: bool | None = None
    config_file: str | None = None
    cluster_context: str | None = None


@dataclass(frozen=True)
class ClusterConfig:
    """How to connect to a cluster, and what else the connection says."""

    api_client_factory: Callable[[], ApiClient]
    namespace: str | None
    in_cluster: bool = False
    """Whether this process runs in the cluster, because in_cluster is set or because no cluster is named."""
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    """The connection's extras for the sidecar that collects the result."""


@dataclass(frozen=True)
class _Settings:
    """The task's arguments and the connection, merged."""

    in_cluster: bool
    config_file: str | None
    document: dict[str, Any] | None = field(repr=False)
    """The kubeconfig in the connection. It holds secrets."""
    context: str | None
    verify_ssl: bool
    keep_alive: bool
    source: str
    """Where the settings come from, for messages."""


def resolve(cluster: ClusterRef, get_connection: GetConnection) -> ClusterConfig:
    """Read the connection. Each call of the factory in the result loads the credentials anew.

    Raises ClusterConfigError for a missing connection or contradictory settings.
    """
    extras = _extras(cluster.conn_id, get_connection)
    settings = _settings(cluster, extras)
    return ClusterConfig(
        lambda: _api_client(settings),
        _text(extras.get("namespace")),
        _is_in_cluster(settings),
        {key: value for key, value in extras.items() if key.startswith(_SIDECAR_PREFIX)},
    )


def _is_in_cluster(settings: _Settings) -> bool:
    named = settings.config_file or settings.document or settings.context
    return settings.in_cluster or (not named and "KUBERNETES_SERVICE_HOST" in os.environ)


def service_account_namespace() -> str | None:
    """Return the namespace of this process if it runs in a Pod, else None."""
    try:
        return SERVICE_ACCOUNT_NAMESPACE.read_text().strip() or None
    except OSError:
        return None


def _extras(conn_id: str | None, get_connection: GetConnection) -> dict[str, Any]:
    """Return the connection's extras; none if `kubernetes_default` does not exist, which is normal in a cluster."""
    if not conn_id:
        return {}
    try:
        connection = get_connection(conn_id)
    except Exception as error:
        if not _is_missing(error):
            raise
        if conn_id == DEFAULT_CONNECTION:
            return {}
        raise api_errors.ClusterConfigError(
            f"Airflow connection {conn_id!r} was not found: create it (type kubernetes), or correct kubernetes_conn_id."
        ) from None
    extras: dict[str, Any] = connection.extra_dejson or {}
    old = {key[len(_OLD_PREFIX) :]: value for key, value in extras.items() if key.startswith(_OLD_PREFIX)}
    return {**old, **extras}


def _is_missing(error: Exception) -> bool:
    """Return whether the connection does not exist; Airflow 2.10 to 3.3 have two exceptions for that."""
    from ..version_compat import AirflowNotFoundException

    kind = getattr(getattr(error, "error", None), "error", None)
    return isinstance(error, AirflowNotFoundException) or getattr(kind, "value", kind) == "CONNECTION_NOT_FOUND"


def _settings(cluster: ClusterRef, extras: dict[str, Any]) -> _Settings:
    source = f"Airflow connection {cluster.conn_id!r}" if extras else "task's arguments"
    in_cluster = _flag(extras.get("in_cluster")) if cluster.in_cluster is None else cluster.in_cluster
    config_file = cluster.config_file or _text(extras.get("kube_config_path"))
    document = extras.get("kube_config") or None
    given = {"in_cluster": in_cluster, "kube_config_path or config_file": config_file, "kube_config": document}
    names = [name for name, value in given.items() if value]
    if len(names) > 1:
        raise api_errors.ClusterConfigError(
            f"Set only one of {' and '.join(names)}: the {source} and the task together set more than one."
        )
    return _Settings(
        in_cluster=in_cluster,
        config_file=config_file,
        document=None if document is None else _parse(document, source),
        context=cluster.cluster_context or _text(extras.get("cluster_context")),
        verify_ssl=not _flag(extras.get("disable_verify_ssl")),
        keep_alive=not _flag(extras.get("disable_tcp_keepalive")),
        source=source,
    )


def _text(value: Any) -> str | None:
    return str(value) if value else None


def _flag(value: Any) -> bool:
    """Return a boolean; extras that were typed into a form are strings."""
    return value.strip().lower() in {"true", "1", "t", "y", "yes", "on"} if isinstance(value, str) else bool(value)


def _parse(document: Any, source: str) -> dict[str, Any]:
    """Return the kubeconfig in the connection: an object, or JSON or YAML text."""
    if isinstance(document, str):
        import yaml

        try:
            document = yaml.safe_load(document)
        except yaml.YAMLError:
            document = None
    if not isinstance(document, dict):
        raise api_errors.ClusterConfigError(
            f"The extra kube_config of the {source} is not a kubeconfig: give it as JSON or YAML."
        )
    return document


def _api_client(settings: _Settings) -> ApiClient:
    """Return a client; reads the files and runs the credential plugin each time."""
    _import_client()
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import ConfigException

    configuration = Configuration()
    try:
        headers = _load(settings, configuration)
    except (ConfigException, OSError, ValueError, TypeError, KeyError) as error:
        raise api_errors.ClusterConfigError(
            f"No client can be made from the {settings.source}: {_hint(settings, error)}."
        ) from error
    if not settings.verify_ssl:
        configuration.verify_ssl = False
    if not configuration.verify_ssl:
        _log.warning("The %s turns TLS verification off: the API server is not authenticated", settings.source)
    if settings.keep_alive:
        configuration.socket_options = _keep_alive()
    configuration.connection_pool_maxsize = POOL_SIZE
    if configuration.proxy and not configuration.proxy_headers:
        configuration.proxy_headers = _proxy_headers(configuration.proxy)
    api = ApiClient(configuration)
    for name, value in headers.items():
        api.set_default_header(name, value)
    return api


def _proxy_headers(proxy: str) -> dict[str, str] | None:
    """Return the header for the user and password in a proxy's URL, which urllib3 does not send by itself."""
    from urllib3.util import make_headers, parse_url

    user = parse_url(proxy).auth
    return make_headers(proxy_basic_auth=unquote(user)) if user else None


def _import_client() -> None:
    """Import the kubernetes package, which loads lazily, under a lock: two threads at once break it for the process."""
    with _importing:
        import kubernetes.client.api_client
        import kubernetes.client.configuration
        import kubernetes.config.kube_config  # noqa: F401


def _hint(settings: _Settings, error: Exception) -> str:
    text = str(error).strip().rstrip(".") or type(error).__name__
    if settings.in_cluster:
        return f"in_cluster is set, but this process does not run in a Pod with a service account ({text})"
    if settings.config_file and not Path(settings.config_file).expanduser().exists():
        return f"the kubeconfig {settings.config_file} does not exist on this machine (workers and triggerers need it)"
    if settings.config_file or settings.document is not None or settings.context:
        return text
    return f"no cluster is named, this process does not run in one, and there is no usable default kubeconfig ({text})"


def _load(settings: _Settings, configuration: Configuration) -> dict[str, str]:
    """Fill the configuration, and return headers that each request needs beside its credentials."""
    from kubernetes import config

    if settings.in_cluster:
        config.load_incluster_config(client_configuration=configuration)
        return {}
    if settings.document is not None:
        config.load_kube_config_from_dict(
            settings.document, context=settings.context, client_configuration=configuration, persist_config=False
        )
        return _complete(settings.document, settings.context, configuration, cwd=None)
    # A context needs a kubeconfig: where one is named, the cluster of this process is not meant.
    if settings.config_file is None and settings.context is None:
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            pass
        else:
            return {}
    return _load_file(settings, configuration)


def _load_file(settings: _Settings, configuration: Configuration) -> dict[str, str]:
    from kubernetes import config
    from kubernetes.config import kube_config

    path = str(Path(settings.config_file or kube_config.KUBE_CONFIG_DEFAULT_LOCATION).expanduser())
    config.load_kube_config(
        config_file=path, context=settings.context, client_configuration=configuration, persist_config=False
    )
    first = path.split(os.pathsep, 1)[0]
    merged = kube_config.KubeConfigMerger(path).config
    return _complete(merged.value, settings.context, configuration, cwd=str(Path(first).resolve().parent))


def _complete(
    document: dict[str, Any], context: str | None, configuration: Configuration, *, cwd: str | None
) -> dict[str, str]:
    """Apply or reject the fields of a kubeconfig that the library ignores; return the headers of an impersonation."""
    user, cluster = _entries(document, context)
    _strip_token(configuration)
    if not configuration.cert_file and not configuration.auth_settings():
        _check_provider(user)
        _check_plugin(user, cwd)
    _use_proxy(cluster, configuration)
    _use_server_name(cluster, configuration)
    return _impersonation(user)


def _strip_token(configuration: Configuration) -> None:
    """Strip the newline of a tokenFile, which a header must not have. The library sets the token at each request."""
    refresh = configuration.refresh_api_key_hook
    if refresh is None:
        return

    def refreshed(found: Configuration) -> None:
        refresh(found)
        found.refresh_api_key_hook = refreshed  # the library has replaced it
        for name, token in found.api_key.items():
            found.api_key[name] = token.strip()

    configuration.refresh_api_key_hook = refreshed


def _use_proxy(cluster: dict[str, Any], configuration: Configuration) -> None:
    """Use the cluster's proxy-url as kubectl does: instead of the environment's proxy and NO_PROXY."""
    proxy = cluster.get("proxy-url")
    if not proxy:
        return
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise ValueError("the cluster's proxy-url must begin with http:// or https://; no other kind is supported")
    configuration.proxy, configuration.no_proxy = proxy, None


def _use_server_name(cluster: dict[str, Any], configuration: Configuration) -> None:
    name = cluster.get("tls-server-name")
    if not name:
        return
    if not hasattr(configuration, "tls_server_name"):
        raise ValueError("the cluster's tls-server-name needs a newer kubernetes package")
    configuration.tls_server_name = name


def _impersonation(user: dict[str, Any]) -> dict[str, str]:
    """Return the headers by which kubectl impersonates a user. Without one of them the rights would differ."""
    extra: dict[str, Any] = user.get("as-user-extra") or {}
    fields = {
        "as": ("Impersonate-User", user.get("as")),
        "as-uid": ("Impersonate-Uid", user.get("as-uid")),
        "as-groups": ("Impersonate-Group", user.get("as-groups")),
        **{f"as-user-extra {key}": (f"Impersonate-Extra-{quote(key.lower(), '')}", extra[key]) for key in extra},
    }
    headers: dict[str, str] = {}
    for name, (header, value) in fields.items():
        values = [str(entry) for entry in (value if isinstance(value, list) else [value]) if entry]
        if len(values) > 1:
            raise ValueError(f"the user's {name} has several entries, and only one can be sent; keep one")
        if values:
            headers[header] = values[0]
    if headers and "Impersonate-User" not in headers:
        raise ValueError(f"the user has {next(name for name in fields if user.get(name.split()[0]))} without `as`")
    return headers


def _check_provider(user: dict[str, Any]) -> None:
    """Raise for an auth-provider that gave no token; the library ignores that."""
    provider = user.get("auth-provider")
    if provider and "exec" not in user:
        raise ValueError(
            f"the user's auth-provider {provider.get('name')!r} gave no token; use a credential plugin (exec) instead"
        )


def _check_plugin(user: dict[str, Any], cwd: str | None) -> None:
    """Raise with the reason why a credential plugin failed; the library logs it and continues without credentials."""
    section = user.get("exec")
    if section is None:
        return
    from kubernetes.config.exec_provider import ExecProvider
    from kubernetes.config.kube_config import ConfigNode

    command = section.get("command")
    try:
        ExecProvider(ConfigNode("exec", section), cwd).run()
    except FileNotFoundError:
        why = f"the program is not on this machine: {section.get('installHint') or 'install it'}"
    except Exception as error:  # noqa: BLE001 (any exception of a plugin is the reason to show)
        why = str(error)[: api_errors.MESSAGE_LIMIT]
    else:
        why = "it returned neither a token nor a certificate"
    raise api_errors.ClusterConfigError(f"the credential plugin {command!r} failed ({why})")


def _entries(document: dict[str, Any], context: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the user and the cluster of a context."""

    def named(kind: str, name: str | None) -> dict[str, Any]:
        # A kubeconfig that was merged from files has wrapped entries, which remember their file.
        entries = [getattr(entry, "value", entry) for entry in document.get(f"{kind}s") or ()]
        found = [entry for entry in entries if entry.get("name") == name]
        return (found[0].get(kind) or {}) if found else {}

    wanted = named("context", context or document.get("current-context"))
    return named("user", wanted.get("user")), named("cluster", wanted.get("cluster"))


def _keep_alive() -> list[tuple[int, int, int]]:
    """Return socket options that detect a dead peer in two minutes: load balancers drop idle connections silently."""
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options
