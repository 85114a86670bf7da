"""A program of a cluster as a value: its command line, and its launcher for the supervisor."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .paths import ClusterDirectory
from .spec import write_atomically


@dataclass(frozen=True)
class Program:
    """A command line that the supervisor keeps running."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def script(self, log: Path) -> str:
        """Return a shell script that starts the program; it can also be run by hand.

        The shell redirects the output to the log and then execs the program. So the process id is the program's own,
        and if the supervisor ends, no pipe breaks.
        """
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        words = [*(["env", *variables] if variables else []), *self.argv]
        command = " \\\n  ".join(shlex.quote(word) for word in words)
        return f"#!/bin/sh\nexec {command} \\\n  >>{shlex.quote(str(log))} 2>&1\n"


def script_path(directory: ClusterDirectory, program: str) -> Path:
    """Return the path of a program's launcher."""
    return directory.config / "programs" / f"{program}.sh"


def write_scripts(directory: ClusterDirectory, programs: list[Program]) -> None:
    """Write the launcher of each program."""
    for program in programs:
        write_atomically(script_path(directory, program.name), program.script(directory.log(program.name)), mode=0o755)


def canonical_name(name: str) -> str:
    """Return the program's short name: `apiserver` and `kube-apiserver` are the same."""
    return name.removeprefix("kube-")
