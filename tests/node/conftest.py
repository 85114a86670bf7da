"""The whole development cluster and one controller beside it, shared by every test that needs a kubelet."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster import Form, up
from cluster.handle import Cluster
from cluster.images.load import load
from tests.harness import HANG, controller, crd, shared
from tests.harness.tasks import Namespace

CLUSTER = os.environ.get("PODTASK_TEST_CLUSTER", "podtask-tests")
IMAGES = ("multiply", "hello-haskell")
HOLD_SECONDS = 10


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, and begin with what waits longest for others: the wait costs nothing then."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.node)
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster, with our CRD and images."""
    directory = shared.shared_directory(pytestconfig, tmp_path_factory)
    with shared.exclusively(directory, "node-cluster") as note:
        found = up(CLUSTER, Form.NODE)
        if shared.read_note(note) is None:
            crd.install(found)
            load(found, IMAGES)
            note.write_text("{}")
    return found


@pytest.fixture(scope="session")
def running_controller(cluster: Cluster, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One controller for every worker; return the file of its log. `tests/conftest.py` ends it."""
    directory = shared.shared_directory(pytestconfig, tmp_path_factory)
    with shared.exclusively(directory, "controller") as note:
        log = directory / "controller.log"
        if shared.read_note(note) is None:
            note.write_text(json.dumps({"pid": _start(cluster.kubeconfig, log)}))
    return log


def _start(kubeconfig: Path, log: Path) -> int:
    """Start it in a session of its own, and give its pid: the worker that starts it may end before the others."""
    command = controller.command(f"--pod-hold-seconds={HOLD_SECONDS}", without="hold")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    opened = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", flags, 0o600), (os.POSIX_SPAWN_OPEN, 2, str(log), flags, 0o600)]
    return os.posix_spawn(command[0], command, controller.environment(kubeconfig), file_actions=opened, setsid=True)


@pytest.fixture(scope="session")
def left_namespaces(cluster: Cluster, running_controller: Path) -> Iterator[list[str]]:
    """The deleted namespaces. The run ends when they no longer exist: no finalizer may block one."""
    left: list[str] = []
    yield left
    if left:
        cluster.kubectl("wait", "--for=delete", HANG, *[f"namespace/{name}" for name in left])


@pytest.fixture
def make_namespace(cluster: Cluster, left_namespaces: list[str]) -> Iterator[Callable[..., Namespace]]:
    """Make namespaces that are deleted after the test."""
    made: list[Namespace] = []

    def make(labels: dict[str, str] | None = None) -> Namespace:
        namespace = Namespace(cluster.kubeconfig, labels)
        made.append(namespace)
        namespace.wait_service_account()
        return namespace

    yield make
    for namespace in made:
        namespace.close()
        left_namespaces.append(namespace.name)


@pytest.fixture
def namespace(make_namespace: Callable[..., Namespace]) -> Namespace:
    """One fresh namespace."""
    return make_namespace()
