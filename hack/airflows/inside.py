"""Runs pytest in an environment, with its own configuration and a temporary AIRFLOW_HOME with a database."""

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
    """Run pytest; return its exit code."""
    with tempfile.TemporaryDirectory(prefix="airflow-home-") as home:
        database.put(environment, Path(home))
        python = str(environments.python(environment))
        command = [python, "-m", "pytest", "-c", str(TESTS / "inside.ini"), "-p", "inside_airflow"]
        variables = {**_kept(), "AIRFLOW_HOME": home, "PYTHONPATH": str(TESTS), "PODTASK_AIRFLOW": environment.name}
        return subprocess.run([*command, *arguments], env=variables, check=False, cwd=TESTS).returncode


def _kept() -> dict[str, str]:
    """Return the caller's variables without those that configure Airflow or Python."""
    dropped = ("AIRFLOW", "PYTHON", "KUBERNETES_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def resolve(paths: list[str]) -> list[str]:
    """Return the arguments with absolute paths: pytest runs in the directory of its configuration."""
    return [_resolved(*path.partition("::")) for path in paths]


def _resolved(path: str, separator: str, name: str) -> str:
    return f"{Path(path).resolve()}{separator}{name}" if Path(path).exists() else f"{path}{separator}{name}"
