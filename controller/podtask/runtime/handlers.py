"""kopf's part: the process shell. Start, stop, login and signals are kopf's; what changes in the cluster is not.

Nor are the probes: kopf's own liveness endpoint stays off, for it tells that kopf lives, and nothing of our watches
and our queue (`health.py`).

kopf declares no handler for any resource here, so it opens no watch of its own (docs/adr/0002 has the measurements
that decided this).
"""

import asyncio
import base64
import dataclasses
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from ..kube.connection import Connection, in_cluster

_log = logging.getLogger(__name__)


def connection(settings: kopf.OperatorSettings | None = None) -> Connection:
    """Find the API server: the Pod's service account, else kopf's reading of the kubeconfig. Raises `LoginError`."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return in_cluster(os.environ)
    found = kopf.login_with_kubeconfig(settings=settings or kopf.OperatorSettings())
    if found is None:
        raise kopf.LoginError("no service account and no kubeconfig: set KUBECONFIG, or run inside a cluster")
    return Connection(
        server=found.server,
        ca_data=_pem(found.ca_data),
        ca_path=_text(found.ca_path),
        client_cert_data=_pem(found.certificate_data),
        client_cert_path=_text(found.certificate_path),
        client_key_data=_pem(found.private_key_data),
        client_key_path=_text(found.private_key_path),
        token=found.token or "",
        insecure=bool(found.insecure),
    )


def register(
    registry: kopf.OperatorRegistry,
    start: Callable[[Connection], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
) -> None:
    """Hang the controller's start and stop into kopf's life."""

    @kopf.on.startup(registry=registry)
    async def begin(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.scanning.disabled = True
        settings.posting.enabled = False
        settings.peering.standalone = True
        await start(connection(settings))

    @kopf.on.cleanup(registry=registry)
    async def end(**_: Any) -> None:
        await stop()

    @kopf.on.login(registry=registry)
    def login(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo | None:
        found = kopf.login_with_service_account(settings=settings)
        if found is None:
            return kopf.login_with_kubeconfig(settings=settings)
        # kopf goes by the server's name, which only a cluster with DNS can resolve; the address is in our environment.
        return dataclasses.replace(found, server=in_cluster(os.environ).server)


async def run(registry: kopf.OperatorRegistry, stop_flag: asyncio.Event) -> None:
    """Run kopf until a signal or the flag ends it."""
    # Given, because kopf would look the user up by name, and an arbitrary uid in a container has none.
    identity: Any = socket.gethostname()
    await kopf.operator(registry=registry, identity=identity, clusterwide=True, standalone=True, stop_flag=stop_flag)


def _pem(value: str | bytes | None) -> bytes:
    """Give the PEM from a kubeconfig's `…-data`, which is base64."""
    return base64.b64decode(value) if value else b""


def _text(value: Any) -> str:
    return str(value) if value else ""
