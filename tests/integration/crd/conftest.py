"""A real API server with the committed CRD in it."""

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crd import examples
from tests.crd.server import APPLY, PodTasks, Server
from tests.harness import HANG, HANG_SECONDS
from tests.harness.crd import ESTABLISHED, NAMED

CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def kubectl_command() -> list[str]:
    """PODTASK_TEST_KUBECONFIG takes a server that runs already; KUBECTL, another kubectl."""
    given = os.environ.get("PODTASK_TEST_KUBECONFIG")
    if given:
        return [os.environ.get("KUBECTL", "kubectl"), f"--kubeconfig={given}"]
    from cluster import Form, up

    cluster = up("crd-tests", Form.LIGHT)
    return [cluster.record.binaries["kubectl"], f"--kubeconfig={cluster.kubeconfig}"]


@pytest.fixture(scope="session")
def server(kubectl_command: list[str]) -> Iterator[Server]:
    server = Server(Path(kubectl_command[1].removeprefix("--kubeconfig=")))
    crd = examples.definition()
    path = f"{CRD_PATH}/{crd['metadata']['name']}?fieldManager=crd-tests&force=true&fieldValidation=Strict"
    status, reply = server.call("PATCH", path, crd, APPLY)
    assert status in (200, 201), reply
    for state in (NAMED, ESTABLISHED):
        command = [*kubectl_command, "wait", state, f"crd/{crd['metadata']['name']}", HANG]
        subprocess.run(command, check=True, capture_output=True)
    yield server
    server.close()


@pytest.fixture(scope="session")
def namespace(server: Server) -> str:
    name = f"crd-{uuid.uuid4().hex[:8]}"
    status, reply = server.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert status == 201, reply
    return name


@pytest.fixture
def podtasks(server: Server, namespace: str) -> Iterator[PodTasks]:
    podtasks = PodTasks(server, namespace)
    yield podtasks
    podtasks.delete_all()


@pytest.fixture
def kubectl(kubectl_command: list[str], namespace: str) -> Kubectl:
    def run(*arguments: str, stdin: object = None) -> str:
        done = subprocess.run(
            [*kubectl_command, f"--namespace={namespace}", *arguments],
            input=None if stdin is None else json.dumps(stdin),
            text=True,
            capture_output=True,
            check=False,
            timeout=HANG_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
