"""`podtask release-finalizers`: take our finalizer off every Pod, for the time when no controller is there to do it.

A Pod keeps its finalizer until its outcome is in the task's status. After an uninstall nobody writes statuses any
more, and a Pod, its namespace and a drained node would wait for ever. Tasks, their results and running Pods stay.

The Lease goes too where it is named: the rights to let go of it went with the release, and the next installation
would wait until it has run out.
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
"""A controller that is being stopped may still have created a Pod meanwhile."""


class _Metadata(msgspec.Struct, frozen=True):
    name: str
    namespace: str
    uid: str
    finalizers: tuple[str, ...] = ()


class _Object(msgspec.Struct, frozen=True):
    metadata: _Metadata


_decode = msgspec.json.Decoder(_Object).decode


async def release(api: Client, namespace: str = "") -> int:
    """Take it off every Pod that has it now; gives how many there were."""
    count = 0
    token = ""
    while True:
        # Without a selector: a Pod whose labels were taken off is held all the same.
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
        return 0  # it is gone, or its name belongs to another Pod, which the next round sees
    except errors.Invalid as error:
        # A uid that is not the object's is a 422 here (tests/conformance): the name belongs to another Pod.
        if "metadata.uid" not in error.message:
            raise
        return 0
    return 1


async def release_until_none(api: Client, namespace: str, settle_seconds: float = SETTLE_SECONDS) -> int:
    """Release round by round, until a round finds none; gives how many there were."""
    total = await release(api, namespace)
    while True:
        await asyncio.sleep(settle_seconds)
        more = await release(api, namespace)
        if not more:
            return total
        total += more


async def delete_lease(api: Client, lease_namespace: str, namespace: str) -> None:
    """Delete the Lease of the controllers that followed `namespace`. They are gone, or have no rights any more."""
    name = election.lease_name(namespace)
    with contextlib.suppress(errors.NotFound, errors.Conflict):  # gone, or made anew by the next installation
        found = msgspec.json.decode(await api.get(LEASES, lease_namespace, name), type=_Object)
        await api.delete(LEASES, lease_namespace, name, uid=found.metadata.uid)


async def _release_all(namespace: str, lease_namespace: str) -> None:
    api = HttpClient(handlers.connection())
    try:
        count = await release_until_none(api, namespace)
        _log.info("released Pods", extra={"pods": count})
        if lease_namespace:
            await delete_lease(api, lease_namespace, namespace)
    finally:
        await api.close()


def run(arguments: Sequence[str]) -> int:
    """Run the command; gives the exit code."""
    parser = argparse.ArgumentParser(prog=f"podtask {COMMAND}", description="Take PodTask's finalizer off every Pod.")
    parser.add_argument("--namespace", default="", help="only in this namespace; empty for all")
    parser.add_argument("--lease-namespace", default="", help="delete the controllers' Lease there; empty to leave it")
    options = parser.parse_args(arguments)
    logs.configure("INFO", "json")
    try:
        asyncio.run(_release_all(options.namespace, options.lease_namespace))
    except (errors.ApiError, kubeconfig.KubeconfigError) as error:
        _log.error("Pods keep their finalizer, or the Lease its holder", extra={"error": str(error)})
        return 1
    return 0
