"""Containerised tasks for Airflow as PodTask objects: a drop-in for KubernetesPodOperator.

The names are loaded on first use: the DAG processor and the provider discovery import this package far more often
than they need an operator.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .callbacks import PodTaskCallback
    from .exceptions import (
        ControllerMissing,
        PodTaskCancelled,
        PodTaskConfigurationError,
        PodTaskDeadlineExceeded,
        PodTaskDisrupted,
        PodTaskFailed,
        PodTaskLost,
        PodTaskResultError,
        PodTaskSkipped,
        PodTaskTerminated,
        PodTaskUnreachable,
    )
    from .operator import KubernetesPodOperator, PodTaskOperator
    from .secret import Secret
    from .trigger import PodTaskTrigger

__all__ = [
    "ControllerMissing",
    "KubernetesPodOperator",
    "PodTaskCallback",
    "PodTaskCancelled",
    "PodTaskConfigurationError",
    "PodTaskDeadlineExceeded",
    "PodTaskDisrupted",
    "PodTaskFailed",
    "PodTaskLost",
    "PodTaskOperator",
    "PodTaskResultError",
    "PodTaskSkipped",
    "PodTaskTerminated",
    "PodTaskTrigger",
    "PodTaskUnreachable",
    "Secret",
    "__version__",
]

_HOMES = {
    "KubernetesPodOperator": "operator",
    "PodTaskOperator": "operator",
    "PodTaskTrigger": "trigger",
    "PodTaskCallback": "callbacks",
    "Secret": "secret",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f".{_HOMES.get(name, 'exceptions')}", __name__)
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
