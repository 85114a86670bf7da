"""What a kubeconfig says about the way to the API server; what we cannot do is refused by name and never left out.

Without its credentials a request is anonymous, and its refusal says nothing of the reason.
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
_REFUSED = {
    "proxy-url": "connections are made without a proxy: run where the API server can be reached",
    "tls-server-name": "put a name of the server's certificate into `server` instead",
    "as": "give the credentials of that account itself",
    "as-uid": "give the credentials of that account itself",
    "as-groups": "give the credentials of that account itself",
    "as-user-extra": "give the credentials of that account itself",
    "username": _SERVICE_ACCOUNT,
    "password": _SERVICE_ACCOUNT,
    "auth-provider": "use `exec`, or a token of a service account (`kubectl create token`)",
}

Dict = dict[str, Any]


class KubeconfigError(Exception):
    """The API server cannot be reached as the kubeconfig says; the message names the field and what to do."""


def read(environment: Mapping[str, str] = os.environ) -> ClusterConfig:
    """Give the connection of the current context, of `$KUBECONFIG` or the default file; raises `KubeconfigError`.

    Of several files the first one that names something wins, and paths are relative to the file that they stand in.
    """
    context, cluster, user = _current(environment.get("KUBECONFIG") or _DEFAULT)
    for fields in (cluster, user):
        for name, advice in _REFUSED.items():
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
    files = [Path(path).expanduser() for path in paths.split(os.pathsep) if path.strip()]
    there = [(file, _load(file)) for file in files if file.is_file()]
    if not there:
        raise KubeconfigError(
            f"no service account and no kubeconfig at {paths}: set KUBECONFIG, or run inside a cluster"
        )
    context = next((str(found["current-context"]) for _, found in there if found.get("current-context")), "")
    if not context:
        raise KubeconfigError("the kubeconfig has no current-context: `kubectl config use-context` sets one")
    about = _entry(there, "context", context)
    return context, _entry(there, "cluster", about.get("cluster", "")), _entry(there, "user", about.get("user", ""))


def _load(file: Path) -> Dict:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as fault:
        raise KubeconfigError(f"the kubeconfig {file} cannot be read: {type(fault).__name__}") from fault
    if not isinstance(found, dict):
        raise KubeconfigError(f"the kubeconfig {file} is no kubeconfig")
    return found


def _entry(there: list[tuple[Path, Dict]], kind: str, name: str) -> Dict:
    for file, document in there:
        for item in document.get(f"{kind}s") or ():
            if item.get("name") == name:
                return {**(item.get(kind) or {}), "": file.parent}
    raise KubeconfigError(f"the kubeconfig has no {kind} of the name {name!r}")


def _path(fields: Dict, name: str) -> str:
    return str(fields[""] / Path(fields[name]).expanduser()) if fields.get(name) else ""


def _pem(fields: Dict, name: str) -> bytes:
    """Give the PEM from a `…-data`, which is base64."""
    try:
        return base64.b64decode(fields.get(name) or "", validate=True)
    except ValueError as fault:
        raise KubeconfigError(f"the kubeconfig's `{name}` is not base64") from fault


def _plugin(cluster: Dict, user: Dict) -> Plugin | None:
    given = user.get("exec")
    if not given or user.get("token") or user.get("tokenFile"):
        return None
    if given.get("apiVersion") not in _PLUGIN_VERSIONS:
        raise KubeconfigError(f"the kubeconfig's `exec` has none of the versions {', '.join(_PLUGIN_VERSIONS)}")
    if given.get("interactiveMode") == "Always":
        raise KubeconfigError(f"the kubeconfig's `exec` asks a person, and there is none here: {_SERVICE_ACCOUNT}")
    command = str(given.get("command") or "")
    # As kubectl has it: with a slash in it, it is relative to the file; without, it is looked for in the PATH.
    found = shutil.which(str(user[""] / command) if "/" in command else command)
    if found is None:
        hint = given.get("installHint") or _SERVICE_ACCOUNT
        raise KubeconfigError(f"the kubeconfig's `exec` names {command!r}, which is not on this machine: {hint}")
    return Plugin(
        command=(found, *map(str, given.get("args") or ())),
        environment={str(one["name"]): str(one["value"]) for one in given.get("env") or ()},
        api_version=given["apiVersion"],
        cluster=_described(cluster) if given.get("provideClusterInfo") else None,
    )


def _described(cluster: Dict) -> Dict:
    """Give what a plugin that asks for it learns about the cluster."""
    ca = _pem(cluster, "certificate-authority-data")
    if not ca and (path := _path(cluster, "certificate-authority")):
        ca = Path(path).read_bytes()
    config = [one["extension"] for one in cluster.get("extensions") or () if one.get("name") == _PLUGIN_EXTENSION]
    return {
        "server": cluster["server"],
        "insecure-skip-tls-verify": bool(cluster.get("insecure-skip-tls-verify")),
        "certificate-authority-data": base64.b64encode(ca).decode(),
        "config": config[0] if config else None,
    }
