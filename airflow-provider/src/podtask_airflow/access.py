"""From a task's arguments and an Airflow connection to a client of the cluster, by the rules that people know.

The extras of connection type `kubernetes` are KubernetesPodOperator's own. `Access` is what may travel: it names where
credentials are, and holds none, so it can stand in a trigger's row and be a dictionary's key.
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

from . import errors

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

DEFAULT_CONNECTION = "kubernetes_default"
SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
POOL_SIZE = 32
"""Connections kept for reuse. More are made where more are needed, and dropped after use."""

_OLD_PREFIX = "extra__kubernetes__"
_SIDECAR_PREFIX = "xcom_sidecar_container_"
_log = logging.getLogger(__name__)
_importing = threading.Lock()

GetConnection = Callable[[str], Any]


@dataclass(frozen=True)
class Access:
    """Which cluster, without a secret. The last three are the task's own arguments and win over the connection's."""

    conn_id: str | None = DEFAULT_CONNECTION
    in_cluster: bool | None = None
    config_file: str | None = None
    cluster_context: str | None = None


@dataclass(frozen=True)
class Resolved:
    """How to get a client with fresh credentials, and what else the connection says."""

    api_client_factory: Callable[[], ApiClient]
    namespace: str | None
    in_cluster: bool = False
    """Whether the cluster is the one around this process, because somebody said so or because nobody named one."""
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    """The connection's extras for the container that brings the result home."""


@dataclass(frozen=True)
class _Settings:
    """What argument and connection say together."""

    in_cluster: bool
    config_file: str | None
    document: dict[str, Any] | None = field(repr=False)
    """The kubeconfig that stands in the connection. It holds secrets."""
    context: str | None
    verify_ssl: bool
    keep_alive: bool
    where: str
    """Whom to blame in a message."""


def resolve(access: Access, get_connection: GetConnection) -> Resolved:
    """Read the connection once. Credentials are made by the factory, each time it is called."""
    extras = _extras(access.conn_id, get_connection)
    settings = _settings(access, extras)
    return Resolved(
        lambda: _api_client(settings),
        _text(extras.get("namespace")),
        _is_in_cluster(settings),
        {key: value for key, value in extras.items() if key.startswith(_SIDECAR_PREFIX)},
    )


def _is_in_cluster(settings: _Settings) -> bool:
    named = settings.config_file or settings.document or settings.context
    return settings.in_cluster or (not named and "KUBERNETES_SERVICE_HOST" in os.environ)


def service_account_namespace() -> str | None:
    """The namespace that this process itself runs in, where it is a Pod."""
    try:
        return SERVICE_ACCOUNT_NAMESPACE.read_text().strip() or None
    except OSError:
        return None


def _extras(conn_id: str | None, get_connection: GetConnection) -> dict[str, Any]:
    """The connection's extras; none where `kubernetes_default` was never made, as is normal in a cluster."""
    if not conn_id:
        return {}
    try:
        connection = get_connection(conn_id)
    except Exception as error:
        if not _is_missing(error):
            raise
        if conn_id == DEFAULT_CONNECTION:
            return {}
        raise errors.AccessError(
            f"There is no Airflow connection {conn_id!r}: create it (type kubernetes), or correct kubernetes_conn_id."
        ) from None
    extras: dict[str, Any] = connection.extra_dejson or {}
    old = {key[len(_OLD_PREFIX) :]: value for key, value in extras.items() if key.startswith(_OLD_PREFIX)}
    return {**old, **extras}


def _is_missing(error: Exception) -> bool:
    """Airflow 2.10 to 3.3 say it with two exceptions."""
    from airflow.exceptions import AirflowNotFoundException

    kind = getattr(getattr(error, "error", None), "error", None)
    return isinstance(error, AirflowNotFoundException) or getattr(kind, "value", kind) == "CONNECTION_NOT_FOUND"


def _settings(access: Access, extras: dict[str, Any]) -> _Settings:
    where = f"Airflow connection {access.conn_id!r}" if extras else "task's arguments"
    in_cluster = _flag(extras.get("in_cluster")) if access.in_cluster is None else access.in_cluster
    config_file = access.config_file or _text(extras.get("kube_config_path"))
    document = extras.get("kube_config") or None
    given = {"in_cluster": in_cluster, "kube_config_path or config_file": config_file, "kube_config": document}
    names = [name for name, value in given.items() if value]
    if len(names) > 1:
        raise errors.AccessError(
            f"Set only one of {' and '.join(names)}: the {where} and the task together set them all."
        )
    return _Settings(
        in_cluster=in_cluster,
        config_file=config_file,
        document=None if document is None else _parse(document, where),
        context=access.cluster_context or _text(extras.get("cluster_context")),
        verify_ssl=not _flag(extras.get("disable_verify_ssl")),
        keep_alive=not _flag(extras.get("disable_tcp_keepalive")),
        where=where,
    )


def _text(value: Any) -> str | None:
    return str(value) if value else None


def _flag(value: Any) -> bool:
    """Extras that were typed into a form may be text."""
    return value.strip().lower() in {"true", "1", "t", "y", "yes", "on"} if isinstance(value, str) else bool(value)


def _parse(document: Any, where: str) -> dict[str, Any]:
    """Read a kubeconfig that stands in the connection itself, as JSON, as YAML text, or as an object."""
    if isinstance(document, str):
        import yaml

        try:
            document = yaml.safe_load(document)
        except yaml.YAMLError:
            document = None
    if not isinstance(document, dict):
        raise errors.AccessError(f"The extra kube_config of the {where} is no kubeconfig: give it as JSON or YAML.")
    return document


def _api_client(settings: _Settings) -> ApiClient:
    """A client with credentials as fresh as they come: the files are read, and the plugin runs, again."""
    _import_client()
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import ConfigException

    configuration = Configuration()
    try:
        headers = _load(settings, configuration)
    except (ConfigException, OSError, ValueError, TypeError, KeyError) as error:
        raise errors.AccessError(f"The {settings.where} leads to no cluster: {_hint(settings, error)}.") from error
    if not settings.verify_ssl:
        configuration.verify_ssl = False
    if not configuration.verify_ssl:
        _log.warning("The %s turns TLS verification off: nothing tells who the API server is", settings.where)
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
    """What a proxy's address says of user and password, which urllib3 does not send by itself."""
    from urllib3.util import make_headers, parse_url

    user = parse_url(proxy).auth
    return make_headers(proxy_basic_auth=unquote(user)) if user else None


def _import_client() -> None:
    """Two threads that import this package at once leave it broken for the life of the process: it loads lazily."""
    with _importing:
        import kubernetes.client.api_client
        import kubernetes.client.configuration
        import kubernetes.config.kube_config  # noqa: F401


def _hint(settings: _Settings, error: Exception) -> str:
    text = str(error).strip().rstrip(".") or type(error).__name__
    if settings.in_cluster:
        return f"in_cluster is set, but this process does not run in a Pod with a service account ({text})"
    if settings.config_file and not Path(settings.config_file).expanduser().exists():
        return f"the kubeconfig {settings.config_file} is not on this machine (workers and triggerers each need it)"
    if settings.config_file or settings.document is not None or settings.context:
        return text
    return f"it names none, this process does not run in a cluster, and there is no usable default kubeconfig ({text})"


def _load(settings: _Settings, configuration: Configuration) -> dict[str, str]:
    """Fill the configuration in; gives the headers that every request carries beside its credentials."""
    from kubernetes import config

    if settings.in_cluster:
        config.load_incluster_config(client_configuration=configuration)
        return {}
    if settings.document is not None:
        config.load_kube_config_from_dict(
            settings.document, context=settings.context, client_configuration=configuration, persist_config=False
        )
        return _complete(settings.document, settings.context, configuration, cwd=None)
    # A context stands in a kubeconfig only: where one is named, the cluster around this process is not meant.
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
    """Do, or refuse by name, what the library leaves out of a kubeconfig; gives the headers of an impersonation."""
    user, cluster = _entries(document, context)
    _strip_token(configuration)
    if not configuration.cert_file and not configuration.auth_settings():
        _check_provider(user)
        _check_plugin(user, cwd)
    _use_proxy(cluster, configuration)
    _use_server_name(cluster, configuration)
    return _impersonation(user)


def _strip_token(configuration: Configuration) -> None:
    """A tokenFile ends with a line's end, which no header may have. The library sets the token at each request."""
    refresh = configuration.refresh_api_key_hook
    if refresh is None:
        return

    def refreshed(found: Configuration) -> None:
        refresh(found)
        found.refresh_api_key_hook = refreshed  # the library has put its own there
        for name, token in found.api_key.items():
            found.api_key[name] = token.strip()

    configuration.refresh_api_key_hook = refreshed


def _use_proxy(cluster: dict[str, Any], configuration: Configuration) -> None:
    """As kubectl does it: over the environment's proxy, and without NO_PROXY."""
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
    """The headers by which kubectl acts as another user. To leave one out would be to act with other rights."""
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
    """An auth-provider that the library does not know, or that gave nothing, is passed over by it."""
    provider = user.get("auth-provider")
    if provider and "exec" not in user:
        raise ValueError(
            f"the user's auth-provider {provider.get('name')!r} gave no token; replace it by a credential plugin (exec)"
        )


def _check_plugin(user: dict[str, Any], cwd: str | None) -> None:
    """Tell why a credential plugin failed: the library only logs it, goes on without credentials, and gets a 403."""
    section = user.get("exec")
    if section is None:
        return
    from kubernetes.config.exec_provider import ExecProvider
    from kubernetes.config.kube_config import ConfigNode

    command = section.get("command")
    try:
        ExecProvider(ConfigNode("exec", section), cwd).run()
    except FileNotFoundError:
        why = f"there is no such program on this machine: {section.get('installHint') or 'install it'}"
    except Exception as error:  # noqa: BLE001 (whatever the plugin did, it is the reason to show)
        why = str(error)[: errors.MESSAGE_LIMIT]
    else:
        why = "it gave neither a token nor a certificate"
    raise errors.AccessError(f"the credential plugin {command!r} failed ({why})")


def _entries(document: dict[str, Any], context: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The context's user and cluster."""

    def named(kind: str, name: str | None) -> dict[str, Any]:
        # A kubeconfig merged from files has each entry wrapped, to remember its file.
        entries = [getattr(entry, "value", entry) for entry in document.get(f"{kind}s") or ()]
        found = [entry for entry in entries if entry.get("name") == name]
        return (found[0].get(kind) or {}) if found else {}

    wanted = named("context", context or document.get("current-context"))
    return named("user", wanted.get("user")), named("cluster", wanted.get("cluster"))


def _keep_alive() -> list[tuple[int, int, int]]:
    """Find a dead peer within two minutes: load balancers forget idle connections without a word."""
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options
