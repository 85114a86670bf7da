"""The part that kopf has: it runs the process (signals, login, startup and cleanup). It follows no resource.

PodTasks and Pods are followed by our own informer (`cluster.py`). kopf does not report an object that was deleted while
its watch was interrupted, and costs more CPU per event; docs/design/0002 has the measurements. So no kopf handler is
declared for a resource, and kopf opens no watch.

kopf's liveness endpoint stays off: it reports that kopf runs, and nothing about our watches and queue (`health.py`).
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


def cluster_config() -> ClusterConfig:
    """Return the address and credentials of the API server: the Pod's service account, else the kubeconfig.

    Raises `kubeconfig.KubeconfigError`.
    """
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return in_cluster(os.environ)
    config = kubeconfig.read()
    if config.insecure:
        _log.warning("the API server's certificate is not checked: insecure-skip-tls-verify in the kubeconfig")
    return config


def register(
    registry: kopf.OperatorRegistry,
    config: ClusterConfig,
    start: Callable[[ClusterConfig], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
) -> None:
    """Register the startup, cleanup and login handlers with kopf; `start` is called with `config`."""

    @kopf.on.startup(registry=registry)
    async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.scanning.disabled = True
        settings.posting.enabled = False
        settings.peering.standalone = True
        await start(config)

    @kopf.on.cleanup(registry=registry)
    async def cleanup(**_: Any) -> None:
        await stop()

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return connection_info(config)


def connection_info(config: ClusterConfig) -> kopf.ConnectionInfo:
    """Return `config` in kopf's form. kopf uses it once, to ask the server for its API groups."""
    return kopf.ConnectionInfo(
        server=config.server,
        ca_data=config.ca_data or None,
        ca_path=(not config.ca_data and config.ca_path) or None,
        certificate_data=config.client_cert_data or None,
        certificate_path=(not config.client_cert_data and config.client_cert_path) or None,
        private_key_data=config.client_key_data or None,
        private_key_path=(not config.client_key_data and config.client_key_path) or None,
        token=Token(config).current() or None,
        insecure=config.insecure,
    )


async def run(registry: kopf.OperatorRegistry, stop_flag: asyncio.Event) -> None:
    """Run kopf until a signal arrives or the flag is set."""
    # Without it kopf looks up the user's name, which an arbitrary uid in a container does not have.
    identity: Any = socket.gethostname()
    await kopf.operator(registry=registry, identity=identity, clusterwide=True, standalone=True, stop_flag=stop_flag)
