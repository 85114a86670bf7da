"""Downloads the wheels of a lock file with the machine's pip, which is configured for an index; an image is not."""

from __future__ import annotations

import sys
from pathlib import Path

from .. import commands
from ..errors import ClusterError
from . import layers

PYTHON = "usr/bin/python3"


def download(lock: Path, target: Path, python: str) -> None:
    """Download the wheels for this version of Python. pip checks each against the hash in the lock file."""
    commands.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--require-hashes", "--only-binary=:all:", f"--python-version={python}", f"--dest={target}"),
            *("-r", lock),
        ],
        hint="check that `pip download` can reach a package index from this machine",
    )


def python_version(archive: Path) -> str:
    """Return the version of Python in an image (3.11), from the target of its `python3` link."""
    for path, file, _ in layers.files(archive):
        if path == PYTHON:
            return file.linkname.removeprefix("python")
    raise ClusterError(f"{archive} has no {PYTHON}", "a base of the controller must be an image with Python")
