"""What the controller knows about a task that no object tells: the answers to its own last requests.

All of it may be forgotten at any time: a new process asks again and gets the same answers. It is kept only until the
task runs or is over: of those that run there may be very many, for very long.
"""

from dataclasses import dataclass
from datetime import datetime

from ..api import names
from ..core.pod import Pod
from ..core.snapshot import PodEvents, Refusal, Relabelled, ResultLog


@dataclass(slots=True)
class Facts:
    """Answers about one task."""

    refusal: Refusal | None = None
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
    in_doubt_until: datetime | None = None
    """Until then a create whose reply was lost may still be carried out."""
    attempt_count: int = 0
    """The attempts that had ended when `result_log` and `log_failures` were learnt."""

    def begin(self, attempt_count: int) -> None:
        """Drop what was learnt about the log of an earlier attempt: it says nothing about this one's."""
        if attempt_count != self.attempt_count:
            self.attempt_count = attempt_count
            self.result_log = None
            self.log_failures = 0
            self.result_refused = False


class TaskFacts:
    """The memory of each task, by uid."""

    def __init__(self) -> None:
        """Begin knowing nothing."""
        self._by_uid: dict[str, Facts] = {}

    def get_or_create(self, uid: str) -> Facts:
        """Give the memory of a task, for writing."""
        return self._by_uid.setdefault(uid, Facts())

    def get(self, uid: str) -> Facts:
        """Give the memory of a task, for reading: most tasks have none."""
        return self._by_uid.get(uid) or Facts()

    def note_lost(self, pod: Pod) -> None:
        """Note that a watch reported the end of a Pod that our finalizer held."""
        self.get_or_create(pod.metadata.labels[names.LABEL_TASK_UID]).lost_pod = pod.metadata.uid

    def reset(self, uid: str) -> None:
        """Drop what is known about a task that runs or is over, but for a create that may still arrive."""
        memory = self._by_uid.pop(uid, None)
        if memory is not None and memory.in_doubt_until is not None:
            self.get_or_create(uid).in_doubt_until = memory.in_doubt_until

    def delete(self, uid: str) -> None:
        """Drop what is known about a task."""
        self._by_uid.pop(uid, None)
