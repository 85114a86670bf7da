"""From the first leg of a deferred task to the second: the one must have ended for Airflow before the other begins.

Airflow 3's scheduler knows the two legs by the same key. If it hears of the first one's end when the task runs again,
it finds "success" reported of a task that runs, and fails it (`scheduler_job_runner.process_executor_events`). It hears
of it late, because the supervisor of the task's process sleeps until one of the process's pipes closes: the last one
closes a moment before the process is gone, so the supervisor looks, finds it alive, and sleeps for another
`min_heartbeat_interval`. What can be done here is to have the end noticed at once, and to leave the scheduler a moment.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from . import version_compat

SCHEDULER_SECONDS = 3.0
"""The end of a task's process, a round of the scheduler, and one more."""
LONGEST_SECONDS = 20.0
_HEARTBEAT_SECONDS = 5
"""Airflow's own default of min_heartbeat_interval."""
_WAIT_FOR_THE_END = ("/bin/sh", "-c", "read _; sleep 0.1")
_held: list[tuple[int, subprocess.Popen[bytes]]] = []
"""Pipes that close when this process ends, and who waits for that."""


def not_before(context: Mapping[str, Any]) -> float | None:
    """Arrange the end of this leg, and say from when on the next one may begin; None where that does not matter."""
    if not version_compat.IS_3:
        return None
    return time.time() + seconds(context, is_noticed=let_the_end_be_noticed())


def let_the_end_be_noticed() -> bool:
    """Have a second process keep our stdout open for a moment longer than we live: its closing wakes the supervisor.

    It ends by itself then, however we end. False where there is no shell for that.
    """
    reading, writing = os.pipe()
    try:
        _held.append((writing, subprocess.Popen(_WAIT_FOR_THE_END, stdin=reading, stderr=subprocess.DEVNULL)))
    except OSError:
        os.close(writing)
        return False
    finally:
        os.close(reading)
    return True


def seconds(context: Mapping[str, Any], *, is_noticed: bool) -> float:
    """Bound the time until the scheduler has heard of this leg's end.

    Nothing tells a task that it has; how long this leg took to get here tells how busy the machine is.
    """
    configured = version_compat.conf_get("podtask", "handover_seconds")
    if configured is not None:
        return float(configured)
    heartbeat = float(version_compat.conf_get("workers", "min_heartbeat_interval") or _HEARTBEAT_SECONDS)
    since = getattr(context["ti"], "start_date", None)
    so_far = (datetime.now(timezone.utc) - since).total_seconds() if isinstance(since, datetime) else 0.0
    return (0.0 if is_noticed else heartbeat) + min(max(SCHEDULER_SECONDS, 2 * so_far), LONGEST_SECONDS)
