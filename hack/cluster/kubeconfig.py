"""Kubeconfig files, with the certificates inside, so that a copy of the one file is enough to get in."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from .spec import write_atomically


def render(cluster: str, server: str, user: str, pki: Path) -> str:
    """JSON is YAML too, and needs no further package to be written."""

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
    """Readable by its owner alone: whoever has the admin's file owns the cluster."""
    write_atomically(path, render(cluster, server, user, pki), mode=0o600)
