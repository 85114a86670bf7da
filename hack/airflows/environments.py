"""The virtual environments on disk: created once for each lock file, and reused."""

from __future__ import annotations

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster import lock, paths, progress

from . import packages
from .versions import PYTHON, Environment

PROVIDER = paths.REPOSITORY / "airflow-provider"
PARALLEL = 2
"""Number of concurrent installations. Installing is mostly unpacking, so more would only make each one slower."""


def directory(environment: Environment) -> Path:
    """Return the environment's directory, which may not exist. Its name has a hash of the content."""
    digest = hashlib.sha256(PYTHON.encode() + environment.lock.read_bytes()).hexdigest()[:12]
    return paths.cache_root() / "airflows" / f"{environment.name}-{digest}"


def python(environment: Environment) -> Path:
    """Return the path of the environment's Python."""
    return directory(environment) / "bin/python"


def build(wanted: list[Environment], report: progress.Report = print) -> None:
    """Create the missing environments and install this repository's provider into each."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        for built in [pool.submit(ensure, environment, report) for environment in wanted]:
            built.result()


def ensure(environment: Environment, report: progress.Report = print) -> Path:
    """Create an environment if it is missing. A second process that does the same waits for the first."""
    target = directory(environment)
    with lock.held(target.parent / f".{target.name}.lock", f"Airflow {environment.name}", report):
        if not (target / ".ready").exists():
            with progress.heartbeat(f"Airflow {environment.name}: installing", report):
                _make(environment, target)
        _put_provider(target, report)
    return target


def _make(environment: Environment, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    packages.create(target)
    packages.install_locked(target, environment.lock)
    (target / ".ready").touch()


def _put_provider(target: Path, report: progress.Report) -> None:
    """Install the provider again if the environment points to another clone of the repository."""
    project = PROVIDER / "pyproject.toml"
    wanted = f"{PROVIDER} {hashlib.sha256(project.read_bytes()).hexdigest()}\n"
    note = target / ".provider"
    if note.exists() and note.read_text() == wanted:
        return
    with progress.heartbeat(f"{target.name}: our provider", report):
        packages.install_editable(target, PROVIDER)
    note.write_text(wanted)
