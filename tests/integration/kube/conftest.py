"""One real API server for the tests of kube/, and a namespace for each test."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator

import orjson
import pytest

from cluster import Cluster, Form, down, up
from podtask.kube.client import Resource
from podtask.kube.config import ClusterConfig
from podtask.kube.http import HttpClient
from tests.kubeconfig import connect

NAMESPACES = Resource("/api/v1", "namespaces")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    # One for each xdist worker: some tests restart the API server.
    name = f"kube-{os.environ.get('PYTEST_XDIST_WORKER', 'tests')}"
    yield up(name, Form.LIGHT, report=lambda _: None)
    down(name, report=lambda _: None)


@pytest.fixture
def connection(cluster: Cluster) -> ClusterConfig:
    return connect(cluster.kubeconfig)


@pytest.fixture
async def api(connection: ClusterConfig) -> AsyncIterator[HttpClient]:
    client = HttpClient(connection)
    yield client
    await client.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind"


@pytest.fixture
async def namespace(api: HttpClient) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    await api.create(NAMESPACES, "", orjson.dumps({"metadata": {"name": name}}))
    return name
