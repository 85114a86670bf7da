"""The virtual environments on disk: made once for each lock file, found again by everyone after that."""

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
"""Installing is mostly unpacking: more at once than this only makes each one slower."""


def directory(environment: Environment) -> Path:
    """Where it lies, made or not. The name changes with what is in it, so an old one is never mended."""
    digest = hashlib.sha256(PYTHON.encode() + environment.lock.read_bytes()).hexdigest()[:12]
    return paths.cache_root() / "airflows" / f"{environment.name}-{digest}"


def python(environment: Environment) -> Path:
    """Its interpreter."""
    return directory(environment) / "bin/python"


def build(wanted: list[Environment], report: progress.Report = print) -> None:
    """Make those that are missing, and put the provider of this repository into each."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        for built in [pool.submit(ensure, environment, report) for environment in wanted]:
            built.result()


def ensure(environment: Environment, report: progress.Report = print) -> Path:
    """Make one unless it is there. Two that come at once: the second waits, and finds it made."""
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
    """The environment outlives a clone of the repository, so what it points to is looked at every time."""
    project = PROVIDER / "pyproject.toml"
    wanted = f"{PROVIDER} {hashlib.sha256(project.read_bytes()).hexdigest()}\n"
    note = target / ".provider"
    if note.exists() and note.read_text() == wanted:
        return
    with progress.heartbeat(f"{target.name}: our provider", report):
        packages.install_editable(target, PROVIDER)
    note.write_text(wanted)
