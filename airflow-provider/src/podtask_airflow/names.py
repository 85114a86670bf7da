"""Every name that the provider shares with the controller, or with KubernetesPodOperator's users. Each exists once.

A copy of the wire contract, not an import: the provider is installed where the controller is not, and the two are
upgraded apart. A test holds the copy against the original.
"""

import hashlib
import re

GROUP = "podtask.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "PodTask"
PLURAL = "podtasks"

LABEL_DEPLOYMENT = f"{GROUP}/deployment"
"""On a PodTask: which Airflow made it. The triggerer's shared watch selects on it."""
LABEL_TASK_KEY = f"{GROUP}/task-key"
"""On a PodTask: one value for all tries of a task instance, by which a later try finds the earlier ones."""

ANNOTATION_DAG = f"{GROUP}/dag-id"
ANNOTATION_TASK = f"{GROUP}/task-id"
ANNOTATION_RUN = f"{GROUP}/run-id"
ANNOTATION_MAP_INDEX = f"{GROUP}/map-index"
ANNOTATION_TRY = f"{GROUP}/try-number"
ANNOTATION_TI = f"{GROUP}/ti-id"
ANNOTATION_MAX_TRIES = f"{GROUP}/max-tries"
"""Grows when a user clears the task, stays when Airflow retries: so the two are told apart."""
ANNOTATION_WAITER = f"{GROUP}/waiter"
"""Who waits for the task now; nobody else may cancel or acknowledge it."""
ANNOTATION_ACKNOWLEDGED = f"{GROUP}/acknowledged"
"""The waiter has what it needs; the finished Pod need not be kept for it."""

DEFAULT_CONTAINER = "base"

POD_LABEL_IN_CLUSTER = "airflow_kpo_in_cluster"
"""On the Pod, as KubernetesPodOperator has it: whether Airflow runs in the same cluster."""

_MAX_LABEL = 63
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def is_label_value(text: str) -> bool:
    """Say whether Kubernetes takes this as the value of a label."""
    return len(text) <= _MAX_LABEL and _LABEL.fullmatch(text) is not None


def safe_label(text: str) -> str:
    """Make a label value of an Airflow id, exactly as KubernetesPodOperator does: users' policies match on these."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "", text).strip("-_.")
    if safe == text and len(safe) <= _MAX_LABEL:
        return safe
    digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:9]
    # Of a text without any letter or digit the original leaves "-…", which is no label.
    return f"{safe[: _MAX_LABEL - len(digest) - 1]}-{digest}".lstrip("-")


def slug(text: str) -> str:
    """Make part of a DNS name: lower case, each run of anything else becomes one dash."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
