"""Pods that a test makes by itself, with the controller's marks or without, and the users who make them."""

import json
from typing import Any

from cluster import Cluster
from cluster.errors import ClusterError
from podtask.api import names
from podtask.core import identity
from tests.chart.tasks import PYTHON

Object = dict[str, Any]
MARKS_POLICY = "ValidatingAdmissionPolicy 'pod-marks."
BOUNDS_POLICY = "ValidatingAdmissionPolicy 'controller-pods."
UID = "5f0c1b52-0000-4000-8000-000000000000"
OWNER = identity.owner_reference("etl", UID)
MARKS: dict[str, Object] = {
    "label": {"labels": {names.LABEL_TASK_UID: UID}},
    "another label": {"labels": {f"{names.GROUP}/new": ""}},
    "annotation": {"annotations": {names.ANNOTATION_STOP: "Cancelled"}},
    "finalizer": {"finalizers": [names.FINALIZER]},
    "owner": {"ownerReferences": [OWNER]},
    "owner of another version, not as controller": {
        "ownerReferences": [{"apiVersion": "podtask.dev/v9", "kind": "PodTask", "name": "etl", "uid": UID}]
    },
}
"""Metadata of a Pod that only the controller may put there."""


def pod(name: str, metadata: Object | None = None, **spec: Any) -> Object:
    """Make a Pod that no scheduler takes, unless `spec` says otherwise."""
    container = {"name": "base", "image": PYTHON}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"schedulerName": "none", "containers": [container], **spec},
    }


class Actor:
    """A user of one namespace, by kubectl; every method gives the refusal, or nothing."""

    def __init__(self, cluster: Cluster, namespace: str, user: str = "", *, rights: bool = True) -> None:
        self._kubectl = cluster.kubectl
        groups = ("--as-group=system:masters",) if rights else ()
        self._words = ("-n", namespace, *((f"--as={user}", *groups) if user else ()))

    def create(self, made: Object, *words: str) -> str:
        return self._refusal("create", "-f", "-", *words, stdin=json.dumps(made))

    def post(self, path: str, made: Object) -> str:
        return self._refusal("create", "--raw", path, "-f", "-", stdin=json.dumps(made))

    def patch(self, name: str, change: Object, *words: str) -> str:
        return self._refusal("patch", "pod", name, "--type=merge", "-p", json.dumps(change), *words)

    def delete(self, name: str, *words: str) -> str:
        return self._refusal("delete", "pod", name, *words)

    def _refusal(self, *words: str, stdin: str | None = None) -> str:
        try:
            self._kubectl(*words, *self._words, stdin=stdin)
        except ClusterError as error:
            return str(error)
        return ""


def marked(task: str, uid: str, **metadata: Any) -> Object:
    """Return the metadata that the controller gives to the first Pod of a task."""
    return {
        "labels": identity.pod_labels(task, uid, 1),
        "annotations": {names.ANNOTATION_TASK: task},
        "finalizers": [names.FINALIZER],
        "ownerReferences": [identity.owner_reference(task, uid)],
        **metadata,
    }
