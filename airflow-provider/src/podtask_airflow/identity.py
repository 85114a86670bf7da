"""Who a PodTask belongs to: one task instance of one Airflow deployment, and which of its tries.

Pure. dag, run, task, map index and try are not unique: a run deleted and created again under the same run_id begins
at try 1 once more. The start of the run tells the two apart, so it is part of the key.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import names

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
    """What Airflow calls this try; nothing else has the same."""
    airflow_version: str = ""


def task_key(identity: Identity) -> str:
    """Digest what all tries of a task instance have in common, as a label's value."""
    parts = [
        identity.deployment,
        identity.dag_id,
        identity.run_id,
        identity.run_start.isoformat(timespec="microseconds"),
        identity.task_id,
        identity.map_index,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def name(identity: Identity, stem: str, extension: int = 0) -> str:
    """Name the PodTask of a try: readable in front, unique behind. `extension` is for a name that was taken."""
    end = f"-{task_key(identity)[:_DIGEST_LENGTH]}-{identity.try_number}"
    if extension:
        end += f"-x{extension}"
    front = names.slug(stem)[: _NAME_LENGTH - len(end)].strip("-")
    return (front or "task") + end


def metadata(identity: Identity) -> dict[str, Any]:
    """Give the PodTask's labels to select by, and the exact ids as annotations."""
    return {
        "labels": {
            names.LABEL_DEPLOYMENT: deployment_label(identity.deployment),
            names.LABEL_TASK_KEY: task_key(identity),
        },
        "annotations": {
            names.ANNOTATION_DAG: identity.dag_id,
            names.ANNOTATION_TASK: identity.task_id,
            names.ANNOTATION_RUN: identity.run_id,
            names.ANNOTATION_MAP_INDEX: str(identity.map_index),
            names.ANNOTATION_TRY: str(identity.try_number),
            names.ANNOTATION_MAX_TRIES: str(identity.max_tries),
            names.ANNOTATION_TI: identity.ti_id,
            names.ANNOTATION_WAITER: identity.ti_id,
        },
    }


def deployment_label(deployment: str) -> str:
    """Give the value of the deployment's label, by which one watch serves all tasks of the deployment."""
    return names.safe_label(deployment) or _DEFAULT_DEPLOYMENT


def task_selector(identity: Identity) -> str:
    """Select every try of the task instance."""
    return f"{names.LABEL_TASK_KEY}={task_key(identity)}"


def pod_labels(identity: Identity) -> dict[str, str]:
    """Give the labels that KubernetesPodOperator puts on its Pods: policies and cost tools match on them."""
    labels = {
        "dag_id": names.safe_label(identity.dag_id),
        "task_id": names.safe_label(identity.task_id),
        "run_id": names.safe_label(identity.run_id),
        "try_number": str(identity.try_number),
        "kubernetes_pod_operator": "True",
    }
    if identity.map_index >= 0:
        labels["map_index"] = str(identity.map_index)
    if identity.airflow_version:
        labels["airflow_version"] = identity.airflow_version.replace("+", "-")
    return labels
