"""The object that is built: what goes where, what wins, and that it is the same each time."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import models as k8s
from podtask_airflow.utils import arguments, manifest
from podtask_airflow.utils.arguments import ArgumentError
from podtask_airflow.utils.identity import Identity

IDENTITY = Identity(
    deployment="prod",
    dag_id="warehouse",
    run_id="scheduled__2026-01-02T00:00:00+00:00",
    task_id="load",
    map_index=3,
    run_start=dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc),  # noqa: UP017
    try_number=2,
    max_tries=2,
    ti_id="0190",
    airflow_version="3.3.2+local",
)
BASE: dict[str, Any] = {"image": "busybox"}


def _build(identity: Identity | None = None, *, build: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    return manifest.build(arguments.parse(arguments.prepare(given)), identity, **(build or {}))


def _spec(**given: Any) -> dict[str, Any]:
    spec: dict[str, Any] = _build(**{**BASE, **given})["spec"]
    return spec


def test_the_least() -> None:
    assert _build(image="busybox", task_id="load") == {
        "apiVersion": "podtask.dev/v1alpha1",
        "kind": "PodTask",
        "metadata": {"name": "load"},
        "spec": {
            "image": "busybox",
            "disruptionLimit": 0,
            "deadlines": {"scheduleSeconds": 120, "startSeconds": 120},
            "podRetention": "Delete",
        },
    }


FIELD = k8s.V1EnvVarSource(field_ref=k8s.V1ObjectFieldSelector(field_path="status.podIP"))
COPIED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "command": ({"cmds": ["sh"], "arguments": ["-c", "x"]}, {"command": ["sh"], "args": ["-c", "x"]}),
    "an empty command clears the template's": ({"cmds": [], "arguments": []}, {"command": [], "args": []}),
    "no host network, explicitly": ({"hostnetwork": False}, {"hostNetwork": False}),
    "no token, explicitly": ({"automount_service_account_token": False}, {"automountServiceAccountToken": False}),
    "no grace": ({"termination_grace_period": 0}, {"terminationGracePeriodSeconds": 0}),
    "no selector": ({"node_selector": {}}, {"nodeSelector": {}}),
    "no tolerations": ({"tolerations": []}, {"tolerations": []}),
    "no environment": ({"env_vars": []}, {"env": []}),
    "environment, then what comes from the Pod": (
        {"env_vars": {"A": "a"}, "pod_runtime_info_envs": [{"name": "B", "field_path": "status.podIP"}]},
        {"env": [{"name": "A", "value": "a"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]},
    ),
    "one name twice is left to the controller": (
        {"env_vars": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
        {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
    ),
    "config maps": (
        {"env_from": [k8s.V1EnvFromSource(prefix="P_")], "configmaps": ["a", "b"]},
        {"envFrom": [{"prefix": "P_"}, {"configMapRef": {"name": "a"}}, {"configMapRef": {"name": "b"}}]},
    ),
    "resources of old": ({"resources": {"limit_gpu": 1}}, {"resources": {"limits": {"nvidia.com/gpu": 1}}}),
    "volumes": (
        {
            "volumes": [k8s.V1Volume(name="v", empty_dir=k8s.V1EmptyDirVolumeSource())],
            "volume_mounts": [k8s.V1VolumeMount(name="v", mount_path="/v")],
        },
        {"volumes": [{"name": "v", "emptyDir": {}}], "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
    ),
    "init containers": (
        {"init_containers": [k8s.V1Container(name="i", image="x", command=["y"])]},
        {"initContainers": [{"name": "i", "image": "x", "command": ["y"]}]},
    ),
    "security": (
        {"security_context": {"fsGroup": 0}, "container_security_context": k8s.V1SecurityContext(privileged=False)},
        {"securityContext": {"fsGroup": 0}, "containerSecurityContext": {"privileged": False}},
    ),
    "dns": (
        {"dnspolicy": "None", "dns_config": k8s.V1PodDNSConfig(nameservers=["1.1.1.1"])},
        {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}},
    ),
    "host aliases": (
        {"host_aliases": [k8s.V1HostAlias(ip="127.0.0.1", hostnames=["db"])]},
        {"hostAliases": [{"ip": "127.0.0.1", "hostnames": ["db"]}]},
    ),
    "another container": ({"base_container_name": "main"}, {"containerName": "main"}),
    "what stays of the objects": (
        {"ttl_seconds_after_succeeded": 0, "ttl_seconds_after_failed": 5, "pod_ttl_seconds": 900},
        {"ttlSecondsAfterSucceeded": 0, "ttlSecondsAfterFailed": 5, "podTTLSecondsAfterFinished": 900},
    ),
    "kept Pods have no time to go": (
        {"on_finish_action": "keep_pod", "pod_ttl_seconds": 900},
        {"podRetention": "Keep", "podTTLSecondsAfterFinished": None},
    ),
    "succeeded Pods go": ({"on_finish_action": "delete_succeeded_pod"}, {"podRetention": "DeleteSucceeded"}),
    "active Pods are stopped anyway": ({"on_finish_action": "delete_active_pod"}, {"podRetention": "Keep"}),
    "kept, in the old words": ({"is_delete_operator_pod": False}, {"podRetention": "Keep"}),
    "what is given twice stands there once": (
        {
            "volumes": [{"name": "v", "emptyDir": {}}] * 2,
            "volume_mounts": [{"name": "v", "mountPath": "/v"}] * 2,
            "init_containers": [{"name": "i", "image": "x"}] * 2,
        },
        {
            "volumes": [{"name": "v", "emptyDir": {}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "initContainers": [{"name": "i", "image": "x"}],
        },
    ),
    "an empty value beside its source": (
        {"env_vars": [k8s.V1EnvVar(name="IP", value="", value_from=FIELD), {"name": "EMPTY", "value": ""}]},
        {
            "env": [
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "EMPTY", "value": ""},
            ]
        },
    ),
    "a queue": ({"queue_name": "q"}, {"queueName": "q"}),
    "retries allow a disruption": ({"retries": 1}, {"disruptionLimit": 3}),
    "no retries, no repetition": ({"retries": 0}, {"disruptionLimit": 0}),
    "a limit of one's own": (
        {"retries": 1, "disruption_limit": 0, "backoff_limit": 0},
        {"disruptionLimit": 0, "backoffLimit": 0},
    ),
    "no result": ({"do_xcom_push": False, "xcom_path": "/a/b"}, {"xcom": None}),
    "a result, a failed task's too": ({"do_xcom_push": True}, {"xcom": {"onFailure": "Keep"}}),
    "a failed task's result is not wanted": (
        {"do_xcom_push": True, "spec": {"xcom": {"onFailure": "Drop"}}},
        {"xcom": {"onFailure": "Drop"}},
    ),
    "an explicit empty context of the sidecar": (
        {"do_xcom_push": True, "xcom_sidecar_container_security_context": {}},
        {"xcom": {"onFailure": "Keep", "sidecar": {"securityContext": {}}}},
    ),
    "a result in detail": (
        {
            "do_xcom_push": True,
            "xcom_path": "/a/b",
            "xcom_required": True,
            "xcom_max_bytes": 10,
            "xcom_mode": "Direct",
            "xcom_sidecar_container_security_context": {"runAsUser": 0},
        },
        {
            "xcom": {
                "path": "/a/b",
                "required": True,
                "maxBytes": 10,
                "mode": "Direct",
                "onFailure": "Keep",
                "sidecar": {"securityContext": {"runAsUser": 0}},
            }
        },
    ),
    "skip comes before other rules": (
        {
            "skip_on_exit_code": [99, 98],
            "failure_policy": {"rules": [{"action": "Fail", "onReasons": {"values": ["x"]}}]},
        },
        {
            "failurePolicy": {
                "rules": [
                    {"action": "Skip", "onExitCodes": {"operator": "In", "values": [98, 99]}},
                    {"action": "Fail", "onReasons": {"values": ["x"]}},
                ]
            }
        },
    ),
    "the start's time is the schedule's": (
        {"startup_timeout_seconds": 60},
        {"deadlines": {"scheduleSeconds": 60, "startSeconds": 60}},
    ),
    "each its own": (
        {"startup_timeout_seconds": 60, "schedule_timeout_seconds": 600, "active_deadline_seconds": 5},
        {"deadlines": {"scheduleSeconds": 600, "startSeconds": 60, "runSeconds": 5}},
    ),
    "deadlines win by field": (
        {"deadlines": {"startSeconds": None, "imagePullSeconds": 9}},
        {"deadlines": {"scheduleSeconds": 120, "imagePullSeconds": 9}},
    ),
    "no deadlines": ({"deadlines": {"startSeconds": None, "scheduleSeconds": None}}, {"deadlines": None}),
    "a worker has its own clock": (
        {"execution_timeout": dt.timedelta(minutes=1), "deadlines": {"startSeconds": None, "scheduleSeconds": None}},
        {"deadlines": {"totalSeconds": 120}},
    ),
    "a trigger has none": (
        {
            "execution_timeout": dt.timedelta(seconds=0.5),
            "deferrable": True,
            "deadlines": {"startSeconds": None, "scheduleSeconds": None},
        },
        {"deadlines": {"totalSeconds": 1}},
    ),
    "the raw spec wins": (
        {
            "image": "old",
            "cmds": ["a"],
            "node_selector": {"a": "1"},
            "spec": {"image": "new", "command": None, "nodeSelector": {"b": "2"}, "suspend": True},
        },
        {"image": "new", "command": None, "nodeSelector": {"a": "1", "b": "2"}, "suspend": True},
    ),
}


@pytest.mark.parametrize("case", COPIED)
def test_goes_into(case: str) -> None:
    given, want = COPIED[case]
    spec = _spec(**given)
    assert {field: spec.get(field) for field in want} == want


def test_the_connections_sidecar() -> None:
    extras = {
        "xcom_sidecar_container_resources": '{"limits": {"cpu": 0.5}}',
        "xcom_sidecar_container_security_context": '{"runAsUser": 1}',
        "xcom_sidecar_container_image": "not ours",
        "namespace": "other",
    }
    got = _build(**BASE, do_xcom_push=True, build={"sidecar": extras})
    assert got["spec"]["xcom"] == {
        "onFailure": "Keep",
        "sidecar": {"resources": {"limits": {"cpu": "0.5"}}, "securityContext": {"runAsUser": 1}},
    }
    over = {"runAsUser": 2}
    got = _build(**BASE, do_xcom_push=True, xcom_sidecar_container_security_context=over, build={"sidecar": extras})
    assert got["spec"]["xcom"]["sidecar"]["securityContext"] == over
    assert "xcom" not in _build(**BASE, build={"sidecar": extras})["spec"]
    with pytest.raises(
        ArgumentError, match="the connection's extra xcom_sidecar_container_resources is not valid YAML"
    ):
        _build(**BASE, do_xcom_push=True, build={"sidecar": {"xcom_sidecar_container_resources": "{"}})


def test_identity() -> None:
    got = _build(IDENTITY, **BASE, name="Load_it", build={"suffix": 1})
    assert got["metadata"]["name"].startswith("load-it-")
    assert got["metadata"]["name"].endswith("-2-x1")
    assert got["metadata"]["annotations"]["podtask.dev/run-id"] == IDENTITY.run_id
    assert got["metadata"]["labels"]["podtask.dev/deployment"] == "prod"
    assert got == _build(IDENTITY, **BASE, name="Load_it", build={"suffix": 1}), "the same each time"


def test_the_originals_labels_are_on_the_pod_and_win() -> None:
    got = _build(
        IDENTITY,
        image="x",
        labels={"team": "a", "dag_id": "mine"},
        pod_template_dict={"metadata": {"labels": {"team": "b", "cost": "c"}, "annotations": {"x": "1", "y": "1"}}},
        annotations={"y": "2"},
        build={"in_cluster": False},
    )
    assert got["spec"]["template"]["metadata"] == {
        "labels": {
            "team": "a",
            "cost": "c",
            "airflow_kpo_in_cluster": "False",
            "dag_id": "warehouse",
            "task_id": "load",
            "run_id": "scheduled__2026-01-02T0000000000-bfedf5754",
            "map_index": "3",
            "try_number": "2",
            "kubernetes_pod_operator": "True",
            "airflow_version": "3.3.2-local",
        },
        "annotations": {"x": "1", "y": "2"},
    }


def test_a_cloud_may_ask_for_its_own_in_cluster_label() -> None:
    got = _build(**BASE, labels={"airflow_kpo_in_cluster": "False"}, build={"in_cluster": True})
    assert got["spec"]["template"]["metadata"]["labels"] == {"airflow_kpo_in_cluster": "False"}


NAMES: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "a name is a stem": ({"name": "My.Task"}, "my-task", None),
    "an exact name": ({"name": "My.Task", "random_name_suffix": False}, "my-task", "my-task"),
    "a long exact name is not cut": (
        {"name": "a" * 100, "random_name_suffix": False},
        "a" * 63,
        "a" * 100,
    ),
    "the task's id without a name": ({"task_id": "Load_it", "random_name_suffix": False}, "load-it", "load-it"),
    "the template's name is a stem": ({"pod_template_dict": {"metadata": {"name": "t"}}, "task_id": "x"}, "t", None),
    "the argument comes first": ({"pod_template_dict": {"metadata": {"name": "t"}}, "name": "n"}, "n", None),
    "nothing at all": ({}, "task", None),
}


@pytest.mark.parametrize("case", NAMES)
def test_names(case: str) -> None:
    given, name, pod = NAMES[case]
    got = _build(**BASE, **given)
    assert got["metadata"]["name"] == name
    assert got["spec"].get("template", {}).get("metadata", {}).get("name") == pod


def test_namespaces() -> None:
    template = {"metadata": {"namespace": "t"}}
    assert _build(**BASE, namespace="a", pod_template_dict=template)["metadata"]["namespace"] == "a"
    assert _build(**BASE, pod_template_dict=template, build={"namespace": "c"})["metadata"]["namespace"] == "t"
    assert _build(**BASE, build={"namespace": "c"})["metadata"]["namespace"] == "c"
    assert "namespace" not in _build(**BASE)["metadata"]
    assert "template" not in _build(**BASE, pod_template_dict=template)["spec"], "a Pod is where its PodTask is"


def _pod(*names: str) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": name, "image": "x", "envFrom": [{"prefix": name}]} for name in names]}}


def test_the_only_container_of_a_template_is_the_task() -> None:
    spec = _build(full_pod_spec=_pod("app"), configmaps=["c"])["spec"]
    assert [container["name"] for container in spec["template"]["spec"]["containers"]] == ["base"]
    assert spec["envFrom"] == [{"prefix": "app"}, {"configMapRef": {"name": "c"}}], "added to, as by the original"
    spec = _build(full_pod_spec=_pod("app"), base_container_name="main")["spec"]
    assert [container["name"] for container in spec["template"]["spec"]["containers"]] == ["main"]
    assert spec["containerName"] == "main"


def test_of_several_the_name_decides() -> None:
    spec = _build(full_pod_spec=_pod("proxy", "base"))["spec"]
    assert [container["name"] for container in spec["template"]["spec"]["containers"]] == ["proxy", "base"]
    with pytest.raises(
        ArgumentError, match="base_container_name: the template has the containers proxy, app, and none is"
    ):
        _build(full_pod_spec=_pod("proxy", "app"))


def test_lists_without_names_are_added_once() -> None:
    pod = {"spec": {"containers": [{"name": "base", "ports": [{"containerPort": 1}]}]}}
    got = _build(**BASE, full_pod_spec=pod, ports=[{"containerPort": 1}, {"containerPort": 2}])
    assert got["spec"]["ports"] == [{"containerPort": 1}, {"containerPort": 2}]
    assert "ports" not in _build(**BASE, full_pod_spec=pod)["spec"]
    assert _build(**BASE, full_pod_spec=pod, ports=[])["spec"]["ports"] == []


def test_an_image_is_needed_somewhere() -> None:
    with pytest.raises(ArgumentError, match="image is missing: set it, or set it in the template"):
        _build(cmds=["sh"])
    assert _build(spec={"image": "x"})["spec"]["image"] == "x"
    assert "image" not in _build(full_pod_spec=_pod("app"))["spec"]


def test_the_template_file_is_read_when_it_is_built(tmp_path: Path) -> None:
    path = tmp_path / "{{ ds }}.yaml"
    prepared = arguments.prepare({"pod_template_file": str(path), "image": "x"})
    path.write_text("metadata: {name: '{{ name }}'}")
    got = manifest.build(arguments.parse(prepared), None, render=lambda text: text.replace("{{ name }}", "rendered"))
    assert got["metadata"]["name"] == "rendered"
    path.unlink()
    with pytest.raises(ArgumentError, match=r"pod_template_file .* cannot be read where the task runs"):
        manifest.build(arguments.parse(prepared), None)


def test_what_was_given_is_not_changed() -> None:
    pod = k8s.V1Pod(spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="app", image="x")]))
    given = {"full_pod_spec": pod, "env_vars": {"A": 1}, "spec": {"env": [{"name": "B"}]}}
    _build(**given)
    assert pod.spec.containers[0].name == "app"
    assert given["env_vars"] == {"A": 1}


def test_no_explicit_null_is_left() -> None:
    """Server-side apply takes a null for a wish."""

    def nulls(value: Any) -> bool:
        if isinstance(value, dict):
            return any(nulls(entry) for entry in value.values())
        return any(nulls(entry) for entry in value) if isinstance(value, list) else value is None

    spec = {"suspend": None, "template": {"spec": {"hostPID": None, "new": {"a": None}}}}
    assert not nulls(_build(IDENTITY, **BASE, spec=spec, volumes=[{"name": "v", "emptyDir": None}]))
