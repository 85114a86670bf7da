"""Facts about a task that no object of the cluster contains: the replies to the controller's own last requests.

They are kept in memory only and may be lost at any time: a new process sends the requests again and gets the same
replies. They are dropped once the task runs or is finished, because many tasks may run for a long time.
"""

from dataclasses import dataclass
from datetime import datetime

from ..api import names
from ..core.pod import Pod
from ..core.snapshot import CreateError, PodEvents, Relabelled, ResultLog


@dataclass(slots=True)
class Facts:
    """The facts about one task. `core.snapshot.TaskSnapshot` describes the fields of the same name."""

    create_error: CreateError | None = None
    conflicting_pod: Pod | None = None
    gone_pods: frozenset[str] = frozenset()
    unlabelled_pod: Pod | None = None
    lost_pod: str = ""
    relabelled: Relabelled | None = None
    live_version: str = ""
    pod_events: PodEvents | None = None
    result_log: ResultLog | None = None
    result_refused: bool = False
    log_failures: int = 0
    diagnosed_at: datetime | None = None
    unknown_create_deadline: datetime | None = None
    """Until then, the API server may still carry out a create whose reply was lost."""
    attempt_count: int = 0
    """`status.attemptCount` at the time when `result_log`, `log_failures` and `result_refused` were set."""

    def begin_attempt(self, attempt_count: int) -> None:
        """Drop the facts about the result of an earlier attempt; `attempt_count` is `status.attemptCount` now."""
        if attempt_count != self.attempt_count:
            self.attempt_count = attempt_count
            self.result_log = None
            self.log_failures = 0
            self.result_refused = False


class TaskFacts:
    """The facts about every task, by the task's uid."""

    def __init__(self) -> None:
        """Make it empty."""
        self._by_uid: dict[str, Facts] = {}

    def get_or_create(self, uid: str) -> Facts:
        """Return the facts about a task, for writing."""
        return self._by_uid.setdefault(uid, Facts())

    def get(self, uid: str) -> Facts:
        """Return the facts about a task, for reading; most tasks have none, and get an empty value that is not kept."""
        return self._by_uid.get(uid) or Facts()

    def note_lost(self, pod: Pod) -> None:
        """Record that the watch reported the deletion of a Pod that still had our finalizer."""
        self.get_or_create(pod.metadata.labels[names.LABEL_TASK_UID]).lost_pod = pod.metadata.uid

    def reset(self, uid: str) -> None:
        """Drop the facts about a task that runs or is finished, except the deadline of a create of unknown outcome."""
        facts = self._by_uid.pop(uid, None)
        if facts is not None and facts.unknown_create_deadline is not None:
            self.get_or_create(uid).unknown_create_deadline = facts.unknown_create_deadline

    def delete(self, uid: str) -> None:
        """Drop all facts about a task."""
        self._by_uid.pop(uid, None)
