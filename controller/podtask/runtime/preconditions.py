"""Checks before the start: the API server must be new enough and serve the CRD.

Without these checks the first symptoms would be Pods that never deliver a result, or a list that always fails. A
failed check ends the process with one sentence that says what to do.
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

MIN_VERSION = (1, 29)
"""The first Kubernetes version that has native sidecars on by default."""
CRD_ATTEMPTS = 8
"""An installation creates the CRD and the controller at the same time, and the API server serves a new CRD after a
second."""
_VERSION = Resource("", "version")
_LIMITS = Limits(read_seconds=10.0)
"""These checks do not wait for an unreachable API server; the informers do that."""


class PreconditionError(Exception):
    """Something is missing that no restart brings; the message says what to do, to the person who installs."""


async def are_met(config: ClusterConfig, namespace: str) -> bool:
    """Return whether all checks pass, and log the one that fails.

    If the API server does not reply, the checks are skipped with a warning and count as passed.
    """
    api = HttpClient(config, limits=_LIMITS)
    try:
        await check(api, namespace)
    except PreconditionError as error:
        _log.critical(str(error))
        return False
    except errors.ApiError as error:
        _log.warning("the server's version and the CRD could not be checked", extra={"error": str(error)})
    finally:
        await api.close()
    return True


async def check(api: Client, namespace: str, *, pause_seconds: float = 1.0) -> None:
    """Run the checks. Raises `PreconditionError` if one fails, `errors.ApiError` if the server does not reply."""
    _check_version(await api.get(_VERSION, "", ""))
    for _ in range(CRD_ATTEMPTS):
        try:
            await api.list_page(PODTASKS, read=len, namespace=namespace, limit=1)
        except errors.NotFound:
            await asyncio.sleep(pause_seconds)
        else:
            return
    raise PreconditionError(
        "the CRD podtasks.podtask.dev is not installed: set crds.enabled=true in the chart, or run"
        " `kubectl apply --server-side -f crds/podtask.dev_podtasks.yaml`"
    )


def _check_version(body: bytes) -> None:
    info = orjson.loads(body)
    # Some providers report the minor version as "29+".
    numbers = [re.match(r"\d+", str(info.get(part, ""))) for part in ("major", "minor")]
    version = tuple(int(number[0]) for number in numbers if number)
    if len(version) == len(MIN_VERSION) and version < MIN_VERSION:
        required = ".".join(map(str, MIN_VERSION))
        raise PreconditionError(
            f"Kubernetes {info.get('gitVersion', version)} is too old: PodTask needs {required} or newer"
        )
