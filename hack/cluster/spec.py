"""The requested cluster, its addresses, and the file that stores both between two commands."""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .paths import ClusterDirectory

SERVICE_CIDR = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
NODE_NAME = "node1"


class Form(enum.StrEnum):
    """The form of a cluster; each one has all programs of the one before, and more."""

    LIGHT = "light"
    SIMULATED = "simulated"
    NODE = "node"


@dataclass(frozen=True)
class Spec:
    """The requested cluster. Equal specs are the same cluster."""

    name: str
    form: Form
    nodes: int = 10
    extra_args: Mapping[str, Sequence[str]] = field(default_factory=dict)
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Environment variables of each program, such as GOGC."""

    def arguments(self, program: str, ours: Sequence[str]) -> list[str]:
        """Return the options of a program: ours, replaced by the caller's of the same name."""
        theirs = list(self.extra_args.get(program, ()))
        named = {_option(argument) for argument in theirs}
        return [argument for argument in ours if _option(argument) not in named] + theirs


@dataclass(frozen=True)
class Placement:
    """The addresses and ports of a cluster. `subnet` is 0 if everything is on loopback."""

    address: str
    port: int
    etcd_port: int
    etcd_peer_port: int
    subnet: int = 0

    @property
    def server(self) -> str:
        return f"https://{self.address}:{self.port}"

    @property
    def host_address(self) -> str:
        """Address of the host's end of the link to the cluster's network namespace."""
        return f"10.77.{self.subnet}.1"

    @property
    def gateway(self) -> str:
        """Address of the Pods' bridge and of the node: a kubelet refuses loopback."""
        return f"10.{100 + self.subnet}.0.1"

    @property
    def pod_cidr(self) -> str:
        return f"10.{100 + self.subnet}.0.0/16"


def in_namespace(subnet: int) -> Placement:
    """Return the default ports, which are free in a new namespace."""
    return Placement(f"10.77.{subnet}.2", 6443, 2379, 2380, subnet)


@dataclass(frozen=True)
class Record:
    """The record of a cluster, which later commands read."""

    spec: Spec
    placement: Placement
    provider: str
    binaries: Mapping[str, str]


def write_record(directory: ClusterDirectory, record: Record) -> None:
    """Write the record atomically: a crash leaves the old file or the new one."""
    directory.root.mkdir(parents=True, exist_ok=True)
    write_atomically(directory.record, json.dumps(asdict(record), indent=2, default=list) + "\n")


def read_record(directory: ClusterDirectory) -> Record | None:
    """Return the record; None if the cluster does not exist or its start was interrupted."""
    try:
        raw: dict[str, Any] = json.loads(directory.record.read_text())
        spec = raw["spec"]
        extra = {program: tuple(arguments) for program, arguments in spec["extra_args"].items()}
        return Record(
            spec=Spec(spec["name"], Form(spec["form"]), spec["nodes"], extra, spec.get("environment", {})),
            placement=Placement(**raw["placement"]),
            provider=raw["provider"],
            binaries=raw["binaries"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file next to the target and rename it; private keys are never readable by others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as stream:
        stream.write(text)
    temporary.rename(path)


def _option(argument: str) -> str:
    return argument.partition("=")[0]
