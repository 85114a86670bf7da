"""A smoke test of the KubernetesExecutor: one task in a worker Pod, each way.

A worker Pod needs an image with Airflow in it. Here it is the machine itself: what Airflow is installed in stands on
the node's disk, so the Pod finds it there, at the same paths, and reaches Airflow's API over the cluster's bridge.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from airflows import environments, versions
from tests.airflow.real.conftest import CLUSTER
from tests.airflow.real.stage import RESULT
from tests.harness import prepared, sockets
from tests.harness.airflow import Airflow
from tests.harness.airflow.settings import connection
from tests.harness.controller import ROOT
from tests.harness.programs import PYTHON
from tests.harness.recorder import Recorder
from tests.harness.tasks import Namespace

DAGS = Path(__file__).parent / "real/dags/podtasks.py"
ENVIRONMENT = versions.find("kpo-3.3.2")
"""The executor is part of cncf-kubernetes; our provider is beside it."""


@pytest.fixture(scope="module")
def kubeconfig(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cluster's."""
    return prepared.prepare(CLUSTER, (), pytestconfig, tmp_path_factory).kubeconfig


@pytest.fixture(scope="module")
def workers(kubeconfig: Path) -> Iterator[Namespace]:
    """Where the worker Pods are."""
    made = Namespace(kubeconfig)
    made.wait_service_account()
    yield made
    made.close()


@pytest.fixture(scope="module")
def airflow(kubeconfig: Path, workers: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """An Airflow whose workers are Pods."""
    environments.ensure(ENVIRONMENT)
    folder = tmp_path_factory.mktemp("kubernetes-executor")
    template = folder / "worker.yaml"
    options = {
        "NAMESPACE": workers.name,
        "IN_CLUSTER": "False",
        "CONFIG_FILE": str(kubeconfig),
        "POD_TEMPLATE_FILE": str(template),
        "DELETE_WORKER_PODS": "False",
    }
    variables = {
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": connection(kubeconfig),
        **{f"AIRFLOW__KUBERNETES_EXECUTOR__{name}": value for name, value in options.items()},
    }
    dags = {DAGS: ("sync_once", "deferrable_once")}
    server = urlsplit(json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]).hostname
    made = Airflow(
        ENVIRONMENT.name,
        folder / "home",
        dags=dags,
        environment=variables,
        executor="KubernetesExecutor",
        host=sockets.address_towards(str(server)),
    )
    template.write_text(yaml.safe_dump(worker(made.variables, folder, kubeconfig.parent)))
    with made as started:
        yield started


def worker(variables: Mapping[str, str], *folders: Path) -> dict[str, Any]:
    """The template of a worker Pod that finds Airflow on its node."""
    python = environments.python(ENVIRONMENT)
    places = {Path("/usr"), python.parents[1], python.resolve().parents[1], ROOT, *folders}
    environment = {**variables, "PATH": f"{python.parent}:{variables['PATH']}"}
    names = {place: f"place-{number}" for number, place in enumerate(sorted(places))}
    container = {
        "name": "base",
        "image": PYTHON,
        "imagePullPolicy": "Never",
        "env": [{"name": name, "value": value} for name, value in sorted(environment.items())],
        "volumeMounts": [{"name": name, "mountPath": str(place)} for place, name in names.items()],
    }
    spec = {
        "restartPolicy": "Never",
        "hostNetwork": True,
        "containers": [container],
        "volumes": [{"name": name, "hostPath": {"path": str(place)}} for place, name in names.items()],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "worker"}, "spec": spec}


def count(workers: Namespace) -> int:
    """How many worker Pods there were: none is deleted."""
    return len(workers.core.list_namespaced_pod(workers.name).items)


def said(workers: Namespace) -> str:
    """What the worker Pods wrote."""
    pods = workers.core.list_namespaced_pod(workers.name).items
    names = [str(pod.metadata.name) for pod in pods if pod.metadata]
    return "\n".join(workers.core.read_namespaced_pod_log(name, workers.name) for name in names)


@pytest.mark.node
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("mode", "workers_per_task"), [("sync", 1), ("deferrable", 2)])
def test_a_task_runs_in_a_worker_pod(
    airflow: Airflow, kubeconfig: Path, workers: Namespace, mode: str, workers_per_task: int
) -> None:
    namespace = Namespace(kubeconfig)
    namespace.wait_service_account()
    recorder = Recorder(namespace)
    before = count(workers)
    dag_id = f"{mode}_once"
    script = f"echo hello from a pod of a pod; echo '{{\"number\": 7}}' > {RESULT}"
    run = airflow.api.run_to_end(dag_id, namespace=namespace.name, script=script)
    assert run.state == "success", airflow.api.log(dag_id, run.run_id, "task", 1) + said(workers)
    assert airflow.api.xcom(dag_id, run.run_id, "task") == {"number": 7}
    assert "hello from a pod of a pod" in airflow.api.log(dag_id, run.run_id, "task", 1)
    assert len(recorder.pods) == 1
    assert count(workers) - before == workers_per_task
    recorder.stop()
    namespace.close()
