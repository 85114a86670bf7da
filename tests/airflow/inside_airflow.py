"""The pytest plugin of an Airflow environment. Airflow configures itself while it is imported, so this comes first."""

import os
from pathlib import Path

import pytest

HOME = Path(os.environ["AIRFLOW_HOME"])
SETTINGS = {
    "CORE__LOAD_EXAMPLES": "False",
    "CORE__UNIT_TEST_MODE": "False",
    "CORE__DAGS_FOLDER": str(HOME / "dags"),
    "USAGE_DATA_COLLECTION__ENABLED": "False",
    "METRICS__TIMER_UNIT_CONSISTENCY": "True",
    "API_AUTH__JWT_SECRET": "a secret of the tests, long enough that no warning comes " * 2,
}
for name, value in SETTINGS.items():
    os.environ[f"AIRFLOW__{name}"] = value


def pytest_report_header() -> str:
    """Say which version runs: a green run of another one proves nothing."""
    import airflow

    return f"Airflow {airflow.__version__} ({os.environ['PODTASK_AIRFLOW']})"


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """AIRFLOW_HOME of this run, with a migrated database in it."""
    return HOME


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """The kubeconfig of a real API server with our CRD (PODTASK_TEST_KUBECONFIG)."""
    given = os.environ.get("PODTASK_TEST_KUBECONFIG")
    if given is None:
        pytest.fail("set PODTASK_TEST_KUBECONFIG to the kubeconfig of a cluster with the CRD of PodTask")
    return Path(given)


@pytest.fixture
def namespace() -> str:
    """The namespace of the tests on a real API server (PODTASK_TEST_NAMESPACE)."""
    return os.environ.get("PODTASK_TEST_NAMESPACE", "default")
