"""Differences between Airflow 2.10 and 3.3. No other module imports Airflow.

Names are imported from where the running release has them, without a deprecation warning. What releases answer
differently (the state of a task instance, its identity, whether a triggerer is alive) is one function each.
"""

from __future__ import annotations

import contextlib
import logging
import os
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow import __version__ as AIRFLOW_VERSION  # noqa: N812
from airflow.exceptions import AirflowException, AirflowNotFoundException
from airflow.triggers.base import (
    BaseTrigger,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

try:  # 3.1 and up
    from airflow.sdk import BaseHook
except ImportError:  # 2.10 to 3.0
    from airflow.hooks.base import BaseHook

try:  # 3.0 and up
    from airflow.sdk import BaseOperator, BaseOperatorLink
    from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory
except ImportError:  # 2.10, 2.11
    from airflow.decorators.base import DecoratedOperator, TaskDecorator, task_decorator_factory
    from airflow.models import BaseOperator, BaseOperatorLink

try:  # 3.2 and up
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferred,
    )
except ImportError:  # 2.10 to 3.1
    from airflow.exceptions import (
        AirflowFailException,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferred,
    )

try:  # 3.2 and up
    from airflow.sdk.configuration import conf
except ImportError:  # 2.10 to 3.1
    from airflow.configuration import conf

try:  # 3.0 and up
    from airflow.sdk.log import mask_secret
except ImportError:  # 2.10, 2.11
    from airflow.utils.log.secrets_masker import mask_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Context = Mapping[str, Any]

__all__ = [
    "AIRFLOW_VERSION",
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseTrigger",
    "DecoratedOperator",
    "TaskDecorator",
    "TaskDeferred",
    "TaskSkippedEvent",
    "TaskSuccessEvent",
    "TriggerEvent",
    "conf",
    "conf_get",
    "exit_if_superseded",
    "facts",
    "is_dag_test",
    "is_deferred",
    "mask_secret",
    "next_retry_seconds",
    "pod_mutation_hook",
    "task_decorator_factory",
    "task_state",
    "tries_remain",
    "triggerer_is_missing",
    "xcom_of",
    "xcoms_are_messages",
]

IS_3 = not AIRFLOW_VERSION.startswith("2.")

_HEALTH_SECONDS = 1.0
"""Timeout of the question for a triggerer: Airflow 3 sends SIGKILL five seconds after SIGTERM."""
_OF_ANOTHER_TRY = "of another try"
_LONGEST_RETRY_DELAY = timedelta(hours=24)
"""Airflow's upper bound of an exponential retry delay."""


def conf_get(section: str, key: str, fallback: str | None = None) -> str | None:
    """Return an option of airflow.cfg, or `fallback`; also for an undeclared section, which raises on 3.3."""
    try:
        value = conf.get(section, key, fallback=fallback)
    except AirflowException:
        return fallback
    return fallback if value is None or value == "" else str(value)


def facts(context: Context) -> dict[str, Any]:
    """Return the fields of identity.Identity, except the deployment, from the context."""
    ti, run = context["ti"], context.get("dag_run")
    map_index = getattr(ti, "map_index", -1)
    found = {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": -1 if map_index is None else map_index,
        "run_start": _run_start(run),
        "try_number": max(1, ti.try_number or 1),
        "max_tries": max(0, ti.max_tries or 0),
        "airflow_version": AIRFLOW_VERSION,
    }
    # On 3.x each try has an id; on 2.x the key with try number and start of the run is as unique.
    own = getattr(ti, "id", None)
    key = (found["dag_id"], found["run_id"], found["task_id"], found["map_index"], found["try_number"])
    found["ti_id"] = str(own) if own else "/".join(str(part) for part in (*key, found["run_start"].isoformat()))
    return found


def _run_start(run: Any) -> datetime:
    """Return the start of the run: the same for all tries, different after a run was deleted and created again."""
    for name in ("start_date", "queued_at", "run_after", "logical_date", "execution_date"):
        at = getattr(run, name, None)
        if isinstance(at, datetime):
            return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at.astimezone(timezone.utc)
    return datetime.fromtimestamp(0, timezone.utc)


def is_dag_test(context: Context) -> bool:
    """Return whether `dag.test()` or `airflow tasks test` runs the task; these never reattach."""
    if not IS_3:
        return getattr(context["ti"], "job_id", None) is None
    with contextlib.suppress(ImportError):
        from airflow.sdk.execution_time import task_runner

        comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
        return comms is None or type(comms).__name__ == "InProcessSupervisorComms"
    return False


def task_state(context: Context) -> str | None:
    """Return the state of the running task instance. Raises what Airflow raises."""
    return _state_of(context["ti"])


async def is_deferred(task_instance: Any) -> bool:
    """Return, in a triggerer, whether the task is still deferred. Raises what Airflow raises."""
    from asgiref.sync import sync_to_async

    return bool(await sync_to_async(_state_of)(task_instance) == "deferred")


def _state_of(ti: Any) -> str | None:
    state = _state_on_3(ti) if IS_3 else _state_on_2(ti)
    return None if state is None else str(getattr(state, "value", state))


def _state_on_3(ti: Any) -> Any:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    index = getattr(ti, "map_index", -1)
    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id,
        task_ids=[ti.task_id],
        run_ids=[ti.run_id],
        map_index=index,
    )
    of_run = states.get(ti.run_id, {})
    # A mapped task is listed as task_index; older releases omit the index if one was asked for.
    return of_run.get(f"{ti.task_id}_{index}", of_run.get(ti.task_id))


def _state_on_2(ti: Any) -> Any:
    from airflow.models import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        found = (
            session.query(TaskInstance.state, TaskInstance.try_number)
            .filter(
                TaskInstance.dag_id == ti.dag_id,
                TaskInstance.task_id == ti.task_id,
                TaskInstance.run_id == ti.run_id,
                TaskInstance.map_index == ti.map_index,
            )
            .first()
        )
    if found is None:
        return None
    # All tries share one row: "running" may be the state of a later try.
    state, try_number = found
    return state if try_number == ti.try_number else _OF_ANOTHER_TRY


def exit_if_superseded(context: Context) -> None:
    """On 2.x: exit this process without reporting a state if a later try has started.

    All tries share one row there, so a state reported by this process would end the later try. On 3.x each try has an
    id, and the API server rejects the late report.
    """
    with contextlib.suppress(Exception):
        if not IS_3 and task_state(context) == _OF_ANOTHER_TRY:
            logging.shutdown()
            os._exit(0)


def tries_remain(context: Context) -> bool:
    """Return whether Airflow would start another try after this one fails."""
    ti = context["ti"]
    return (ti.try_number or 1) <= (ti.max_tries or 0)


def next_retry_seconds(task: Any, try_number: int) -> float:
    """Return an upper bound of the pause before the next try, in seconds."""
    delay = task.retry_delay
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    if task.retry_exponential_backoff:
        seconds *= 2.0 ** min(try_number, 20)
        limit = task.max_retry_delay or _LONGEST_RETRY_DELAY
        seconds = min(seconds, limit.total_seconds() if isinstance(limit, timedelta) else float(limit))
    return seconds


def triggerer_is_missing() -> bool:
    """Return whether Airflow says that no triggerer is alive; False if it cannot be asked."""
    with contextlib.suppress(Exception):
        return _no_triggerer_on_3() if IS_3 else _no_triggerer_on_2()
    return False


def _no_triggerer_on_2() -> bool:
    from airflow.jobs.triggerer_job_runner import TriggererJobRunner
    from airflow.utils.session import create_session

    with create_session() as session:
        from airflow.jobs.job import Job

        jobs = session.query(Job).filter(Job.job_type == TriggererJobRunner.job_type, Job.state == "running")
        return not any(job.is_alive() for job in jobs)


def _no_triggerer_on_3() -> bool:
    """Read the health page of the API server, whose address follows from the execution API's."""
    import json
    import urllib.request

    url = conf_get("core", "execution_api_server_url") or ""
    base = url.rstrip("/").removesuffix("/execution")
    if not base.startswith(("http://", "https://")):
        return False
    with urllib.request.urlopen(f"{base}/api/v2/monitor/health", timeout=_HEALTH_SECONDS) as reply:  # noqa: S310
        status = json.load(reply).get("triggerer", {}).get("status")
    return bool(status != "healthy")


def pod_mutation_hook() -> Callable[[Any], Any] | None:
    """Return the hook of local settings or plugins; None if there is only Airflow's default, which does nothing."""
    from airflow import settings

    get = getattr(settings, "get_policy_plugin_manager", None)
    manager = get() if get is not None else getattr(settings, "POLICY_PLUGIN_MANAGER", None)
    if manager is None:
        return None
    own = [found for found in manager.hook.pod_mutation_hook.get_hookimpls() if not _is_default(found.plugin)]
    hook: Callable[[Any], Any] = settings.pod_mutation_hook
    return hook if own else None


def _is_default(plugin: Any) -> bool:
    return getattr(plugin, "__name__", type(plugin).__name__) == "DefaultPolicy"


def xcoms_are_messages() -> bool:
    """Return whether XComs are sent in messages and stored unchanged: on 3.x with Airflow's default backend."""
    backend = conf_get("core", "xcom_backend") or ""
    return IS_3 and backend.rpartition(".")[2] in ("", "BaseXCom")


def xcom_of(ti_key: Any, key: str) -> Any:
    """Return an XCom of a task instance, in a worker of 3.x or the webserver of 2.x; None if there is none."""
    if IS_3:
        from airflow.sdk.execution_time.xcom import XCom
    else:
        from airflow.models.xcom import XCom
    return XCom.get_value(ti_key=ti_key, key=key)
