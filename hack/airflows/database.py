"""Creates a migrated SQLite database for each environment once, and copies it for each test run.

A migration takes eight seconds.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from cluster import commands, lock, progress

from . import environments
from .versions import Environment

NAME = "airflow.db"


def put(environment: Environment, home: Path, report: progress.Report = print) -> Path:
    """Put an empty, migrated database into an AIRFLOW_HOME, under Airflow's default name."""
    place = home / NAME
    shutil.copy(_template(environment, report), place)
    return place


def _template(environment: Environment, report: progress.Report) -> Path:
    directory = environments.directory(environment)
    template = directory / NAME
    with lock.held(directory.parent / f".{directory.name}.database.lock", f"{environment.name}'s database", report):
        if not template.exists():
            with progress.heartbeat(f"Airflow {environment.name}: database", report):
                _migrate(environment, template)
    return template


def _migrate(environment: Environment, template: Path) -> None:
    with tempfile.TemporaryDirectory(dir=template.parent) as home:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
        variables = {**kept, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        commands.run([environments.python(environment), "-m", "airflow", "db", "migrate"], env=variables)
        Path(home, NAME).rename(template)
