"""What really happened to each Pod, known to the model alone: the laws hold the status against this.

The model writes it down as it happens, from the machine's point of view. The controller never sees it.
"""

from dataclasses import dataclass, field


@dataclass
class Run:
    """One Pod, from the machine's point of view."""

    uid: str
    name: str
    task_uid: str
    attempt: int
    created_at: float
    is_foreign: bool = False
    """Not the controller made it but a user, whatever marks it has; it belongs to no task."""
    node: str = ""
    started_at: float | None = None
    """When the main container began to run."""
    told_started: bool = False
    """Whether the API has ever said so."""
    ended_at: float | None = None
    told_end_at: float | None = None
    """When the API first said that the main container had ended."""
    exit_code: int | None = None
    oom: bool = False
    by_itself: bool = False
    """Whether the main container ended before anything asked it to."""
    cut_off: bool = False
    """Whether its kubelet brought it to an end, and says so."""
    init_failed: bool = False
    start_error: bool = False
    refused: bool = False
    """The node refused it."""
    disrupted: dict[str, float] = field(default_factory=dict)
    """What disturbed it, and when: eviction, preemption, node loss, deletion by others."""
    stopped_at: float | None = None
    """When the controller first asked it to stop, by PATCH or DELETE."""
    stop_reasons: set[str] = field(default_factory=set)
    result: bytes | None = None
    """What the task wrote, once the main container ended."""
    sidecar_failed: bool = False
    delivered_at: float | None = None
    """When the API showed the result, or the envelope that leads to it."""
    log_lost: bool = False
    log_failures: int = 0
    """How often its log could not be read."""
    forced: bool = False
    """A user deleted it without grace, or took its finalizers by force."""
    stripped: bool = False
    """A user removed its finalizers by force, so nothing held it until its outcome was recorded."""
    sent_at: float = 0.0
    """When the create that made it was sent."""
    sent_by: str = ""
    """Which controller sent it."""
    released_by: str = ""
    """Which controller took its finalizer off."""
    unmarked: bool = False
    """A user took our labels off it, so for a while no watch brought it."""
    overtaken: bool = False
    """Its create was under way while its attempt ended, or its task: what it made is a second life."""
    deleted_for_good: bool = False
    """Whether it was deleted without grace, by its kubelet or after its end."""
    gone_at: float | None = None

    @property
    def runs(self) -> bool:
        """Whether the main container runs on some machine."""
        return self.started_at is not None and self.ended_at is None


@dataclass
class Truth:
    """All Pods there ever were, and what users asked for."""

    runs: dict[str, Run] = field(default_factory=dict)
    cancels: dict[str, float] = field(default_factory=dict)
    """By task uid: when a cancel was asked for."""
    suspends: set[str] = field(default_factory=set)
    deletes: dict[str, float] = field(default_factory=dict)

    def of(self, task_uid: str) -> list[Run]:
        """The Pods of a task, oldest first."""
        return [run for run in self.runs.values() if run.task_uid == task_uid]
