"""Real Airflow, a real cluster, one controller: started once for each Airflow version, shared by all of its tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflows import environments, versions
from cluster import Cluster
from tests.airflow.real.stage import Stage
from tests.harness import gpu_cluster as gpu
from tests.harness import prepared
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
    HERE / "dags/plain.py": ("plain", "sleeper", "deferrer"),
    HERE / "dags/podtasks.py": ("sync_once", "deferrable_retries", "sync_mapped", "sync_timeout", "sync_lost_try"),
    **{ROOT / f"examples/dags/{name}.py": (name, f"{name}_deferrable") for name in EXAMPLES},
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that wants an Airflow on each version, all of one version in one process."""
    if "airflow" in metafunc.fixturenames:
        parameters = [pytest.param(name, id=name, marks=pytest.mark.xdist_group(f"airflow-{name}")) for name in FULL]
        metafunc.parametrize("airflow", parameters, indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this needs a kubelet, and time for an Airflow to start."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.node)
            item.add_marker(pytest.mark.timeout(400), append=False)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster that Airflow's default connection leads to."""
    return prepared.prepare(CLUSTER, ("hello-haskell", "multiply"), pytestconfig, tmp_path_factory)


@pytest.fixture(scope="session")
def gpu_cluster(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The second cluster."""
    found = prepared.prepare(GPU_CLUSTER, (), pytestconfig, tmp_path_factory)
    gpu.equip(found)
    return found


@pytest.fixture(scope="session")
def gpu_kubeconfig(gpu_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second cluster's kubeconfig, with an exec plugin for its user."""
    return gpu.write_kubeconfig(gpu_cluster, tmp_path_factory.mktemp("gpu") / "kubeconfig")


@pytest.fixture(scope="session")
def airflow(
    request: pytest.FixtureRequest, cluster: Cluster, gpu_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    """One whole Airflow of the version that the test runs on."""
    environments.ensure(versions.find(request.param))
    connections = {
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": connection(cluster.kubeconfig),
        "AIRFLOW_CONN_GPU_CLUSTER": connection(gpu_kubeconfig),
    }
    home = tmp_path_factory.mktemp("airflow") / "home"
    with Airflow(request.param, home, dags=DAGS, environment=connections) as started:
        yield started


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
