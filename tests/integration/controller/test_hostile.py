"""Hostile input ends with a clear reason and does not affect other tasks."""

import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from cluster import Cluster
from tests.harness import HANG
from tests.harness.controller import Controller
from tests.harness.tasks import Namespace, Object
from tests.integration.controller.kubelet import Kubelet, always

pytestmark = pytest.mark.apiserver

LONGEST_NAME = ".".join(["a" * 63] * 3) + "." + "b" * 61
OWN_LABELS = {"podtask.dev/task-uid": "another-task", "podtask.dev/attempt": "7", "podtask.dev/task-name": "other"}
MEGABYTE = "x" * 1_000_000


@pytest.fixture
def controller(namespace: Namespace, kubeconfig: Path) -> Iterator[Controller]:
    """A controller of this namespace alone, and a kubelet with which every Pod succeeds."""
    with (
        Kubelet(kubeconfig, namespace.name, always(0)),
        Controller(kubeconfig, f"--namespace={namespace.name}", "--policy-max-spec-bytes=") as running,
    ):
        yield running


def check_others_run(namespace: Namespace, controller: Controller) -> None:
    """The next task runs, and the controller has logged no unexpected error."""
    assert namespace.run("bystander", image="i")["phase"] == "Succeeded"
    assert not [line for line in controller.lines if "reconcile failed" in line or "Traceback" in line]


def submit(namespace: Namespace, name: str, spec: str) -> bool:
    """Create a PodTask from unusual JSON; return False if the API server refuses it."""
    configuration = namespace.api_client.configuration
    url = f"{configuration.host}/apis/podtask.dev/v1alpha1/namespaces/{namespace.name}/podtasks"
    head = json.dumps({"apiVersion": "podtask.dev/v1alpha1", "kind": "PodTask", "metadata": {"name": name}})
    body = f'{head[:-1]}, "spec": {spec}}}'.encode()
    pool = namespace.api_client.rest_client.pool_manager
    reply = pool.request("POST", url, body=body, headers={"Content-Type": "application/json"})
    assert reply.status in {201, 400, 413, 422}, reply.data[:500]
    return bool(reply.status == 201)


@pytest.mark.parametrize("name", [LONGEST_NAME, "0", "a.b-c.0", "x" * 63, "podtask-result", "xn--bcher-kva"])
def test_a_task_of_any_valid_name_runs(namespace: Namespace, controller: Controller, name: str) -> None:
    assert namespace.run(name, image="i")["phase"] == "Succeeded"
    (pod,) = namespace.pods()
    assert len(pod["metadata"]["name"]) <= 63


@pytest.mark.parametrize("name", ["../pods", "a/b", "a b", "%2e%2e", "A", "", "a" * 254, "a\n", "a?b", "a#b", "ü"])
def test_a_name_with_url_characters_is_refused_by_the_api_server(namespace: Namespace, name: str) -> None:
    with pytest.raises(client.ApiException) as refused:
        namespace.create(name, image="i")
    assert refused.value.status in {400, 422}
    assert urllib.parse.quote(name, safe="") != name or len(name) > 253 or not name or name == "A"


@pytest.mark.parametrize("kind", ["labels", "annotations"])
def test_our_labels_in_a_template_are_refused(namespace: Namespace, kind: str) -> None:
    """Otherwise a Pod of one task could be taken for another's."""
    for key, value in OWN_LABELS.items():
        assert not submit(
            namespace, "thief", json.dumps({"image": "i", "template": {"metadata": {kind: {key: value}}}})
        )


@pytest.mark.parametrize("labels", [{"a b": "c"}, {"a": "x" * 64}, {"x" * 400: "y"}, {"podtask.dev/": "z"}])
def test_labels_that_no_pod_can_have_end_the_task(
    namespace: Namespace, controller: Controller, labels: dict[str, str]
) -> None:
    if submit(namespace, "bad", json.dumps({"image": "i", "template": {"metadata": {"labels": labels}}})):
        assert namespace.wait_finished("bad")["reason"] == "InvalidPodTemplate"
    check_others_run(namespace, controller)


def megabytes() -> list[Any]:
    """Objects of the largest size that the API server accepts, or larger."""
    container = {"name": "base", "image": "i"}
    return [
        pytest.param({"image": MEGABYTE}, id="image"),
        pytest.param({"image": "i", "args": [MEGABYTE]}, id="one argument"),
        pytest.param({"image": "i", "env": [{"name": "A", "value": MEGABYTE}]}, id="one variable"),
        pytest.param({"image": "i", "template": {"metadata": {"annotations": {"a": MEGABYTE}}}}, id="annotation"),
        pytest.param({"template": {"spec": {"containers": [container | {"command": [MEGABYTE]}]}}}, id="template"),
        pytest.param({"image": "i", "template": {"spec": {"x" * 1_000_000: 1}}}, id="key"),
        pytest.param({"image": "i", "template": {"spec": {"hostname": MEGABYTE}}}, id="hostname"),
        pytest.param({"image": "i", "args": ["x" * 1000] * 1000}, id="many arguments"),
    ]


@pytest.mark.parametrize("spec", megabytes())
def test_a_large_object_is_refused_or_ends_with_a_small_status(
    namespace: Namespace, controller: Controller, spec: dict[str, Any]
) -> None:
    if submit(namespace, "large", json.dumps(spec)):
        status = namespace.wait_finished("large")
        assert status["message"]
        assert len(json.dumps(status)) < 20_000, "what was sent in comes back in the status"
    check_others_run(namespace, controller)


@pytest.mark.parametrize("depth", [100, 1_000, 9_000])
def test_deep_nesting_ends_in_a_reason(
    namespace: Namespace, controller: Controller, api_server: Cluster, depth: int
) -> None:
    # Written and read by others, because Python's own JSON gives up at a thousand levels.
    nested = '{"a":' * depth + "1" + "}" * depth
    if submit(namespace, "deep", f'{{"image": "i", "template": {{"spec": {{"unknown": {nested}}}}}}}'):
        which = ("podtask/deep", "-n", namespace.name)
        api_server.kubectl("wait", *which, "--for=condition=Finished", HANG)
        reason = api_server.kubectl("get", *which, "-o", "jsonpath={.status.reason}")
        assert reason in {"InvalidPodTemplate", "InvalidSpec"}
        api_server.kubectl("delete", *which)
    check_others_run(namespace, controller)


IMPOSTORS = {
    "labels alone": ({}, False),
    "labels and the owner": ({}, True),
    "another number": ({"podtask.dev/attempt": "2"}, True),
    "no number": ({"podtask.dev/attempt": "one"}, True),
    "a number beyond all": ({"podtask.dev/attempt": "9" * 40}, True),
    "a number below all": ({"podtask.dev/attempt": "0"}, True),
}


@pytest.mark.parametrize(("labels", "is_owned"), IMPOSTORS.values(), ids=IMPOSTORS)
def test_a_pod_with_our_labels_that_the_task_does_not_own_is_ignored(
    namespace: Namespace, controller: Controller, labels: dict[str, str], is_owned: bool
) -> None:
    """It succeeds before the task's own Pod is created; the task's own Pod is the one that counts."""
    task = namespace.create("task", image="i", suspend=True)
    uid = task["metadata"]["uid"]
    namespace.core.create_namespaced_pod(namespace.name, impostor(uid, labels, is_owned=is_owned))
    namespace.patch("task", suspend=False)
    status = namespace.wait_finished("task")
    assert (status["phase"], status["attemptCount"]) == ("Succeeded", 1), status
    assert status["attempts"][0]["podName"] != "impostor"
    check_others_run(namespace, controller)


def impostor(uid: str, labels: dict[str, str], *, is_owned: bool) -> Object:
    """A Pod with the labels of a task, which every user with the right to create Pods can make."""
    owner = {"apiVersion": "podtask.dev/v1alpha1", "kind": "PodTask", "name": "task", "uid": uid, "controller": True}
    ours = {"podtask.dev/task-uid": uid, "podtask.dev/attempt": "1", "podtask.dev/task-name": "task", **labels}
    metadata: Object = {"name": "impostor", "labels": ours, "finalizers": ["podtask.dev/outcome"]}
    if is_owned:
        metadata["ownerReferences"] = [owner]
    return {"metadata": metadata, "spec": {"containers": [{"name": "base", "image": "i"}]}}
