"""The identity of a PodTask: the task instance of an Airflow deployment, and the try. No I/O.

dag, run, task, map index and try are not unique: a run that is deleted and created again under the same run_id starts
at try 1 again. The start of the run distinguishes the two, so it is part of the key.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from .. import constants
from ..api_types import ObjectMeta

_NAME_LENGTH = 63
_DIGEST_LENGTH = 10
_DEFAULT_DEPLOYMENT = "airflow"


@dataclass(frozen=True)
class Identity:
    """One try of one task instance."""

    deployment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    run_start: datetime
    try_number: int
    max_tries: int
    ti_id: str
    """Airflow's id of this try, which is unique."""
    airflow_version: str = ""


def task_key(identity: Identity) -> str:
    """Return a digest of what all tries of a task instance have in common, as a label value."""
    parts = [
        identity.deployment,
        identity.dag_id,
        identity.run_id,
        identity.run_start.isoformat(timespec="microseconds"),
        identity.task_id,
        identity.map_index,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def name(identity: Identity, stem: str, suffix: int = 0) -> str:
    """Return the name of a try's PodTask: a readable stem and a unique end. `suffix` is a number if it is taken."""
    end = f"-{task_key(identity)[:_DIGEST_LENGTH]}-{identity.try_number}"
    if suffix:
        end += f"-x{suffix}"
    front = constants.slug(stem)[: _NAME_LENGTH - len(end)].strip("-")
    return (front or "task") + end


def metadata(identity: Identity) -> ObjectMeta:
    """Return the PodTask's labels, to select by, and its annotations, with the exact ids."""
    return {
        "labels": {
            # `kubectl get podtask -l dag_id=...`, with the names and values of KubernetesPodOperator's Pods.
            **{key: value for key, value in pod_labels(identity).items() if key != "kubernetes_pod_operator"},
            constants.LABEL_DEPLOYMENT: deployment_label(identity.deployment),
            constants.LABEL_TASK_KEY: task_key(identity),
        },
        "annotations": {
            constants.ANNOTATION_DAG: identity.dag_id,
            constants.ANNOTATION_TASK: identity.task_id,
            constants.ANNOTATION_RUN: identity.run_id,
            constants.ANNOTATION_MAP_INDEX: str(identity.map_index),
            constants.ANNOTATION_TRY: str(identity.try_number),
            constants.ANNOTATION_MAX_TRIES: str(identity.max_tries),
            constants.ANNOTATION_TI: identity.ti_id,
            constants.ANNOTATION_OWNER: identity.ti_id,
        },
    }


def deployment_label(deployment: str) -> str:
    """Return the value of the deployment's label. One watch with it serves all tasks of the deployment."""
    return constants.safe_label(deployment) or _DEFAULT_DEPLOYMENT


def task_selector(identity: Identity) -> str:
    """Return the label selector of all tries of the task instance."""
    return f"{constants.LABEL_TASK_KEY}={task_key(identity)}"


def pod_labels(identity: Identity) -> dict[str, str]:
    """Return the labels that KubernetesPodOperator sets on its Pods: policies and cost tools match on them."""
    labels = {
        "dag_id": constants.safe_label(identity.dag_id),
        "task_id": constants.safe_label(identity.task_id),
        "run_id": constants.safe_label(identity.run_id),
        "try_number": str(identity.try_number),
        "kubernetes_pod_operator": "True",
    }
    if identity.map_index >= 0:
        labels["map_index"] = str(identity.map_index)
    if identity.airflow_version:
        labels["airflow_version"] = identity.airflow_version.replace("+", "-")
    return labels
