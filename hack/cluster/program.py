"""One process of a cluster as a value: what is run, and how it is written down for the supervisor."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .paths import ClusterDirectory
from .spec import write_atomically


@dataclass(frozen=True)
class Program:
    """A command line that the supervisor keeps alive."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def script(self, log: Path) -> str:
        """A launcher that a person can read and run by hand.

        The shell sends the output to the log and then becomes the program. So the process id is the program's
        own, and a supervisor that dies takes no pipe with it.
        """
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        words = [*(["env", *variables] if variables else []), *self.argv]
        command = " \\\n  ".join(shlex.quote(word) for word in words)
        return f"#!/bin/sh\nexec {command} \\\n  >>{shlex.quote(str(log))} 2>&1\n"


def script_path(directory: ClusterDirectory, program: str) -> Path:
    """The launcher of a program."""
    return directory.config / "programs" / f"{program}.sh"


def write_scripts(directory: ClusterDirectory, programs: list[Program]) -> None:
    """One launcher for each program."""
    for program in programs:
        write_atomically(script_path(directory, program.name), program.script(directory.log(program.name)), mode=0o755)


def canonical_name(name: str) -> str:
    """Both `apiserver` and `kube-apiserver` are what people type."""
    return name.removeprefix("kube-")
