"""kopf's part: the process shell. Start, stop and signals are kopf's; what changes in the cluster is not.

Nor are the probes: kopf's own liveness endpoint stays off, for it tells that kopf lives, and nothing of our watches
and our queue (`health.py`).

kopf declares no handler for any resource here, so it opens no watch of its own (docs/design/0002 has the measurements
that decided this).
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from ..kube.config import ClusterConfig, Token, in_cluster
from . import kubeconfig

_log = logging.getLogger(__name__)


def connection() -> ClusterConfig:
    """Find the API server: the Pod's service account, else the kubeconfig. Raises `kubeconfig.KubeconfigError`."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return in_cluster(os.environ)
    found = kubeconfig.read()
    if found.insecure:
        _log.warning("the API server's certificate is not checked: insecure-skip-tls-verify in the kubeconfig")
    return found


def register(
    registry: kopf.OperatorRegistry,
    where: ClusterConfig,
    start: Callable[[ClusterConfig], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
) -> None:
    """Hang the controller's start and stop into kopf's life; `where` is the API server."""

    @kopf.on.startup(registry=registry)
    async def begin(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.scanning.disabled = True
        settings.posting.enabled = False
        settings.peering.standalone = True
        await start(where)

    @kopf.on.cleanup(registry=registry)
    async def end(**_: Any) -> None:
        await stop()

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return credentials(where)


def credentials(where: ClusterConfig) -> kopf.ConnectionInfo:
    """Give `where` as kopf takes it: it asks the server for its API groups once, and nothing after that."""
    return kopf.ConnectionInfo(
        server=where.server,
        ca_data=where.ca_data or None,
        ca_path=(not where.ca_data and where.ca_path) or None,
        certificate_data=where.client_cert_data or None,
        certificate_path=(not where.client_cert_data and where.client_cert_path) or None,
        private_key_data=where.client_key_data or None,
        private_key_path=(not where.client_key_data and where.client_key_path) or None,
        token=Token(where).current() or None,
        insecure=where.insecure,
    )


async def run(registry: kopf.OperatorRegistry, stop_flag: asyncio.Event) -> None:
    """Run kopf until a signal or the flag ends it."""
    # Given, because kopf would look the user up by name, and an arbitrary uid in a container has none.
    identity: Any = socket.gethostname()
    await kopf.operator(registry=registry, identity=identity, clusterwide=True, standalone=True, stop_flag=stop_flag)
