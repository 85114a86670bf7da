"""Airflow's configuration for tests, as environment variables, for each major version."""

import json
import os
from pathlib import Path

PARALLELISM = 8
"""Each slot is a process of about 200 MB before any task runs in it."""

# Facts of life that would take minutes by default take seconds here, so that tests can wait for them.
# They are longer than a living process is ever silent on a busy machine: it would be taken for dead.
TRIGGERER_LOST_SECONDS = 30
SCHEDULER_LOST_SECONDS = 30
HEARTBEAT_LOST_SECONDS = 60

ZOMBIES_SECONDS = 60
"""How often Airflow 2 looks for tasks whose process is dead. Until such a task's callback has run, each look finds it
again and asks for a further callback, and one that runs late fails the next try, whichever that is by then. So this is
longer than a callback takes, for which Airflow 2 reads the DAG file anew: a second or two, twenty on a busy machine.
"""

NEVER_SECONDS = 86_400
"""DAG files do not change here; parsing them again costs time, and loses DAGs while someone edits the provider."""


def common(home: Path, executor: str, database: str, ports: dict[str, int]) -> dict[str, str]:
    """Return the settings of every version."""
    return {
        "CORE__EXECUTOR": executor,
        "DATABASE__SQL_ALCHEMY_CONN": database,
        "CORE__PARALLELISM": str(PARALLELISM),
        "CORE__MAX_ACTIVE_TASKS_PER_DAG": "400",
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_FOLDER": str(home / "dags"),
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__FERNET_KEY": "cG9kdGFzay1wb2R0YXNrLXBvZHRhc2stcG9kdGFzay0=",
        "CORE__KILLED_TASK_CLEANUP_TIME": "30",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
        "METRICS__TIMER_UNIT_CONSISTENCY": "True",
        "LOGGING__WORKER_LOG_SERVER_PORT": str(ports["worker logs"]),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports["trigger logs"]),
        "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(TRIGGERER_LOST_SECONDS),
        "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "5",
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": str(SCHEDULER_LOST_SECONDS),
    }


def airflow_3(ports: dict[str, int], host: str) -> dict[str, str]:
    """Return the settings of Airflow 3."""
    address = f"http://{host}:{ports['api']}"
    return {
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "API__HOST": host,
        "API__PORT": str(ports["api"]),
        "API__BASE_URL": address,
        "API__WORKERS": "1",
        "API__SECRET_KEY": "a secret of the tests",
        "API_AUTH__JWT_SECRET": "a secret of the tests, long enough for every library " * 2,
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": str(NEVER_SECONDS),
        # Airflow notices the end of most task processes this much later, each time.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_LOST_SECONDS),
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    }


def airflow_2(ports: dict[str, int], host: str) -> dict[str, str]:
    """Return the settings of Airflow 2."""
    return {
        "WEBSERVER__WEB_SERVER_HOST": host,
        "WEBSERVER__WEB_SERVER_PORT": str(ports["api"]),
        "WEBSERVER__WORKERS": "1",
        "WEBSERVER__SECRET_KEY": "a secret of the tests",
        "API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
        "SCHEDULER__MIN_FILE_PROCESS_INTERVAL": str(NEVER_SECONDS),
        "SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": str(HEARTBEAT_LOST_SECONDS),
        "SCHEDULER__ZOMBIE_DETECTION_INTERVAL": str(ZOMBIES_SECONDS),
        "SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": "2",
    }


WEBSERVER_CONFIG = "AUTH_ROLE_PUBLIC = 'Admin'\nWTF_CSRF_ENABLED = False\n"
"""Everyone on this loopback is an admin; making a user takes five seconds."""


def connection(kubeconfig: Path, **more: str) -> str:
    """A Kubernetes connection, in the JSON form of an AIRFLOW_CONN_… variable."""
    return json.dumps({"conn_type": "kubernetes", "extra": {"kube_config_path": str(kubeconfig), **more}})


def inherited() -> dict[str, str]:
    """This process's environment without what would configure Airflow, Python or Kubernetes clients."""
    dropped = ("AIRFLOW", "PYTHON", "PYTEST", "KUBE", "PODTASK_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
