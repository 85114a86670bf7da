"""Simulated nodes: kwok takes the place of the kubelets, so that thousands of Pods need no containers."""

from __future__ import annotations

from typing import Any

from . import paths
from .paths import ClusterDirectory
from .program import Program
from .spec import Record

STAGES = paths.PACKAGE / "kwok"
ANNOTATION = "kwok.x-k8s.io/node"
# The scheduler's limit of Pods for each node; there is no other limit.
PODS_IN_TOTAL = 110_000
POD_NETWORK = "10.128.0.1/9"


def program(directory: ClusterDirectory, record: Record) -> Program:
    """Return kwok's command, with our own stages instead of the built-in ones."""
    stages = [f"--config={file}" for file in sorted(STAGES.glob("*.yaml"))]
    arguments = [
        f"--kubeconfig={directory.client_config('kwok')}",
        f"--manage-nodes-with-annotation-selector={ANNOTATION}=fake",
        f"--cidr={POD_NETWORK}",
        "--node-ip=10.127.0.1",
        # The kubelet's port of a Node; if it is set, kwok serves it on every interface.
        "--node-port=0",
        # At the default level it logs a line for each patch of each Pod.
        "--v=WARN",
        *stages,
    ]
    return Program("kwok", (record.binaries["kwok"], *record.spec.arguments("kwok", arguments)))


def node_name(number: int) -> str:
    """Return the node's name; numbers start at 0."""
    return f"simulated-{number:03d}"


def node(number: int, of: int) -> dict[str, Any]:
    """Return a Node object that kwok manages."""
    resources = {
        "cpu": "10000",
        "memory": "100Ti",
        "ephemeral-storage": "100Ti",
        "pods": str(-(-PODS_IN_TOTAL // of)),
    }
    name = node_name(number)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {ANNOTATION: "fake"},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
        },
        "status": {"allocatable": resources, "capacity": resources},
    }
