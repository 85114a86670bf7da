"""Runs uv, which resolves and installs Airflow in seconds where pip takes minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import uv

from cluster import commands

from .versions import PYTHON, Environment

UV = uv.find_uv_bin()
"""Found while there is one thread: what it asks of sysconfig may answer None when two ask at once."""


def lock(environment: Environment) -> None:
    """Resolve anew. The file names packages, versions and hashes; where they come from is the machine's business."""
    _uv(
        ["pip", "compile", "--universal", "--python-version", PYTHON, "--generate-hashes"],
        ["--no-header", "--no-annotate", "--no-emit-index-url", "--upgrade", "-", "-o", environment.lock],
        stdin="\n".join(environment.requirements) + "\n",
    )
    if "://" in environment.lock.read_text():
        raise ValueError(f"{environment.lock} names an address")


def create(directory: Path) -> None:
    """Make an empty virtual environment."""
    _uv(["venv", "--clear", "--python", PYTHON, directory])


def install_locked(directory: Path, lock_file: Path) -> None:
    """Install exactly what the lock file says."""
    _uv(["pip", "install", "--python", directory / "bin/python", "--require-hashes", "--no-deps", "-r", lock_file])


def install_editable(directory: Path, source: Path) -> None:
    """Install a source tree so that its edits are seen at once. Its build backend is locked too."""
    _uv(["pip", "install", "--python", directory / "bin/python", "--no-deps", "--no-build-isolation", "-e", source])


def _uv(*arguments: Sequence[str | Path], stdin: str | None = None) -> None:
    words = [word for part in arguments for word in part]
    commands.run([UV, "--quiet", *words], stdin=stdin)
