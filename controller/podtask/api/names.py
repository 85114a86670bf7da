"""Names that are stored in a cluster: group, labels, annotations, finalizer, containers and conditions.

They are a contract across releases: a running task keeps them through an upgrade of the controller.
"""

GROUP = "podtask.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "PodTask"
PLURAL = "podtasks"
SINGULAR = "podtask"
SHORT_NAME = "pt"
CATEGORY = "podtask-all"
"""`kubectl get podtask-all` lists all kinds of this project. Kubectl would expand the name of a kind to all kinds if it
was also the category, and with `all` as category `kubectl delete all --all` would delete tasks and their results."""

CONTROLLER = f"{GROUP}/controller"
"""The value of `spec.managedBy` for this controller. It ignores tasks with another value."""

LABEL_TASK_UID = f"{GROUP}/task-uid"
"""On a Pod: the uid of its PodTask. The controller's Pod watch selects on the presence of this label."""
LABEL_ATTEMPT = f"{GROUP}/attempt"
"""On a Pod: the number of the attempt, from 1."""
LABEL_TASK_NAME = f"{GROUP}/task-name"
"""On a Pod: the name of its PodTask, truncated to 63 characters, for `kubectl get pods -l`."""
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
"""Kueue's label for the queue of a plain Pod."""

ANNOTATION_STOP = f"{GROUP}/stop-reason"
"""On a Pod: the reason for which the controller stopped it. The PATCH that stops it writes it, for a later process."""
ANNOTATION_STOP_TIME = f"{GROUP}/stop-time"
"""On a Pod: the time at which the controller asked the kubelet to stop it. A Pod that keeps running is deleted."""
ANNOTATION_TASK = f"{GROUP}/task"
"""On a Pod: the full name of its PodTask, for a lookup when labels and owner reference are lost."""
ANNOTATION_SPEC_HASH = f"{GROUP}/spec-hash"
"""On a Pod: the hash of the spec from which it was created."""
ANNOTATION_ACKNOWLEDGED = f"{GROUP}/acknowledged"
"""On a PodTask: its client has read what it needs, so the finished Pod may be deleted at once."""

FINALIZER = f"{GROUP}/outcome"
"""On a Pod: its outcome is not recorded in the status yet."""

DEFAULT_CONTAINER = "base"
RESULT_CONTAINER = "podtask-result"
"""The native sidecar that delivers the result."""
RESULT_VOLUME = "podtask-result"

CONDITION_FINISHED = "Finished"
CONDITION_SUCCEEDED = "Succeeded"
CONDITION_SUSPENDED = "Suspended"
CONDITION_RECONCILING = "Reconciling"
"""True until the task has ended or is suspended: kstatus (helm, Flux) then reports InProgress."""
CONDITION_STALLED = "Stalled"
"""True if the task is Failed or Cancelled: kstatus (helm, Flux) then reports Failed."""
