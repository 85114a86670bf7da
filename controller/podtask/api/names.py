"""Every name that a cluster stores or that crosses a version: group, labels, annotations, finalizer. Each exists once.

They are a contract across releases: a running task carries them through an upgrade of the controller.
"""

GROUP = "podtask.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "PodTask"
PLURAL = "podtasks"
SINGULAR = "podtask"
SHORT_NAME = "pt"

CONTROLLER = f"{GROUP}/controller"
"""The value of `spec.managedBy` that means this controller; anything else means hands off."""

FIELD_MANAGER = "podtask"

LABEL_TASK_UID = f"{GROUP}/task-uid"
"""On a Pod: the uid of its PodTask. The controller's Pod watch selects on the presence of this label."""
LABEL_ATTEMPT = f"{GROUP}/attempt"
"""On a Pod: the number of the attempt, from 1."""
LABEL_TASK_NAME = f"{GROUP}/task-name"
"""On a Pod: the name of its PodTask, cut to 63 characters, for people (`kubectl get pods -l`)."""
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
"""Kueue's label for the queue of a plain Pod."""

ANNOTATION_STOP = f"{GROUP}/stop-reason"
"""On a Pod: why the controller stopped it. Written by the PATCH that stops it, so the reason survives a restart."""
ANNOTATION_STOP_TIME = f"{GROUP}/stop-time"
"""On a Pod: when the controller asked the kubelet to stop it. A Pod that does not stop is deleted by this time."""
ANNOTATION_TASK = f"{GROUP}/task"
"""On a Pod: the whole name of its PodTask, by which it is looked up when nothing else is left."""
ANNOTATION_SPEC_HASH = f"{GROUP}/spec-hash"
"""On a Pod: the digest of the spec it was made from."""
ANNOTATION_ACKNOWLEDGED = f"{GROUP}/acknowledged"
"""On a PodTask: its waiter has what it needs; the finished Pod need not be kept for it."""

FINALIZER = f"{GROUP}/outcome"
"""On a Pod: its outcome is not in the status yet."""

DEFAULT_CONTAINER = "base"
RESULT_CONTAINER = "podtask-result"
"""The native sidecar that delivers the result."""
RESULT_VOLUME = "podtask-result"

CONDITION_FINISHED = "Finished"
CONDITION_SUCCEEDED = "Succeeded"
CONDITION_SUSPENDED = "Suspended"
