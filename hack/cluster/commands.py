"""Runs other programs. A failure becomes an error with the last lines of their output."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import ClusterError

TAIL_LINES = 25


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """Return the last lines of an output, which usually have the reason of a failure."""
    return "\n".join("    " + line for line in text.rstrip().splitlines()[-lines:])


def run(
    argv: Sequence[str | Path],
    *,
    hint: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout_seconds: float | None = None,
) -> str:
    """Run a command; return its standard output. Raises if it fails."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=None if env is None else dict(env),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]} is not installed", hint) from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{' '.join(words)} did not end within {timeout_seconds} s", hint) from error
    if done.returncode != 0:
        said = tail(done.stderr + done.stdout)
        raise ClusterError(f"{' '.join(words)} failed with exit code {done.returncode}:\n{said}", hint)
    return done.stdout


def succeeds(argv: Sequence[str | Path], timeout_seconds: float = 10) -> bool:
    """Return whether a command succeeds; False if it is not installed or hangs."""
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=timeout_seconds,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
