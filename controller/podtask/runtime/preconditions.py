"""What must be there before the controller starts: a server that is new enough, and the CRD.

Without these checks the first signs would be Pods that never deliver a result, or a list that fails for ever. Each
ends the process with one sentence instead, which names what to do.
"""

import asyncio
import logging
import re

import orjson

from ..kube import errors
from ..kube.client import Client, Resource
from ..kube.config import ClusterConfig
from ..kube.http import HttpClient, Limits
from .decode import PODTASKS

_log = logging.getLogger(__name__)

OLDEST = (1, 29)
"""The first Kubernetes whose native sidecars are on by default."""
CRD_ATTEMPTS = 8
"""An installation creates the CRD and the controller at the same time, and a fresh CRD is served a second later."""
_VERSION = Resource("", "version")
_LIMITS = Limits(read_seconds=10.0)
"""A server that is away is no reason to wait here: the informers wait for it better."""


class Unmet(Exception):
    """Something is missing that no restart brings; the message is for whoever installs."""


async def are_met(where: ClusterConfig, namespace: str) -> bool:
    """Log what is missing. A server that cannot be asked now is taken for a good one."""
    api = HttpClient(where, limits=_LIMITS)
    try:
        await check(api, namespace)
    except Unmet as missing:
        _log.critical(str(missing))
        return False
    except errors.ApiError as error:
        _log.warning("the server's version and the CRD could not be checked", extra={"error": str(error)})
    finally:
        await api.close()
    return True


async def check(api: Client, namespace: str, *, pause_seconds: float = 1.0) -> None:
    """Raise `Unmet` for what is missing, and `errors.ApiError` where the server cannot be asked."""
    _check_version(await api.get(_VERSION, "", ""))
    for _ in range(CRD_ATTEMPTS):
        try:
            await api.list_page(PODTASKS, read=len, namespace=namespace, limit=1)
        except errors.NotFound:
            await asyncio.sleep(pause_seconds)
        else:
            return
    raise Unmet(
        "the CRD podtasks.podtask.dev is not installed: set crds.enabled=true in the chart, or run"
        " `kubectl apply --server-side -f crds/podtask.dev_podtasks.yaml`"
    )


def _check_version(body: bytes) -> None:
    said = orjson.loads(body)
    # Some providers write "29+".
    numbers = [re.match(r"\d+", str(said.get(part, ""))) for part in ("major", "minor")]
    version = tuple(int(number[0]) for number in numbers if number)
    if len(version) == len(OLDEST) and version < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise Unmet(f"Kubernetes {said.get('gitVersion', version)} is too old: PodTask needs {wanted} or newer")
