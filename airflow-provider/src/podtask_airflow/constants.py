"""Names that the provider shares with the controller or with users of KubernetesPodOperator.

The provider is installed without the controller and upgraded separately, so this is a copy; a test compares the two.
"""

import hashlib
import re

GROUP = "podtask.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "PodTask"
PLURAL = "podtasks"

LABEL_DEPLOYMENT = f"{GROUP}/deployment"
"""On a PodTask: the Airflow deployment that created it. The triggerer's shared watch selects by it."""
LABEL_TASK_KEY = f"{GROUP}/task-key"
"""On a PodTask: one value for all tries of a task instance. A later try finds the earlier PodTasks by it."""

ANNOTATION_DAG = f"{GROUP}/dag-id"
ANNOTATION_TASK = f"{GROUP}/task-id"
ANNOTATION_RUN = f"{GROUP}/run-id"
ANNOTATION_MAP_INDEX = f"{GROUP}/map-index"
ANNOTATION_TRY = f"{GROUP}/try-number"
ANNOTATION_TI = f"{GROUP}/ti-id"
ANNOTATION_MAX_TRIES = f"{GROUP}/max-tries"
"""Grows when a user clears the task, and stays the same when Airflow retries it."""
ANNOTATION_OWNER = f"{GROUP}/owner"
"""The try that waits for the PodTask. No other try may cancel or release it."""
ANNOTATION_ACKNOWLEDGED = f"{GROUP}/acknowledged"
"""Set by the owner when it has read the log: the controller need not keep the finished Pod any longer."""

DEFAULT_CONTAINER = "base"

POD_LABEL_IN_CLUSTER = "airflow_kpo_in_cluster"
"""On the Pod, as KubernetesPodOperator sets it: whether Airflow runs in the same cluster."""

_MAX_LABEL = 63
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def is_label_value(text: str) -> bool:
    """Return whether this is a valid value of a label."""
    return len(text) <= _MAX_LABEL and _LABEL.fullmatch(text) is not None


def safe_label(text: str) -> str:
    """Convert an Airflow id to a label value exactly as KubernetesPodOperator does: users' policies match on these."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "", text).strip("-_.")
    if safe == text and len(safe) <= _MAX_LABEL:
        return safe
    digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:9]
    # For a text without a letter or digit KubernetesPodOperator returns "-…", which is not a valid label value.
    return f"{safe[: _MAX_LABEL - len(digest) - 1]}-{digest}".lstrip("-")


def slug(text: str) -> str:
    """Convert to a part of a DNS name: lower case, and one dash for each run of other characters."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
