"""`podtask release-finalizers`: remove our finalizer from every Pod after the controller was uninstalled.

A Pod keeps its finalizer until the task's status contains its outcome. Without a controller no status is written, so
the deletion of the Pod, of its namespace and the drain of its node would never finish. Tasks, their results and
running Pods stay.

With `--lease-namespace` the command deletes the Lease too: the uninstall has removed the controller's right to release
it, and the next installation would have to wait until it expires.
"""

import argparse
import asyncio
import contextlib
import logging
from collections.abc import Sequence

import msgspec
import orjson

from ..api import names
from ..kube import errors
from ..kube.client import PODS, Client, PatchType
from ..kube.http import HttpClient
from ..kube.lease import LEASES
from . import election, handlers, kubeconfig, logs

_log = logging.getLogger(__name__)

COMMAND = "release-finalizers"
SETTLE_SECONDS = 5.0
"""Pause before the Pods are listed again: a controller that is being stopped may still create one."""


class _Metadata(msgspec.Struct, frozen=True):
    name: str
    namespace: str
    uid: str
    finalizers: tuple[str, ...] = ()


class _Object(msgspec.Struct, frozen=True):
    metadata: _Metadata


_decode = msgspec.json.Decoder(_Object).decode


async def release(api: Client, namespace: str = "") -> int:
    """Remove the finalizer from every Pod that has it now; return their number. An empty namespace means all."""
    count = 0
    token = ""
    while True:
        # Without a selector: a Pod whose labels were removed has the finalizer too.
        page = await api.list_page(PODS, read=_decode, namespace=namespace, continue_token=token)
        for item in page.items:
            count += await _release_one(api, item.metadata)
        token = page.continue_token
        if not token:
            return count


async def _release_one(api: Client, pod: _Metadata) -> int:
    if names.FINALIZER not in pod.finalizers:
        return 0
    body = {"metadata": {"uid": pod.uid, "$deleteFromPrimitiveList/finalizers": [names.FINALIZER]}}
    try:
        await api.patch(PODS, pod.namespace, pod.name, orjson.dumps(body), PatchType.STRATEGIC)
    except (errors.NotFound, errors.Conflict):
        return 0  # the Pod is deleted, or another Pod has its name; the next round handles that one
    except errors.Invalid as error:
        # A uid that does not match is a 422 here (tests/conformance): another Pod has the name.
        if "metadata.uid" not in error.message:
            raise
        return 0
    return 1


async def release_until_none(api: Client, namespace: str, settle_seconds: float = SETTLE_SECONDS) -> int:
    """Release until a round finds no Pod with the finalizer; return the number of Pods released."""
    total = await release(api, namespace)
    while True:
        await asyncio.sleep(settle_seconds)
        more = await release(api, namespace)
        if not more:
            return total
        total += more


async def delete_lease(api: Client, lease_namespace: str, namespace: str) -> None:
    """Delete the Lease of the controllers that followed `namespace`. They have ended, or have lost their rights."""
    name = election.lease_name(namespace)
    with contextlib.suppress(errors.NotFound, errors.Conflict):  # deleted, or created again by the next installation
        found = msgspec.json.decode(await api.get(LEASES, lease_namespace, name), type=_Object)
        await api.delete(LEASES, lease_namespace, name, uid=found.metadata.uid)


async def _release_all(namespace: str, lease_namespace: str) -> None:
    api = HttpClient(handlers.cluster_config())
    try:
        count = await release_until_none(api, namespace)
        _log.info("finalizer removed from Pods", extra={"pods": count})
        if lease_namespace:
            await delete_lease(api, lease_namespace, namespace)
    finally:
        await api.close()


def run(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"podtask {COMMAND}", description="Remove PodTask's finalizer from every Pod."
    )
    parser.add_argument("--namespace", default="", help="only the Pods of this namespace; empty for all namespaces")
    parser.add_argument(
        "--lease-namespace", default="", help="delete the controllers' Lease in this namespace; empty keeps it"
    )
    options = parser.parse_args(arguments)
    logs.configure("INFO", "json")
    try:
        asyncio.run(_release_all(options.namespace, options.lease_namespace))
    except (errors.ApiError, kubeconfig.KubeconfigError) as error:
        _log.error("some Pods may still have the finalizer, or the Lease was not deleted", extra={"error": str(error)})
        return 1
    return 0
