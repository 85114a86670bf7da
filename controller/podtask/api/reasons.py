"""All reasons of a status, each with its meaning and what to do.

`docs/reference/reasons.md` is generated from this table.
"""

import enum
from typing import NamedTuple


class Reason(enum.StrEnum):
    """The reasons of phases, attempts and results."""

    # waiting and running
    CREATED = "Created"
    RUNNING = "Running"
    COLLECTING_RESULT = "CollectingResult"
    STOPPING = "Stopping"
    SUSPENDED = "Suspended"
    BACKOFF = "Backoff"
    POD_TERMINATING = "PodTerminating"
    NAME_TAKEN = "NameTaken"
    SCHEDULING_GATED = "SchedulingGated"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONFIG_ERROR = "ConfigError"
    QUOTA_EXCEEDED = "QuotaExceeded"
    CREATE_REFUSED = "CreateRefused"
    CONCURRENCY_LIMIT = "ConcurrencyLimit"
    NODE_UNREACHABLE = "NodeUnreachable"
    # the end of an attempt or a task
    COMPLETED = "Completed"
    SKIPPED = "Skipped"
    CANCELLED = "Cancelled"
    CANCEL_TIME_REACHED = "CancelTimeReached"
    NON_ZERO_EXIT = "NonZeroExit"
    OOM_KILLED = "OOMKilled"
    START_FAILED = "StartFailed"
    INIT_CONTAINER_FAILED = "InitContainerFailed"
    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    NODE_SHUTDOWN = "NodeShutdown"
    NODE_REFUSED = "NodeRefused"
    POD_DELETED = "PodDeleted"
    QUEUE_EVICTED = "QueueEvicted"
    ADMISSION_DENIED = "AdmissionDenied"
    INVALID_SPEC = "InvalidSpec"
    INVALID_POD_TEMPLATE = "InvalidPodTemplate"
    NAME_CONFLICT = "NameConflict"
    SPEC_CHANGED = "SpecChanged"
    POLICY_DENIED = "PolicyDenied"
    SPEC_TOO_LARGE = "SpecTooLarge"
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
    DISRUPTION_LIMIT_EXCEEDED = "DisruptionLimitExceeded"
    ATTEMPT_LIMIT_EXCEEDED = "AttemptLimitExceeded"
    SCHEDULE_DEADLINE_EXCEEDED = "ScheduleDeadlineExceeded"
    IMAGE_PULL_DEADLINE_EXCEEDED = "ImagePullDeadlineExceeded"
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"
    RUN_DEADLINE_EXCEEDED = "RunDeadlineExceeded"
    TOTAL_DEADLINE_EXCEEDED = "TotalDeadlineExceeded"
    # the result
    XCOM_MISSING = "XComMissing"
    XCOM_INVALID = "XComInvalid"
    XCOM_TOO_LARGE = "XComTooLarge"
    XCOM_UNREADABLE = "XComUnreadable"
    XCOM_SIDECAR_FAILED = "XComSidecarFailed"
    XCOM_LOST = "XComLost"
    XCOM_DROPPED = "XComDropped"
    # the reason for which the controller stops a Pod that is no longer needed
    MAIN_CONTAINER_ENDED = "MainContainerEnded"


class ReasonDoc(NamedTuple):
    """What a reason means, and what to do."""

    meaning: str
    action: str


REASONS: dict[Reason, ReasonDoc] = {
    Reason.CREATED: ReasonDoc("The Pod was created and has not started yet.", "Wait."),
    Reason.RUNNING: ReasonDoc("The task's container runs.", "Wait, or read its log with `kubectl logs`."),
    Reason.COLLECTING_RESULT: ReasonDoc(
        "The task's container has ended and its result is being read.", "Wait; it takes about a second."
    ),
    Reason.STOPPING: ReasonDoc(
        "The controller has asked the Pod to stop.", "Wait for its grace period (terminationGracePeriodSeconds)."
    ),
    Reason.SUSPENDED: ReasonDoc("spec.suspend is true.", "Set it to false to go on."),
    Reason.BACKOFF: ReasonDoc(
        "The last attempt failed; the next one starts at status.nextAttemptTime.",
        "Look at status.attempts for the cause.",
    ),
    Reason.POD_TERMINATING: ReasonDoc(
        "The Pod of the last attempt is still being stopped; the next never overlaps it.", "Wait."
    ),
    Reason.NAME_TAKEN: ReasonDoc(
        "The Pod of another PodTask has the name in template.metadata.name; this task waits until that Pod is deleted.",
        "Wait for the end of that task and its podTTLSecondsAfterFinished, or use different names.",
    ),
    Reason.SCHEDULING_GATED: ReasonDoc(
        "A queueing system holds the Pod with a scheduling gate.", "Look at the queue, such as Kueue's Workload."
    ),
    Reason.UNSCHEDULABLE: ReasonDoc(
        "No node fits the Pod; the message is the scheduler's.",
        "Change resources, nodeSelector, affinity or tolerations, or add nodes.",
    ),
    Reason.IMAGE_PULL_FAILED: ReasonDoc(
        "An image cannot be pulled; the message names the container and the cause.",
        "Correct the image's name, or set imagePullSecrets.",
    ),
    Reason.CONFIG_ERROR: ReasonDoc(
        "Something that the Pod needs is missing: a Secret, ConfigMap, volume claim, ServiceAccount or PriorityClass;"
        " or its node cannot prepare a volume, the sandbox or the network.",
        "Create or repair what the message names; the Pod then starts without further action.",
    ),
    Reason.QUOTA_EXCEEDED: ReasonDoc(
        "The namespace's ResourceQuota is used up.", "Wait for other Pods to end, or raise the quota."
    ),
    Reason.CREATE_REFUSED: ReasonDoc(
        "The API server refuses the Pod for a reason that may be temporary; the controller tries again.",
        "Read the message; most often the cause is the controller's permissions or a failing webhook.",
    ),
    Reason.CONCURRENCY_LIMIT: ReasonDoc(
        "The namespace runs as many Pods as the platform's policy allows.", "Wait, or ask the platform team for more."
    ),
    Reason.NODE_UNREACHABLE: ReasonDoc(
        "The Pod's node does not respond. The Pod may still be running, so no second one is started.",
        "Repair or delete the node, or set spec.forceDeletePodAfterSeconds.",
    ),
    Reason.COMPLETED: ReasonDoc("The task's container ended with exit code 0, or its Pod succeeded.", "Nothing."),
    Reason.SKIPPED: ReasonDoc("A failure policy rule with action Skip matched.", "Nothing."),
    Reason.CANCELLED: ReasonDoc("spec.cancel was set.", "Nothing; create a new PodTask to run again."),
    Reason.CANCEL_TIME_REACHED: ReasonDoc(
        "spec.cancelTime was reached: the client that waited for the task did not extend it.", "Create a new PodTask."
    ),
    Reason.NON_ZERO_EXIT: ReasonDoc(
        "The task's container ended with an exit code other than 0.", "Read logTail or the Pod's log."
    ),
    Reason.OOM_KILLED: ReasonDoc(
        "The container used more memory than its limit.", "Raise resources.limits.memory, or use less."
    ),
    Reason.START_FAILED: ReasonDoc(
        "The container could not be started; the message is the container runtime's.",
        "Correct the command, the working directory or the security context.",
    ),
    Reason.INIT_CONTAINER_FAILED: ReasonDoc(
        "An init container failed; the message names it.", "Read that container's log."
    ),
    Reason.EVICTED: ReasonDoc(
        "The Pod was evicted by its node or the eviction API, or (a failure) because it exceeded a storage limit.",
        "Nothing within disruptionLimit; for a failure, raise the ephemeral-storage limit or sizeLimit in the message.",
    ),
    Reason.PREEMPTED: ReasonDoc(
        "A Pod of higher priority needed the node's resources.", "Nothing, or set a higher priorityClassName."
    ),
    Reason.NODE_LOST: ReasonDoc("The Pod's node was lost.", "Nothing within disruptionLimit."),
    Reason.NODE_SHUTDOWN: ReasonDoc("The Pod's node was shut down.", "Nothing within disruptionLimit."),
    Reason.NODE_REFUSED: ReasonDoc(
        "The node refused the Pod before it started.", "Nothing; it is tried again. If it persists, look at the node."
    ),
    Reason.POD_DELETED: ReasonDoc(
        "The Pod was deleted by another client.", "Cancel or suspend the PodTask instead of deleting its Pod."
    ),
    Reason.QUEUE_EVICTED: ReasonDoc("The queueing system evicted the Pod.", "Nothing; it is queued again."),
    Reason.ADMISSION_DENIED: ReasonDoc(
        "The cluster's rules forbid the Pod: Pod Security, a LimitRange, a webhook or a policy.",
        "Change what the message names.",
    ),
    Reason.INVALID_SPEC: ReasonDoc("The spec breaks a rule; the message names it.", "Create a corrected PodTask."),
    Reason.INVALID_POD_TEMPLATE: ReasonDoc(
        "The API server does not accept the Pod; the message names the field.", "Create a corrected PodTask."
    ),
    Reason.NAME_CONFLICT: ReasonDoc(
        "Another Pod has the name of this attempt, and it will not be deleted automatically.",
        "Delete that Pod, or change template.metadata.name. Keep owner and podtask.dev labels of the task's own Pod.",
    ),
    Reason.SPEC_CHANGED: ReasonDoc(
        "The spec differs from the one of the first attempt.", "Create a new PodTask instead of editing one."
    ),
    Reason.POLICY_DENIED: ReasonDoc(
        "The platform's policy forbids the task; the message says what to change.",
        "Change it, or ask the platform team.",
    ),
    Reason.SPEC_TOO_LARGE: ReasonDoc(
        "The spec is larger than the platform allows (policy.maxSpecBytes); no Pod was made from it.",
        "Put large inputs into a ConfigMap, a volume or an object store, and pass a reference.",
    ),
    Reason.BACKOFF_LIMIT_EXCEEDED: ReasonDoc(
        "The task failed more often than backoffLimit allows.", "Look at status.attempts for the cause."
    ),
    Reason.DISRUPTION_LIMIT_EXCEEDED: ReasonDoc(
        "The task was disrupted more often than disruptionLimit allows.", "Look at status.attempts; raise the limit."
    ),
    Reason.ATTEMPT_LIMIT_EXCEEDED: ReasonDoc(
        "The task had 1,000 attempts, which is the limit.", "Look at status.attempts for the cause."
    ),
    Reason.SCHEDULE_DEADLINE_EXCEEDED: ReasonDoc(
        "The Pod had no node within deadlines.scheduleSeconds.", "The message says why the Pod could not be scheduled."
    ),
    Reason.IMAGE_PULL_DEADLINE_EXCEEDED: ReasonDoc(
        "The images were not present within deadlines.imagePullSeconds.", "Correct the image, or raise the deadline."
    ),
    Reason.START_DEADLINE_EXCEEDED: ReasonDoc(
        "The task's container did not start within deadlines.startSeconds.", "The message says what delayed it."
    ),
    Reason.RUN_DEADLINE_EXCEEDED: ReasonDoc(
        "The task's container ran longer than deadlines.runSeconds.", "Raise the deadline, or make the task faster."
    ),
    Reason.TOTAL_DEADLINE_EXCEEDED: ReasonDoc(
        "The task took longer than deadlines.totalSeconds over all attempts.", "Look at status.attempts."
    ),
    Reason.XCOM_MISSING: ReasonDoc(
        "The result file was not written, or is blank, and xcom.required is true.",
        "Write JSON to xcom.path. Its directory is an empty volume, which hides the image's own directory.",
    ),
    Reason.XCOM_INVALID: ReasonDoc(
        "The result file is not JSON in UTF-8, or has a part that readers refuse: NUL, a lone surrogate, 1e999.",
        "Write JSON; the message names the position.",
    ),
    Reason.XCOM_TOO_LARGE: ReasonDoc(
        "The result file is larger than xcom.maxBytes.", "Raise maxBytes (to 524288 at most), or pass a reference."
    ),
    Reason.XCOM_UNREADABLE: ReasonDoc(
        "The result file cannot be read by the sidecar.", "Make it readable for the Pod's user, or set runAsUser."
    ),
    Reason.XCOM_SIDECAR_FAILED: ReasonDoc(
        "The sidecar that delivers the result failed.", "Read the message; the sidecar may need more memory."
    ),
    Reason.XCOM_LOST: ReasonDoc(
        "The task succeeded, but its result was lost before it could be read.",
        "Run the task again, or set xcom.onLost to Retry if the task is idempotent.",
    ),
    Reason.XCOM_DROPPED: ReasonDoc(
        "The task failed, so its result was not kept.", "Set xcom.onFailure to Keep to keep it."
    ),
    Reason.MAIN_CONTAINER_ENDED: ReasonDoc(
        "The task's container has ended, so the Pod's other containers are stopped.", "Nothing."
    ),
}
