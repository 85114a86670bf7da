"""Reads the address and credentials of the API server from a kubeconfig. Unsupported fields are an error.

If credentials were ignored, requests would be anonymous, and the reply (403) would not show the reason.
"""

import base64
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..kube.config import ClusterConfig, Plugin

_DEFAULT = "~/.kube/config"
_PLUGIN_EXTENSION = "client.authentication.k8s.io/exec"
_PLUGIN_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_SERVICE_ACCOUNT = "use a token of a service account instead (`kubectl create token`)"
_UNSUPPORTED = {
    "proxy-url": "proxies are not supported: run where the API server can be reached directly",
    "tls-server-name": "set `server` to a host name that the server's certificate contains",
    "as": "use the credentials of that account itself",
    "as-uid": "use the credentials of that account itself",
    "as-groups": "use the credentials of that account itself",
    "as-user-extra": "use the credentials of that account itself",
    "username": _SERVICE_ACCOUNT,
    "password": _SERVICE_ACCOUNT,
    "auth-provider": "use `exec`, or a token of a service account (`kubectl create token`)",
}

Dict = dict[str, Any]


class KubeconfigError(Exception):
    """The kubeconfig cannot be used; the message names the field and what to do."""


def read(environment: Mapping[str, str] = os.environ) -> ClusterConfig:
    """Return the configuration of the current context, from `$KUBECONFIG` or the default file.

    As with kubectl, several files are merged: the first one that defines a name wins, and a relative path is relative
    to the file that contains it. Raises `KubeconfigError`.
    """
    context, cluster, user = _current(environment.get("KUBECONFIG") or _DEFAULT)
    for fields in (cluster, user):
        for name, advice in _UNSUPPORTED.items():
            if fields.get(name):
                raise KubeconfigError(f"the kubeconfig's `{name}` is not supported: {advice}")
    if not cluster.get("server"):
        raise KubeconfigError(f"the kubeconfig has no server for the context {context!r}")
    return ClusterConfig(
        server=str(cluster["server"]),
        ca_data=_pem(cluster, "certificate-authority-data"),
        ca_path=_path(cluster, "certificate-authority"),
        client_cert_data=_pem(user, "client-certificate-data"),
        client_cert_path=_path(user, "client-certificate"),
        client_key_data=_pem(user, "client-key-data"),
        client_key_path=_path(user, "client-key"),
        token=str(user.get("token") or ""),
        token_file=_path(user, "tokenFile"),
        plugin=_plugin(cluster, user),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
    )


def _current(paths: str) -> tuple[str, Dict, Dict]:
    """Return the name of the current context, and its cluster and user as `_entry` returns them."""
    files = [Path(path).expanduser() for path in paths.split(os.pathsep) if path.strip()]
    documents = [(file, _load(file)) for file in files if file.is_file()]
    if not documents:
        raise KubeconfigError(
            f"no service account and no kubeconfig at {paths}: set KUBECONFIG, or run inside a cluster"
        )
    context = next((str(found["current-context"]) for _, found in documents if found.get("current-context")), "")
    if not context:
        raise KubeconfigError("the kubeconfig has no current-context: `kubectl config use-context` sets one")
    entry = _entry(documents, "context", context)
    cluster = _entry(documents, "cluster", entry.get("cluster", ""))
    return context, cluster, _entry(documents, "user", entry.get("user", ""))


def _load(file: Path) -> Dict:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as fault:
        raise KubeconfigError(f"the kubeconfig {file} cannot be read: {type(fault).__name__}") from fault
    if not isinstance(found, dict):
        raise KubeconfigError(f"the file {file} is not a kubeconfig")
    return found


def _entry(documents: list[tuple[Path, Dict]], kind: str, name: str) -> Dict:
    """Return the fields of a named context, cluster or user; the key "" is the directory of its file."""
    for file, document in documents:
        for item in document.get(f"{kind}s") or ():
            if item.get("name") == name:
                return {**(item.get(kind) or {}), "": file.parent}
    raise KubeconfigError(f"the kubeconfig has no {kind} named {name!r}")


def _path(fields: Dict, name: str) -> str:
    return str(fields[""] / Path(fields[name]).expanduser()) if fields.get(name) else ""


def _pem(fields: Dict, name: str) -> bytes:
    """Return the PEM of a `…-data` field, which is base64."""
    try:
        return base64.b64decode(fields.get(name) or "", validate=True)
    except ValueError as fault:
        raise KubeconfigError(f"the kubeconfig's `{name}` is not base64") from fault


def _plugin(cluster: Dict, user: Dict) -> Plugin | None:
    given = user.get("exec")
    if not given or user.get("token") or user.get("tokenFile"):
        return None
    if given.get("apiVersion") not in _PLUGIN_VERSIONS:
        raise KubeconfigError(f"the kubeconfig's `exec` must have an apiVersion of {', '.join(_PLUGIN_VERSIONS)}")
    if given.get("interactiveMode") == "Always":
        raise KubeconfigError(f"the kubeconfig's `exec` is interactive, which is not possible here: {_SERVICE_ACCOUNT}")
    command = str(given.get("command") or "")
    # As in kubectl: a command with a slash is relative to the kubeconfig, one without is searched in the PATH.
    found = shutil.which(str(user[""] / command) if "/" in command else command)
    if found is None:
        hint = given.get("installHint") or _SERVICE_ACCOUNT
        raise KubeconfigError(f"the kubeconfig's `exec` needs the command {command!r}, which was not found: {hint}")
    return Plugin(
        command=(found, *map(str, given.get("args") or ())),
        environment={str(one["name"]): str(one["value"]) for one in given.get("env") or ()},
        api_version=given["apiVersion"],
        cluster=_exec_cluster_info(cluster) if given.get("provideClusterInfo") else None,
    )


def _exec_cluster_info(cluster: Dict) -> Dict:
    """Return the cluster's fields for an exec plugin with `provideClusterInfo` (ExecCredential's spec.cluster)."""
    ca = _pem(cluster, "certificate-authority-data")
    if not ca and (path := _path(cluster, "certificate-authority")):
        ca = Path(path).read_bytes()
    extensions = [one["extension"] for one in cluster.get("extensions") or () if one.get("name") == _PLUGIN_EXTENSION]
    return {
        "server": cluster["server"],
        "insecure-skip-tls-verify": bool(cluster.get("insecure-skip-tls-verify")),
        "certificate-authority-data": base64.b64encode(ca).decode(),
        "config": extensions[0] if extensions else None,
    }
