"""A task on another cluster than all the others, because only that one has GPUs.

The connection `gpu_cluster` (type Kubernetes Cluster Connection) holds the path of a kubeconfig, or the kubeconfig
itself as JSON, and the context in it. Its user may be an exec plugin, as with `aws eks get-token`. Both can be given
for one task alone, with the arguments `config_file` and `cluster_context`.
"""

from typing import Any

from kubernetes.client import models as k8s
from podtask_airflow import KubernetesPodOperator, PodTaskOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

GPU_NODES = {"accelerator": "gpu"}
"""The label of the nodes that have GPUs."""


def on_the_gpu_cluster(**more: Any) -> dict[str, Any]:
    """Give what the tasks for that cluster have in common."""
    return {
        "task_id": "train",
        "kubernetes_conn_id": "gpu_cluster",
        "in_cluster": False,
        "namespace": "{{ params.namespace }}",
        "image": "{{ params.image }}",
        "name": "train",
        "cmds": ["sh", "-c"],
        "arguments": ["echo training on $(cat /etc/hostname) && nproc"],
        "node_selector": GPU_NODES,
        "get_logs": True,
        **more,
    }


def gpu_dag(dag_id: str) -> DAG:
    """Make an empty DAG for that cluster."""
    return DAG(
        dag_id,
        description="One task on the cluster with GPUs",
        schedule=None,
        params={"image": "localhost/podtask/python:dev", "namespace": "default"},
        tags=["podtask", "example"],
    )


with gpu_dag("gpu_cluster"):
    # As it was written for years: resources by the old names. `limit_gpu` is the resource nvidia.com/gpu.
    KubernetesPodOperator(
        **on_the_gpu_cluster(
            resources={"request_cpu": "100m", "request_memory": "64Mi", "limit_memory": "128Mi", "limit_gpu": 1},
            is_delete_operator_pod=True,
        )
    )

with gpu_dag("gpu_cluster_deferrable"):
    # The same with Kubernetes' own type.
    PodTaskOperator(
        **on_the_gpu_cluster(
            container_resources=k8s.V1ResourceRequirements(
                requests={"cpu": "100m", "memory": "64Mi"},
                limits={"memory": "128Mi", "nvidia.com/gpu": "1"},
            ),
            deferrable=True,
        )
    )
