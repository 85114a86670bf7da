"""Real Airflow, a real cluster, one controller: started once for each Airflow version, shared by all of its tests.

Tests of several processes run side by side inside of one Airflow; one that is marked `alone`, because it kills a part
of it, has it for itself, and comes last.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflows import environments, versions
from cluster import Cluster
from tests.airflow.real.stage import Stage
from tests.harness import gpu_cluster as gpu
from tests.harness import prepared, shared
from tests.harness.airflow import Airflow
from tests.harness.airflow.settings import connection
from tests.harness.controller import ROOT
from tests.harness.recorder import Recorder
from tests.harness.tasks import Namespace

CLUSTER = os.environ.get("PODTASK_TEST_AIRFLOW_CLUSTER", "airflow-tests")
GPU_CLUSTER = "airflow-gpu"
FULL = [e.name for e in versions.ENVIRONMENTS if e.depth is versions.Depth.FULL]
HERE = Path(__file__).parent

EXAMPLES = ("hello_haskell", "extract_transform_load", "gpu_cluster")
DAGS = {
    HERE / "dags/plain.py": ("plain", "sleeper"),
    HERE / "dags/podtasks.py": (
        *("sync_once", "sync_retries", "sync_mapped", "sync_timeout", "sync_lost_try"),
        *(
            "deferrable_once",
            "deferrable_retries",
            "deferrable_mapped",
            "deferrable_bounded",
            "deferrable_bounded_later",
        ),
    ),
    **{ROOT / f"examples/dags/{name}.py": (name, f"{name}_deferrable") for name in EXAMPLES},
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that wants an Airflow on each version."""
    if "airflow" in metafunc.fixturenames:
        metafunc.parametrize("airflow", FULL, indirect=True, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this needs a kubelet, and time for an Airflow to start. Tests that need it for themselves come last."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.node)
            item.add_marker(pytest.mark.timeout(1800), append=False)
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster that Airflow's default connection leads to."""
    return prepared.prepare(CLUSTER, ("hello-haskell", "multiply"), pytestconfig, tmp_path_factory)


@pytest.fixture(scope="session")
def gpu_cluster(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The second cluster."""
    return prepared.prepare(GPU_CLUSTER, (), pytestconfig, tmp_path_factory)


@pytest.fixture(scope="session")
def gpu_kubeconfig(gpu_cluster: Cluster, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second cluster's kubeconfig, with an exec plugin for its user."""
    directory = shared.shared_directory(pytestconfig, tmp_path_factory)
    path = directory / "gpu.kubeconfig"
    with shared.exclusively(directory, "gpu"):
        if not path.exists():
            gpu.equip(gpu_cluster)
            gpu.write_kubeconfig(gpu_cluster, path)
    return path


@pytest.fixture(scope="session")
def airflow(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    gpu_kubeconfig: Path,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Airflow:
    """One whole Airflow of the version that the test runs on; `tests/conftest.py` ends it."""
    version = request.param
    directory = shared.shared_directory(pytestconfig, tmp_path_factory)
    with shared.exclusively(directory, f"airflow-{version}") as note:
        if note.exists():
            return Airflow.found(note)
        environments.ensure(versions.find(version))
        connections = {
            "AIRFLOW_CONN_KUBERNETES_DEFAULT": connection(cluster.kubeconfig),
            "AIRFLOW_CONN_GPU_CLUSTER": connection(gpu_kubeconfig),
        }
        started = Airflow(version, directory / f"airflow-{version}", dags=DAGS, environment=connections)
        with ending_if_it_fails(started):
            started.start()
        started.leave_note(note)
        return started


@contextmanager
def ending_if_it_fails(airflow: Airflow) -> Iterator[None]:
    """Leave nothing of a start that did not succeed."""
    try:
        yield
    except BaseException:
        airflow.stop()
        raise


@pytest.fixture(autouse=True)
def turn(
    request: pytest.FixtureRequest,
    airflow: Airflow,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Wait until no test has the Airflow for itself, or until no other test uses it."""
    how = fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH
    directory = shared.shared_directory(pytestconfig, tmp_path_factory)
    with (directory / f"airflow-{airflow.version}-turn.lock").open("w") as lock:
        fcntl.flock(lock, how)
        yield


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """One fresh namespace on the first cluster."""
    made = Namespace(cluster.kubeconfig)
    made.wait_service_account()
    made.wait_root_certificate()
    yield made
    made.close()


@pytest.fixture
def stage(airflow: Airflow, cluster: Cluster, namespace: Namespace) -> Iterator[Stage]:
    """An Airflow, and a namespace whose every Pod and PodTask is recorded."""
    recorder = Recorder(namespace)
    yield Stage(airflow, cluster, namespace, recorder)
    recorder.stop()


@pytest.fixture
def gpu_namespace(gpu_cluster: Cluster) -> Iterator[tuple[Namespace, Recorder]]:
    """One fresh namespace on the second cluster, recorded."""
    made = Namespace(gpu_cluster.kubeconfig)
    made.wait_service_account()
    recorder = Recorder(made)
    yield made, recorder
    recorder.stop()
    made.close()
