"""A real API server without a kubelet, and namespaces on it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster import Cluster
from tests.harness import crd
from tests.harness.tasks import Namespace


@pytest.fixture(scope="session")
def api_server(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The API server, with our CRD."""
    return crd.api_server("controller-tests", pytestconfig, tmp_path_factory)


@pytest.fixture
def kubeconfig(api_server: Cluster) -> Path:
    """The admin's kubeconfig."""
    return api_server.kubeconfig


@pytest.fixture
def make_namespace(kubeconfig: Path) -> Iterator[Callable[[], Namespace]]:
    """Make fresh namespaces, which are closed after the test."""
    with contextlib.ExitStack() as made:

        def make() -> Namespace:
            namespace = made.enter_context(contextlib.closing(Namespace(kubeconfig)))
            namespace.core.create_namespaced_service_account(namespace.name, {"metadata": {"name": "default"}})
            return namespace

        yield make


@pytest.fixture
def namespace(make_namespace: Callable[[], Namespace]) -> Namespace:
    """One fresh namespace."""
    return make_namespace()
