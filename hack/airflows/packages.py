"""Runs uv, which resolves and installs Airflow in seconds where pip takes minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import uv

from cluster import commands

from .versions import PYTHON, Environment

UV = uv.find_uv_bin()
"""uv's path. Looked up at import, in one thread: `sysconfig` may return None to one of two threads."""


def lock(environment: Environment) -> None:
    """Resolve the packages again. The lock file has names, versions and hashes; the machine configures the index."""
    _uv(
        ["pip", "compile", "--universal", "--python-version", PYTHON, "--generate-hashes"],
        ["--no-header", "--no-annotate", "--no-emit-index-url", "--upgrade", "-", "-o", environment.lock],
        stdin="\n".join(environment.requirements) + "\n",
    )
    if "://" in environment.lock.read_text():
        raise ValueError(f"{environment.lock} contains a URL")


def create(directory: Path) -> None:
    """Create an empty virtual environment."""
    _uv(["venv", "--clear", "--python", PYTHON, directory])


def install_locked(directory: Path, lock_file: Path) -> None:
    """Install exactly the packages of the lock file."""
    _uv(["pip", "install", "--python", directory / "bin/python", "--require-hashes", "--no-deps", "-r", lock_file])


def install_editable(directory: Path, source: Path) -> None:
    """Install a source tree in editable mode. Its build backend is locked too."""
    _uv(["pip", "install", "--python", directory / "bin/python", "--no-deps", "--no-build-isolation", "-e", source])


def _uv(*arguments: Sequence[str | Path], stdin: str | None = None) -> None:
    words = [word for part in arguments for word in part]
    commands.run([UV, "--quiet", *words], stdin=stdin)
