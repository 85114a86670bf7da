"""The guide's two examples, from the object to the result, on a real kubelet."""

import json

from tests.harness.tasks import Namespace


def test_hello_haskell(namespace: Namespace) -> None:
    status = namespace.run(
        "hello",
        image="localhost/podtask/hello-haskell:dev",
        env=[{"name": "NAME_TO_GREET", "value": "Ada"}],
    )
    assert (status["phase"], status["reason"], status["exitCode"]) == ("Succeeded", "Completed", 0)
    pod = status["attempts"][0]["podName"]
    assert namespace.core.read_namespaced_pod_log(pod, namespace.name, container="base") == "Hello, Ada\n"


def test_multiply(namespace: Namespace) -> None:
    status = namespace.run(
        "multiply",
        image="localhost/podtask/multiply:dev",
        env=[{"name": "DATA_POINT", "value": "19"}],
        xcom={"required": True},
    )
    assert status["phase"] == "Succeeded"
    assert json.loads(status["xcom"]["value"]) == {"return_value": "437"}
    assert status["xcom"]["state"] == "Collected"
