"""The platform's policy on a real API server: every rule refuses with a clear message, and the limit of Pods holds."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, watch

from tests.harness import HANG_SECONDS
from tests.harness.controller import Controller
from tests.harness.tasks import Namespace, Object
from tests.integration.controller.kubelet import Kubelet, always

pytestmark = pytest.mark.apiserver

TASKS = 30
LIMIT = 3
IMAGE = "registry.example.com/team/x"
FLAGS = (
    "--policy-service-accounts=default,task-*",
    "--policy-image-prefixes=registry.example.com/team",
    "--policy-priority-classes=batch-*",
    "--policy-host-access=false",
    "--policy-max-run-seconds=86400",
    "--policy-max-total-seconds=100000",
    "--policy-max-ttl-seconds=3600",
    "--policy-max-result-bytes=10000",
)


def _pod(**spec: Any) -> Object:
    return {"image": IMAGE, "template": {"spec": spec}}


CASES: dict[str, tuple[Object, str]] = {
    "a service account": ({"image": IMAGE, "serviceAccountName": "admin"}, "serviceAccountName admin is not allowed"),
    "a service account by its old name": (_pod(serviceAccount="admin"), "serviceAccountName admin is not allowed"),
    "an image": (
        {"image": "registry.example.com.evil/team/x"},
        "image 'registry.example.com.evil/team/x' of container",
    ),
    "an image of an init container": (
        {"image": IMAGE, "initContainers": [{"name": "i", "image": "evil"}]},
        "image 'evil' of container i",
    ),
    "an image as a volume": (
        {"image": IMAGE, "volumes": [{"name": "v", "image": {"reference": "evil"}}]},
        "image 'evil' of volume v",
    ),
    "a priority class": ({"image": IMAGE, "priorityClassName": "top"}, "priorityClassName top is not allowed"),
    "the host's network": ({"image": IMAGE, "hostNetwork": True}, "hostNetwork is not allowed"),
    "the host's processes": (_pod(hostPID=True), "hostPID is not allowed"),
    "the host's memory": (_pod(hostIPC=True), "hostIPC is not allowed"),
    "the host's users": (_pod(hostUsers=True), "hostUsers is not allowed"),
    "a path of the host": (
        {"image": IMAGE, "volumes": [{"name": "root", "hostPath": {"path": "/"}}]},
        "volume root may not be a hostPath",
    ),
    "a port of the host": (
        {"image": IMAGE, "ports": [{"containerPort": 80, "hostPort": 80}]},
        "container base may not open a hostPort",
    ),
    "privileges": (
        {"image": IMAGE, "containerSecurityContext": {"privileged": True}},
        "container base may not be privileged",
    ),
    "capabilities": (
        {"image": IMAGE, "containerSecurityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}},
        "container base may not add capabilities SYS_ADMIN",
    ),
    "another procMount": (
        {"image": IMAGE, "containerSecurityContext": {"procMount": "Unmasked"}},
        "container base may not change procMount",
    ),
    "a long run": (
        {"image": IMAGE, "deadlines": {"runSeconds": 90_000}},
        "deadlines.runSeconds is 90000, the platform's ceiling is 86400",
    ),
    "a long time in all": (
        {"image": IMAGE, "deadlines": {"totalSeconds": 100_001}},
        "deadlines.totalSeconds is 100001",
    ),
    "a long life": ({"image": IMAGE, "ttlSecondsAfterFailed": 3601}, "ttlSecondsAfterFailed is 3601"),
    "a large result": ({"image": IMAGE, "xcom": {"maxBytes": 10_001}}, "xcom.maxBytes is 10001"),
}


@pytest.fixture
def ruled(namespace: Namespace, kubeconfig: Path) -> Iterator[Controller]:
    with Controller(kubeconfig, f"--namespace={namespace.name}", "--policy-namespaces=t-*", *FLAGS) as controller:
        yield controller


def test_every_rule_refuses_once_and_names_the_change(namespace: Namespace, ruled: Controller) -> None:
    for index, (spec, _) in enumerate(CASES.values()):
        namespace.create(f"bad-{index}", backoffLimit=3, **spec)
    for index, (sentence, (_, words)) in enumerate(CASES.items()):
        status = namespace.wait_finished(f"bad-{index}")
        assert (status["phase"], status["reason"]) == ("Failed", "PolicyDenied"), (sentence, status)
        assert words in status["message"], sentence
        assert "; " not in status["message"], sentence
        assert "attempts" not in status, sentence
    assert namespace.pods() == []
    assert _denials(namespace, len(CASES)) == {f"bad-{index}": 1 for index in range(len(CASES))}
    assert not [line for line in ruled.lines if "reconcile failed" in line]


def test_an_allowed_task_runs_with_the_platforms_defaults(namespace: Namespace, ruled: Controller) -> None:
    namespace.create("good", image=IMAGE, xcom={})
    pod = namespace.wait_pod(lambda _, p: p["metadata"]["name"].startswith("good"))
    sidecar = pod["spec"]["initContainers"][-1]
    assert "--max-bytes=10000" in sidecar["args"]
    namespace.patch("good", cancel=True)
    assert namespace.wait_finished("good")["reason"] == "Cancelled"
    # Too late to refuse it: the ceiling holds, and an Event says so. Events are tried once, so one may be lost.
    namespace.patch("good", ttlSecondsAfterFinished=9999)
    try:
        assert _denials(namespace, 1) == {"good": 1}
    except AssertionError:
        namespace.patch("good", ttlSecondsAfterFinished=9998)
        assert _denials(namespace, 1) == {"good": 1}


def test_another_namespace_is_refused(namespace: Namespace, kubeconfig: Path) -> None:
    with Controller(kubeconfig, f"--namespace={namespace.name}", "--policy-namespaces=team-*"):
        status = namespace.run("alien", image=IMAGE)
    assert status["reason"] == "PolicyDenied"
    assert f"namespace {namespace.name} may not run PodTasks, use one of: team-*" in status["message"]


def test_a_spec_that_is_too_large_ends_its_task_before_it_has_a_pod(namespace: Namespace, kubeconfig: Path) -> None:
    """A function's payload in annotations fits; 256 KiB of them is the most that Kubernetes takes."""
    payload = {"metadata": {"annotations": {f"payload-{number}": "x" * 64_000 for number in range(4)}}}
    with Controller(kubeconfig, f"--namespace={namespace.name}"), Kubelet(kubeconfig, namespace.name, always(0)):
        env = [{"name": f"A{number}", "value": "x" * 131_000} for number in range(5)]
        large = namespace.run("large", image="i", env=env)
        assert (large["phase"], large["reason"]) == ("Failed", "SpecTooLarge")
        assert "the platform's ceiling is 524288" in large["message"]
        assert "attempts" not in large
        assert namespace.pods() == []
        assert namespace.run("payload", image="i", template=payload)["phase"] == "Succeeded"


class Census(threading.Thread):
    """Counts the live Pods of a namespace at every change, by a watch of its own."""

    def __init__(self, namespace: Namespace, enough: int) -> None:
        super().__init__(daemon=True)
        self._core, self._name, self._enough = namespace.core, namespace.name, enough
        self.most = 0
        self.born: list[str] = []

    def run(self) -> None:
        live: set[str] = set()
        ended: set[str] = set()
        for event in watch.Watch().stream(self._core.list_namespaced_pod, self._name, timeout_seconds=HANG_SECONDS):
            pod = event["raw_object"]
            meta, phase = pod["metadata"], pod["status"].get("phase")
            if "podtask.dev/task-uid" not in meta.get("labels", {}):
                continue
            if event["type"] == "ADDED":
                self.born.append(meta["annotations"]["podtask.dev/task"])
            if event["type"] == "DELETED" or phase in {"Succeeded", "Failed"}:
                live.discard(meta["uid"])
                ended.add(meta["uid"])
            else:
                live.add(meta["uid"])
            self.most = max(self.most, len(live))
            if len(ended) == self._enough:
                return


def test_the_limit_of_live_pods_holds_and_every_task_finishes(namespace: Namespace, kubeconfig: Path) -> None:
    names = [f"task-{index:02d}" for index in range(TASKS)]
    flags = (f"--namespace={namespace.name}", f"--policy-max-running-pods={LIMIT}")
    census = Census(namespace, TASKS)
    census.start()
    with Controller(kubeconfig, *flags) as controller:
        for name in names:
            namespace.create(name, image="i")
        # Pods live, as no node runs them yet: the limit is full, and the others say what they wait for.
        waiting = namespace.wait(names[-1], lambda t: t["status"].get("reason") == "ConcurrencyLimit")
        assert waiting["status"]["phase"] == "Pending"
        assert f"{LIMIT} running Pods" in waiting["status"]["message"]
        assert len(namespace.pods()) == LIMIT
        # A new process knows neither who waits nor what lives, and goes on where the old one stopped.
        controller.kill()
        controller.start()
        with Kubelet(kubeconfig, namespace.name, always(0)):
            for name in names:
                assert namespace.wait_finished(name)["phase"] == "Succeeded"
        census.join(HANG_SECONDS)
    assert not census.is_alive()
    assert census.most == LIMIT
    assert sorted(census.born) == names, "each once"
    late = sum(abs(place - names.index(name)) > LIMIT for place, name in enumerate(census.born))
    assert late == 0, f"oldest first: {census.born}"


def _denials(namespace: Namespace, enough: int) -> dict[str, int]:
    """Count the Events of refusals, by task."""
    found: dict[str, int] = {}
    events = client.EventsV1Api(namespace.api_client)
    for event in watch.Watch().stream(events.list_namespaced_event, namespace.name, timeout_seconds=HANG_SECONDS):
        obj = event["raw_object"]
        if obj["reason"] == "PolicyDenied":
            name = obj["regarding"]["name"]
            found[name] = found.get(name, 0) + 1
        if sum(found.values()) == enough:
            break
    # What comes after the last one that was waited for would be one too many.
    listed = json.loads(events.list_namespaced_event(namespace.name, _preload_content=False).data)["items"]
    assert sum(e["reason"] == "PolicyDenied" for e in listed) == enough
    return found
