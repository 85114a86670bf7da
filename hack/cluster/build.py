"""Builds the binaries into a cache, keyed by everything that the output depends on."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from . import commands, lock, paths, progress
from .binaries import BINARIES, Binary
from .errors import ClusterError
from .progress import Report

MISSING_GO = "install Go (the version in hack/cluster/tools/*/go.mod or newer) and put it on the PATH"
FAILED = (
    "see the output above; a missing module needs access to the Go module proxy, a killed compiler needs more memory"
)


def ensure(names: Iterable[str], report: Report) -> dict[str, Path]:
    """Build the binaries that are missing; return the paths of all."""
    wanted = planned(names)
    missing = [name for name, path in wanted.items() if not path.exists()]
    if missing:
        with lock.held(paths.cache_root() / "bin" / ".lock", "the build of the binaries", report):
            _remove_unfinished()
            missing = [name for name in missing if not wanted[name].exists()]
            for number, name in enumerate(missing, start=1):
                with progress.heartbeat(f"building {name} ({number} of {len(missing)})", report):
                    _build(BINARIES[name], wanted[name])
    return wanted


def planned(names: Iterable[str]) -> dict[str, Path]:
    """Return the paths of these binaries, which may not exist."""
    return {name: path_of(BINARIES[name]) for name in names}


def path_of(binary: Binary) -> Path:
    """Return the binary's path, which may not exist; another pin, flag or compiler gives another directory."""
    return paths.cache_root() / "bin" / cache_key(binary, go_version(binary.module)) / binary.name


def cache_key(binary: Binary, compiler: str) -> str:
    """Return a hash of the pinned sources, the flags and the compiler."""
    module = paths.TOOLS / binary.module
    digest = hashlib.sha256()
    for part in ((module / "go.mod").read_text(), (module / "go.sum").read_text(), *binary.flags, compiler):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


@functools.cache
def go_version(module: str) -> str:
    """Return the compiler's version, asked inside the module: its go.mod may choose a newer toolchain."""
    return commands.run(["go", "env", "GOVERSION"], cwd=paths.TOOLS / module, hint=MISSING_GO).strip()


def _build(binary: Binary, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{binary.name}.{os.getpid()}")
    # Static, so that the binary does not need the C library of the machine that built it.
    environment = {**os.environ, "CGO_ENABLED": "0"}
    try:
        done = subprocess.run(
            ["go", "build", *binary.flags, "-o", str(unfinished), binary.package],
            cwd=paths.TOOLS / binary.module,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ClusterError(f"building {binary.name} failed:\n{commands.tail(done.stderr)}", FAILED)
        # A rename is atomic: a crash leaves no incomplete binary.
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _remove_unfinished() -> None:
    """Remove the files of killed builds. Call it with the lock held: another build may be running."""
    for leftover in (paths.cache_root() / "bin").glob("*/.*.*"):
        leftover.unlink(missing_ok=True)
