"""What the platform team decides, as far as decisions about tasks need it."""

from typing import Any

import msgspec

from .policy import Policy


class Settings(msgspec.Struct, frozen=True):
    """Settings that apply to all tasks. `runtime.options` reads them from the environment."""

    sidecar_image: str = "podtask-sidecar"
    sidecar_requests: dict[str, Any] = msgspec.field(default_factory=lambda: {"cpu": "5m", "memory": "16Mi"})
    sidecar_limits: dict[str, Any] = msgspec.field(default_factory=lambda: {"cpu": "100m", "memory": "64Mi"})
    sidecar_security_context: str = "auto"
    """auto: as the user of the task's container, or as root where that is not known; none: no user is set but the one
    that the task's container names."""
    pod_hold_seconds: int = 60
    """A finished Pod stays this long at least: longer than a Lease and a request, so no stale leader repeats it."""
    diagnosis_seconds: int = 5
    """A problem is written once it has lasted this long, and not more often than this."""
    progress_seconds: int = 20
    """How far a Pod has come that nothing holds up is written once its start has taken this long."""
    running_seconds: float = 1.0
    """That a task runs is written once it has run this long, and up to a second more."""
    result_seconds: int = 60
    """How long after its container's end a Pod may take to deliver the result, beyond its grace period."""
    image_pull_policy: str = ""
    """Of the sidecar's image; empty leaves it to Kubernetes."""
    policy: Policy = Policy()
