"""What the Airflow provider builds, as samples for those who judge PodTasks: its half of the contract.

The provider is a distribution of its own, whose tests run beside Airflow; its building of manifests needs none, so it
is taken from its sources here.
"""

import datetime as dt
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from kubernetes.client import models as k8s

from .examples import ROOT, Json

_SOURCES = str(ROOT / "airflow-provider" / "src")
if _SOURCES not in sys.path:
    sys.path.append(_SOURCES)
arguments = importlib.import_module("podtask_airflow.utils.arguments")
manifest = importlib.import_module("podtask_airflow.utils.manifest")
identity = importlib.import_module("podtask_airflow.utils.identity")
pod_mutation = importlib.import_module("podtask_airflow.utils.pod_mutation")
constants = importlib.import_module("podtask_airflow.constants")
secret = importlib.import_module("podtask_airflow.secret")

IDENTITY = identity.Identity(
    deployment="prod",
    dag_id="a dag.of/ours",
    run_id="scheduled__2026-01-02T00:00:00+00:00",
    task_id="load",
    map_index=7,
    run_start=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    try_number=2,
    max_tries=3,
    ti_id="0190a4a1-0000-7000-8000-000000000000",
    airflow_version="3.3.2+local",
)
EXTRAS = {
    "xcom_sidecar_container_resources": '{"requests": {"cpu": "1m"}, "limits": {"memory": "64Mi"}}',
    "xcom_sidecar_container_security_context": {"runAsNonRoot": True},
}

_TEMPLATE: Json = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "from-template",
        "namespace": "default",
        "labels": {"team": "a"},
        "annotations": {"note": "x" * 300},
    },
    "spec": {
        "restartPolicy": "Always",
        "hostNetwork": True,
        "nodeSelector": {"disk": "ssd"},
        "containers": [
            {"name": "proxy", "image": "envoy", "env": [{"name": "A", "value": 1}]},
            {
                "name": "base",
                "image": "busybox",
                "envFrom": [{"configMapRef": {"name": "c"}}],
                "ports": [{"containerPort": 1}],
            },
            {"name": "main", "image": "busybox"},
        ],
        "initContainers": [{"name": "wait", "image": "busybox", "restartPolicy": "Always"}],
        "volumes": [{"name": "below", "emptyDir": {}}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    },
}
_ONE_CONTAINER: Json = {"spec": {"containers": [{"name": "app", "image": "busybox"}]}}
_POD = k8s.V1Pod(
    metadata=k8s.V1ObjectMeta(labels={"over": "x"}),
    spec=k8s.V1PodSpec(
        containers=[k8s.V1Container(name="base", image="alpine"), k8s.V1Container(name="main", image="alpine")],
        share_process_namespace=True,
    ),
)
_NODE_AFFINITY = k8s.V1NodeAffinity(
    required_during_scheduling_ignored_during_execution=k8s.V1NodeSelector(
        node_selector_terms=[
            k8s.V1NodeSelectorTerm(
                match_expressions=[k8s.V1NodeSelectorRequirement(key="gpu", operator="In", values=["a"])]
            )
        ]
    )
)


def _template_file() -> str:
    path = Path(tempfile.mkdtemp(prefix="podtask-template-")) / "pod.yaml"
    path.write_text("metadata: {labels: {from: file}}\nspec: {containers: [{name: only, image: busybox}]}\n")
    return str(path)


def _callback(*_: object) -> str:
    return ""


SAMPLES: dict[str, list[Any]] = {
    "name": ["load", "Load_the.Data", "a" * 200],
    "random_name_suffix": [False, True],
    "namespace": ["default"],
    "labels": [{"app": "backend", "env": None, "v": 1.5}, {}],
    "annotations": [{"note": "any text, however long " * 20}, {}],
    "hostname": ["loader"],
    "subdomain": ["tasks"],
    "image": ["busybox:1.36", "registry.example.com:5000/a/b@sha256:" + "0" * 64],
    "image_pull_policy": ["Always", "Never"],
    "image_pull_secrets": ["a,b", [k8s.V1LocalObjectReference(name="a"), "c"], []],
    "cmds": [["sh", "-c"], [], "[python, -m, x]"],
    "arguments": [["echo $(A)"], [], [1, 2.5]],
    "ports": [[k8s.V1ContainerPort(container_port=80, name="http")], [{"containerPort": 1}], []],
    "base_container_name": ["base", "main"],
    "init_containers": [[k8s.V1Container(name="prepare", image="busybox")], "- {name: wait, image: other}", []],
    "termination_message_policy": ["File", "FallbackToLogsOnError"],
    "env_vars": [{"A": "a", "B": None, "N": 5}, [k8s.V1EnvVar(name="A", value="x")] * 2, "{A: true}", {}],
    "env_from": [[k8s.V1EnvFromSource(config_map_ref=k8s.V1ConfigMapEnvSource(name="m", optional=True))], []],
    "configmaps": [["m", "n"], []],
    "secrets": [
        [
            secret.Secret("env", "db_password", "db", "password"),
            secret.Secret("env", None, "db"),
            secret.Secret("volume", "/etc/db", "db", items=({"key": "a", "path": "b"},)),
        ],
        [],
    ],
    "pod_runtime_info_envs": [
        [
            k8s.V1EnvVar(
                name="IP", value_from=k8s.V1EnvVarSource(field_ref=k8s.V1ObjectFieldSelector(field_path="status.podIP"))
            )
        ],
        [{"name": "NODE", "field_path": "spec.nodeName"}],
    ],
    "container_resources": [
        k8s.V1ResourceRequirements(requests={"cpu": "5m"}, limits={"memory": "1Gi", "example.com/gpu": "1"}),
        {"requests": {"cpu": 0.1, "memory": 1048576}, "limits": {"cpu": 1}},
        {},
    ],
    "resources": [
        {"request_memory": "64Mi", "request_cpu": 0.5, "limit_memory": "1Gi", "limit_cpu": 1, "limit_gpu": 1},
    ],
    "priority_class_name": ["batch"],
    "runtime_class_name": ["runc"],
    "volumes": [
        [k8s.V1Volume(name="v", persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name="c"))],
        "- {name: v, emptyDir: {sizeLimit: 1Gi}}",
        [],
    ],
    "volume_mounts": [[k8s.V1VolumeMount(name="v", mount_path="/v", sub_path="s", read_only=False)], []],
    "node_selector": [{"kubernetes.io/arch": "amd64"}, {}],
    "node_selectors": [{"zone": "a"}],
    "affinity": [k8s.V1Affinity(node_affinity=_NODE_AFFINITY), {"podAntiAffinity": {}}, "nodeAffinity: {}"],
    "tolerations": [[k8s.V1Toleration(key="gpu", operator="Exists", toleration_seconds=0), {"operator": "Exists"}], []],
    "schedulername": ["default-scheduler"],
    "hostnetwork": [False, True],
    "host_aliases": [[k8s.V1HostAlias(ip="127.0.0.1", hostnames=["db"])], []],
    "dnspolicy": ["ClusterFirst"],
    "dns_config": [k8s.V1PodDNSConfig(options=[k8s.V1PodDNSConfigOption(name="ndots", value="2")])],
    "service_account_name": ["default"],
    "automount_service_account_token": [False, True],
    "security_context": [k8s.V1PodSecurityContext(run_as_user=0, fs_group=1000), {"runAsNonRoot": False}],
    "container_security_context": [
        k8s.V1SecurityContext(privileged=False, capabilities=k8s.V1Capabilities(drop=["ALL"])),
        {"seccompProfile": {"type": "RuntimeDefault"}},
    ],
    "xcom_sidecar_container_security_context": [k8s.V1SecurityContext(run_as_user=0)],
    "startup_timeout_seconds": [1, 600, "30"],
    "schedule_timeout_seconds": [1, 86400],
    "startup_check_interval_seconds": [1],
    "base_container_status_polling_interval": [0.5],
    "active_deadline_seconds": [1, dt.timedelta(days=2)],
    "termination_grace_period": [0, 30],
    "on_finish_action": ["delete_pod", "delete_succeeded_pod", "delete_active_pod", "keep_pod"],
    "on_kill_action": ["delete_pod", "keep_pod"],
    "is_delete_operator_pod": [True, False],
    "durable": [True, False],
    "reattach_on_restart": [True, False],
    "skip_on_exit_code": [99, [1, 255], range(90, 100)],
    "get_logs": [True, False],
    "container_logs": ["base", ["base", "proxy"], True],
    "init_container_logs": [True, "wait"],
    "log_events_on_startup": [True, False],
    "log_events_on_failure": [True, False],
    "log_pod_spec_on_failure": [True, False],
    "container_name_log_prefix_enabled": [True, False],
    "log_formatter": [_callback],
    "progress_callback": [_callback],
    "logging_interval": [5],
    "do_xcom_push": [True, False],
    "xcom_push": [True],
    "deferrable": [True, False],
    "poll_interval": [2],
    "trigger_kwargs": [None],
    "callbacks": [type("Callbacks", (), {})],
    "kubernetes_conn_id": ["other", None],
    "in_cluster": [True, False],
    "cluster_context": ["prod"],
    "config_file": ["/etc/kube/config"],
    "pod_template_file": [_template_file()],
    "pod_template_dict": [_TEMPLATE, _ONE_CONTAINER],
    "full_pod_spec": [_POD, _TEMPLATE],
    "xcom_required": [True, False],
    "xcom_max_bytes": [4095, 524288],
    "xcom_path": ["/out/result.json"],
    "xcom_mode": ["Auto"],
    "backoff_limit": [0, 5],
    "disruption_limit": [0, 5],
    "failure_policy": [
        {"rules": [{"action": "Retry", "onReasons": {"values": ["Evicted"]}}]},
        [{"action": "Fail", "onExitCodes": {"operator": "NotIn", "values": [1]}}],
    ],
    "deadlines": [{"totalSeconds": 3600, "startSeconds": None}, {"scheduleSeconds": None, "startSeconds": None}],
    "queue_name": ["batch"],
    "ttl_seconds_after_succeeded": [0, 86400],
    "ttl_seconds_after_failed": [0, 604800],
    "pod_ttl_seconds": [60, 900],
    "spec": [{"suspend": True, "backoff": {"initialSeconds": 1}, "hostNetwork": None}, "workingDir: /work"],
    "deployment": ["prod"],
    "end_from_trigger": [False],
    "controller_timeout": [60],
    "api_outage_tolerance": [60],
    "task_id": ["load"],
    "retries": [0, 2],
    "execution_timeout": [dt.timedelta(seconds=0.5), dt.timedelta(hours=1)],
}
"""Values of each argument, old names and BaseOperator's included; any of them go together, but for EITHER."""

EITHER = (
    ("resources", "container_resources"),
    ("node_selectors", "node_selector"),
    ("is_delete_operator_pod", "on_finish_action"),
    ("durable", "reattach_on_restart"),
    ("pod_template_file", "pod_template_dict"),
    ("xcom_push", "do_xcom_push"),
    ("xcom_max_bytes", "xcom_mode"),
)


def build(given: dict[str, Any], *, with_identity: bool = True) -> Json:
    """The PodTask of these arguments, by the operator's way: prepared when it is parsed, read when it runs."""
    read = arguments.parse(arguments.prepare(given))
    who = IDENTITY if with_identity else None
    return manifest.build(read, who, sidecar=EXTRAS, in_cluster=False, namespace="default")


def completed(given: dict[str, Any]) -> dict[str, Any]:
    """The same arguments, with what they need beside them, and without what excludes another."""
    given = dict(given)
    for one, other in EITHER:
        if one in given and other in given:
            del given[one]
    if not {"image", "full_pod_spec"} & given.keys():
        given["image"] = "busybox"
    if given.get("xcom_required"):
        given.pop("xcom_push", None)
        given["do_xcom_push"] = True
    if {"pod_template_dict", "full_pod_spec", "pod_template_file"} & given.keys() and "base_container_name" in given:
        given["full_pod_spec"] = _POD
    return given
