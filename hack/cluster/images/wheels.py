"""The wheels of a lock file, fetched by the machine's own pip: it knows the way to an index, an image does not."""

from __future__ import annotations

import sys
from pathlib import Path

from .. import commands
from ..errors import ClusterError
from . import layers

PYTHON = "usr/bin/python3"


def download(lock: Path, target: Path, python: str) -> None:
    """Put the wheels for this version of Python into a folder. pip compares each with the hash in the lock file."""
    commands.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--require-hashes", "--only-binary=:all:", f"--python-version={python}", f"--dest={target}"),
            *("-r", lock),
        ],
        hint="see that `pip download` reaches a package index from this machine",
    )


def python_version(archive: Path) -> str:
    """Which Python an image has, by where its `python3` leads: 3.11 or the like."""
    for path, file, _ in layers.files(archive):
        if path == PYTHON:
            return file.linkname.removeprefix("python")
    raise ClusterError(f"{archive} has no {PYTHON}", "a base of the controller must be an image with Python")
