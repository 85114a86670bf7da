"""The platform's settings, as far as decisions about tasks need them."""

from typing import Any

import msgspec

from .policy import Policy


class Settings(msgspec.Struct, frozen=True):
    """Settings that apply to all tasks. `runtime.options` reads them from the environment."""

    sidecar_image: str = "podtask-sidecar"
    sidecar_requests: dict[str, Any] = msgspec.field(default_factory=lambda: {"cpu": "5m", "memory": "16Mi"})
    sidecar_limits: dict[str, Any] = msgspec.field(default_factory=lambda: {"cpu": "100m", "memory": "64Mi"})
    sidecar_security_context: str = "auto"
    """auto: the user of the task's container, or root if that is not known. none: only a user that the task's container
    sets."""
    pod_hold_seconds: int = 60
    """An ended Pod is kept this long at least: longer than a Lease and a request, so no former leader repeats it."""
    diagnosis_seconds: int = 5
    """A waiting reason is written after it has lasted this long, and not more often than this."""
    progress_seconds: int = 20
    """The progress of a Pod that nothing holds up is written after its start has taken this long."""
    running_seconds: float = 1.0
    """The phase Running is written after the container has run this long, and up to a second more."""
    result_seconds: int = 60
    """How long a Pod may take to deliver the result after its containers have ended, beyond its grace period."""
    image_pull_policy: str = ""
    """Of the sidecar's image; empty for the default of Kubernetes."""
    policy: Policy = Policy()
