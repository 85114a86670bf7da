"""Containerised tasks for Airflow as PodTask objects: a drop-in for KubernetesPodOperator.

The public names are imported on first use, because the DAG processor and the provider discovery import this package
even where no operator is needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .callbacks import PodTaskCallback
    from .exceptions import (
        PodTaskCancelled,
        PodTaskConfigurationError,
        PodTaskControllerNotFound,
        PodTaskDeadlineExceeded,
        PodTaskDisrupted,
        PodTaskFailed,
        PodTaskLost,
        PodTaskResultError,
        PodTaskSkipped,
        PodTaskTerminated,
        PodTaskUnreachable,
    )
    from .operators.podtask import KubernetesPodOperator, PodTaskOperator
    from .secret import Secret
    from .triggers.podtask import PodTaskTrigger

__all__ = [
    "KubernetesPodOperator",
    "PodTaskCallback",
    "PodTaskCancelled",
    "PodTaskConfigurationError",
    "PodTaskControllerNotFound",
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

_MODULES = {
    "KubernetesPodOperator": "operators.podtask",
    "PodTaskOperator": "operators.podtask",
    "PodTaskTrigger": "triggers.podtask",
    "PodTaskCallback": "callbacks",
    "Secret": "secret",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_MODULES.get(name, 'exceptions')}", __name__)
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
