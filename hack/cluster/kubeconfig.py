"""Writes kubeconfig files. They contain the certificates, so that a copy of one file is enough."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from .spec import write_atomically


def render(cluster: str, server: str, user: str, pki: Path) -> str:
    """Return a kubeconfig as JSON, which is valid YAML and needs no package."""

    def embedded(file: str) -> str:
        return base64.b64encode((pki / file).read_bytes()).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster,
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "clusters": [
            {"name": cluster, "cluster": {"server": server, "certificate-authority-data": embedded("ca.crt")}}
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": embedded(f"{user}.crt"),
                    "client-key-data": embedded(f"{user}.key"),
                },
            }
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def write(path: Path, cluster: str, server: str, user: str, pki: Path) -> None:
    """Write the file, readable only by its owner: it gives full access to the cluster."""
    write_atomically(path, render(cluster, server, user, pki), mode=0o600)
