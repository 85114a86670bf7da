"""The development cluster: a real Kubernetes on this machine, started by one command or one call.

from cluster import Form, up
cluster = up("podtask", Form.NODE)
print(cluster.kubectl("get", "nodes"))
"""

from __future__ import annotations

from .clusters import binary, down, get, up
from .errors import ClusterError
from .handle import Cluster
from .spec import Form

__all__ = ["Cluster", "ClusterError", "Form", "binary", "down", "get", "up"]
