"""What a hook that was written for Pods sees, and what becomes of its changes."""

import copy
from typing import Any

from podtask_airflow.utils import pod_mutation

PODTASK: dict[str, Any] = {
    "metadata": {"name": "t-1", "namespace": "ns"},
    "spec": {
        "image": "i:1",
        "env": [{"name": "A", "value": "over"}],
        "nodeSelector": {"zone": "z"},
        "containerSecurityContext": {"runAsUser": 5},
        "volumes": [{"name": "v", "emptyDir": {}}],
        "xcom": {},
        "template": {
            "metadata": {"labels": {"l": "1"}},
            "spec": {
                "containers": [
                    {"name": "side", "image": "s", "brandNewField": {"x": 1}},
                    {"name": "base", "env": [{"name": "A", "value": "below"}, {"name": "B", "value": "b"}]},
                ],
                "brandNewField": "kept",
            },
        },
    },
}


def test_the_pod_is_whole_and_merged_by_name() -> None:
    pod = pod_mutation.pod_of(PODTASK)
    side, base = pod["spec"]["containers"]
    assert side["name"] == "side"
    assert base["image"] == "i:1"
    assert base["env"] == [{"name": "A", "value": "over"}, {"name": "B", "value": "b"}]
    assert base["securityContext"] == {"runAsUser": 5}
    assert pod["spec"]["nodeSelector"] == {"zone": "z"}
    assert pod["metadata"] == {"labels": {"l": "1"}, "name": "t-1", "namespace": "ns"}


def test_the_pods_variables_are_in_the_controllers_order() -> None:
    below = [{"name": "HOST", "value": "l"}, {"name": "URL", "value": "$(HOST)"}, {"name": "OPTS", "value": "-a"}]
    over = [{"name": "HOST", "value": "h"}, {"name": "OPTS", "value": "$(OPTS) -b"}]
    spec = {"env": over, "template": {"spec": {"containers": [{"name": "base", "env": below}]}}}
    (base,) = pod_mutation.pod_of({"metadata": {"name": "t"}, "spec": spec})["spec"]["containers"]
    assert base["env"] == [over[0], below[1], below[2], over[1]]


def test_a_hook_that_changes_nothing_changes_nothing() -> None:
    before = copy.deepcopy(PODTASK)
    assert pod_mutation.mutated(PODTASK, [lambda _: None]) is PODTASK
    assert before == PODTASK


def test_changes_become_the_template_and_unknown_fields_stay() -> None:
    def hook(pod: Any) -> None:
        base = pod.spec.containers[1]
        base.env = [entry for entry in base.env if entry.name != "B"]
        pod.spec.node_selector["disk"] = "ssd"
        pod.metadata.labels["more"] = "x"

    spec = pod_mutation.mutated(PODTASK, [hook])["spec"]
    assert set(spec) == {"xcom", "template"}
    pod = spec["template"]["spec"]
    assert pod["containers"][1]["env"] == [{"name": "A", "value": "over"}]
    assert pod["nodeSelector"] == {"zone": "z", "disk": "ssd"}
    assert pod["containers"][0]["brandNewField"] == {"x": 1}
    assert pod["brandNewField"] == "kept"
    assert spec["template"]["metadata"] == {"labels": {"l": "1", "more": "x"}}


def test_a_hook_may_add_and_remove_containers() -> None:
    from kubernetes.client import models as k8s

    def hook(pod: Any) -> None:
        pod.spec.containers = [pod.spec.containers[1], k8s.V1Container(name="proxy", image="p")]

    containers = pod_mutation.mutated(PODTASK, [hook])["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in containers] == ["base", "proxy"]
    assert containers[0]["image"] == "i:1"


def test_hooks_follow_one_another() -> None:
    def first(pod: Any) -> None:
        pod.spec.hostname = "a"

    def second(pod: Any) -> None:
        pod.spec.hostname += "b"

    assert pod_mutation.mutated(PODTASK, [first, second])["spec"]["template"]["spec"]["hostname"] == "ab"


def test_the_namespace_may_be_changed() -> None:
    def hook(pod: Any) -> None:
        pod.metadata.namespace = "other"

    assert pod_mutation.mutated(PODTASK, [hook])["metadata"]["namespace"] == "other"
