"""The deferral guard: keep the second half of a deferred task from starting before Airflow has seen the first one end.

Airflow 3's scheduler identifies both halves, `execute` and `execute_complete`, by the same key. If the end of the first
is reported while the second runs already, the scheduler finds "success" reported for a running task and fails it
(`scheduler_job_runner.process_executor_events`). The report comes late, because the supervisor of the task process
sleeps until one of the process's pipes closes: the last pipe closes just before the process exits, so the supervisor
finds the process alive and sleeps for another `min_heartbeat_interval`. The guard wakes the supervisor at once, and
holds the trigger's event back for a few seconds.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from .. import version_compat

SCHEDULER_SECONDS = 3.0
"""The exit of a task process, one loop of the scheduler, and one in reserve."""
MAX_SECONDS = 20.0
_HEARTBEAT_SECONDS = 5
"""Airflow's default of min_heartbeat_interval."""
_WAIT_FOR_EXIT = ("/bin/sh", "-c", "read _; sleep 0.1")
_pipes: list[tuple[int, subprocess.Popen[bytes]]] = []
"""Write ends that close when this process exits, each with the shell that reads it."""


def not_before(context: Mapping[str, Any]) -> float | None:
    """Return the Unix time from which `execute_complete` may start; None on Airflow 2, which needs no guard."""
    if not version_compat.IS_3:
        return None
    return time.time() + seconds(context, wakes_supervisor=wake_supervisor_at_exit())


def wake_supervisor_at_exit() -> bool:
    """Start a shell that holds our stdout open 0.1 s longer than this process lives: its closing wakes the supervisor.

    The shell exits after that, however this process ends. Returns False where there is no /bin/sh.
    """
    reading, writing = os.pipe()
    try:
        _pipes.append((writing, subprocess.Popen(_WAIT_FOR_EXIT, stdin=reading, stderr=subprocess.DEVNULL)))
    except OSError:
        os.close(writing)
        return False
    finally:
        os.close(reading)
    return True


def seconds(context: Mapping[str, Any], *, wakes_supervisor: bool) -> float:
    """Return an upper bound, in seconds, of the time until the scheduler has seen this process end.

    Airflow does not report that to a task; how long this process took to get here measures how loaded the machine is.
    """
    configured = version_compat.conf_get("podtask", "deferral_guard_seconds")
    if configured is not None:
        return float(configured)
    heartbeat = float(version_compat.conf_get("workers", "min_heartbeat_interval") or _HEARTBEAT_SECONDS)
    since = getattr(context["ti"], "start_date", None)
    elapsed = (datetime.now(timezone.utc) - since).total_seconds() if isinstance(since, datetime) else 0.0
    return (0.0 if wakes_supervisor else heartbeat) + min(max(SCHEDULER_SECONDS, 2 * elapsed), MAX_SECONDS)
