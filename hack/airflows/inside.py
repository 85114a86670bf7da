"""Runs pytest inside of an environment: its own configuration, and an AIRFLOW_HOME, database included, for once."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from cluster.paths import REPOSITORY

from . import database, environments
from .versions import Environment

TESTS = REPOSITORY / "tests/airflow"


def run_pytest(environment: Environment, arguments: list[str]) -> int:
    """Its exit code."""
    with tempfile.TemporaryDirectory(prefix="airflow-home-") as home:
        database.put(environment, Path(home))
        python = str(environments.python(environment))
        command = [python, "-m", "pytest", "-c", str(TESTS / "inside.ini"), "-p", "inside_airflow"]
        variables = {**_kept(), "AIRFLOW_HOME": home, "PYTHONPATH": str(TESTS), "PODTASK_AIRFLOW": environment.name}
        return subprocess.run([*command, *arguments], env=variables, check=False, cwd=TESTS).returncode


def _kept() -> dict[str, str]:
    """The caller's environment without what would configure Airflow or Python."""
    dropped = ("AIRFLOW", "PYTHON", "KUBERNETES_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def resolve(paths: list[str]) -> list[str]:
    """Paths as the caller meant them: pytest runs in the folder of its configuration, wherever this was called."""
    return [_resolved(*path.partition("::")) for path in paths]


def _resolved(path: str, separator: str, name: str) -> str:
    return f"{Path(path).resolve()}{separator}{name}" if Path(path).exists() else f"{path}{separator}{name}"
