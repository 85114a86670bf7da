"""A separate cluster for the chart, without another controller, whose API server writes an audit log."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import Cluster, Form, down, up
from cluster.images.load import load
from tests.chart import release, rendered
from tests.harness import HANG, crd
from tests.harness.tasks import Namespace

# One for each xdist worker: only one release of the chart can follow all namespaces of a cluster.
NAME = f"podtask-chart{os.environ.get('PYTEST_XDIST_WORKER', '')}"
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "userGroups": [f"system:serviceaccounts:{rendered.NAMESPACE}"]},
        {"level": "None"},
    ],
}


@pytest.fixture(scope="session")
def audit_log() -> Iterator[Path]:
    # Not pytest's own folder: the API server writes on while pytest tidies up.
    with tempfile.TemporaryDirectory(prefix="podtask-audit-", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "audit.log"


@pytest.fixture(scope="session")
def cluster(audit_log: Path) -> Iterator[Cluster]:
    """A node that has the images, and a namespace for the controller that refuses everything but restricted Pods."""
    policy = audit_log.with_name("policy.json")
    policy.write_text(json.dumps(AUDIT_POLICY))
    down(NAME)  # what a killed run left has another audit log, and perhaps another chart's remains
    found = up(
        NAME,
        Form.NODE,
        extra_apiserver_args=[f"--audit-policy-file={policy}", f"--audit-log-path={audit_log}"],
    )
    load(found, ["controller", "multiply", "hello-haskell"])
    found.kubectl("create", "namespace", rendered.NAMESPACE)
    found.kubectl("label", "namespace", rendered.NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    yield found
    down(NAME)


@pytest.fixture
def cleaned(cluster: Cluster) -> Iterator[None]:
    """Nothing stays installed after the test."""
    yield
    release.uninstall(cluster)


@pytest.fixture
def crd_alone(cluster: Cluster) -> Iterator[None]:
    """The CRD from its file. Helm does not adopt a CRD that it did not install, so it is gone after the test."""
    crd.install(cluster)
    yield
    cluster.kubectl("delete", "crd", "podtasks.podtask.dev", HANG)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """A namespace for tasks."""
    made = Namespace(cluster.kubeconfig)
    with contextlib.closing(made):
        made.wait_service_account()
        made.wait_root_certificate()
        yield made
