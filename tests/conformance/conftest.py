"""The two servers: `api` is the model's client in one run of each test, and the real server's in the other."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator

import orjson
import pytest

from podtask.kube.client import Client, Resource
from podtask.kube.http import HttpClient
from tests.kubeconfig import connect
from tests.simulation.client import ModelClient
from tests.simulation.faults import Faults
from tests.simulation.model import Server

from .objects import Scene

NAMESPACES = Resource("/api/v1", "namespaces")
ACCOUNTS = Resource("/api/v1", "serviceaccounts")


class _NoObserver:
    def asked(self, who: str, verb: str, what: str) -> None: ...

    def before_write(self, who: str) -> bool:
        return False

    def after_write(self, who: str) -> None: ...

    def carried_out(self, who: str, verb: str, what: str, outcome: str) -> None: ...


class _NoLogs:
    def read(self, namespace: str, pod: str, container: str) -> bytes:
        raise NotImplementedError

    def note_failure(self, namespace: str, pod: str) -> None: ...


SERVER = pytest.param("server", marks=[pytest.mark.apiserver, pytest.mark.xdist_group("conformance")])
"""One worker, and so one cluster."""


@pytest.fixture(params=["model", SERVER])
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """A client, and a namespace of the test's own."""
    if request.param == "model":
        yield Scene(_model(), f"t-{uuid.uuid4().hex[:8]}")
        return
    # Imported here, because the model needs none of it.
    from cluster import Form, up
    from tests.harness import crd

    cluster = up("conformance", Form.LIGHT, report=lambda _: None)
    if cluster.name not in _PREPARED:
        crd.install(cluster)
        _PREPARED.add(cluster.name)
    client = HttpClient(connect(cluster.kubeconfig))
    namespace = f"t-{uuid.uuid4().hex[:8]}"
    await client.create(NAMESPACES, "", orjson.dumps({"metadata": {"name": namespace}}))
    await client.create(ACCOUNTS, namespace, orjson.dumps({"metadata": {"name": "default"}}))
    yield Scene(client, namespace)
    await client.close()


_PREPARED: set[str] = set()


def _model() -> Client:
    loop = asyncio.get_running_loop()
    server = Server(loop.time)
    return ModelClient(server, Faults(latency=0.0001), random.Random(1), "test", _NoObserver(), _NoLogs())
