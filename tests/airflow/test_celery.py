"""A smoke test of the CeleryExecutor: one task on a Celery worker, each way.

What a worker's process does is the same under every executor, and is tested with the LocalExecutor in `real`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflows import environments, versions
from tests.airflow.real.conftest import CLUSTER
from tests.airflow.real.stage import RESULT
from tests.harness import prepared
from tests.harness.airflow import Airflow
from tests.harness.airflow.redis import Redis
from tests.harness.airflow.settings import connection
from tests.harness.recorder import Recorder
from tests.harness.tasks import Namespace

DAGS = Path(__file__).parent / "real/dags/podtasks.py"
VERSION = "3.3.2"


@pytest.fixture(scope="module")
def kubeconfig(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cluster's."""
    return prepared.prepare(CLUSTER, (), pytestconfig, tmp_path_factory).kubeconfig


@pytest.fixture(scope="module")
def airflow(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """An Airflow with a Celery worker."""
    environments.ensure(versions.find(VERSION))
    home = tmp_path_factory.mktemp("celery") / "home"
    with Redis() as redis:
        variables = {
            "AIRFLOW_CONN_KUBERNETES_DEFAULT": connection(kubeconfig),
            "AIRFLOW__CELERY__BROKER_URL": redis.url,
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
        }
        dags = {DAGS: ("sync_once", "deferrable_once")}
        made = Airflow(VERSION, home, dags=dags, environment=variables, executor="CeleryExecutor")
        made.add("worker", "celery", "worker")
        with made as started:
            yield started


@pytest.mark.node
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", ["sync", "deferrable"])
def test_a_task_runs_on_a_celery_worker(airflow: Airflow, kubeconfig: Path, mode: str) -> None:
    namespace = Namespace(kubeconfig)
    namespace.wait_service_account()
    recorder = Recorder(namespace)
    dag_id = f"{mode}_once"
    script = f"echo hello from celery; echo '{{\"number\": 7}}' > {RESULT}"
    run = airflow.api.run_to_end(dag_id, namespace=namespace.name, script=script)
    assert run.state == "success", airflow.api.log(dag_id, run.run_id, "task", 1)
    assert airflow.api.xcom(dag_id, run.run_id, "task") == {"number": 7}
    assert "hello from celery" in airflow.api.log(dag_id, run.run_id, "task", 1)
    assert len(recorder.pods) == 1
    recorder.stop()
    namespace.close()
