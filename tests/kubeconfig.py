"""Turns a kubeconfig of the development cluster into what the client takes."""

import base64
import json
from pathlib import Path

from podtask.kube.config import ClusterConfig


def connect(path: Path) -> ClusterConfig:
    """The cluster's kubeconfig is JSON, has one user, and carries its certificates inside."""
    document = json.loads(path.read_text())
    cluster = document["clusters"][0]["cluster"]
    user = document["users"][0]["user"]
    return ClusterConfig(
        cluster["server"],
        ca_data=base64.b64decode(cluster["certificate-authority-data"]),
        client_cert_data=base64.b64decode(user["client-certificate-data"]),
        client_key_data=base64.b64decode(user["client-key-data"]),
    )
