"""What was asked for, what the machine gave, and the file that remembers both between two commands."""

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
    """How much of a cluster: each form costs more and answers more questions than the one before."""

    LIGHT = "light"
    SIMULATED = "simulated"
    NODE = "node"


@dataclass(frozen=True)
class Spec:
    """What the caller wants. Two equal specs are the same cluster."""

    name: str
    form: Form
    nodes: int = 10
    extra_args: Mapping[str, Sequence[str]] = field(default_factory=dict)
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Of a program: what it reads from nowhere else, such as GOGC."""

    def arguments(self, program: str, ours: Sequence[str]) -> list[str]:
        """Our options of a program with the caller's on top: an option named again replaces ours."""
        theirs = list(self.extra_args.get(program, ()))
        named = {_option(argument) for argument in theirs}
        return [argument for argument in ours if _option(argument) not in named] + theirs


@dataclass(frozen=True)
class Placement:
    """The addresses and ports of one start of a cluster. `subnet` is 0 where everything is on loopback."""

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
        """The host's end of the link into the cluster's network namespace."""
        return f"10.77.{self.subnet}.1"

    @property
    def gateway(self) -> str:
        """The bridge of the Pods, which is the node's address too: a kubelet refuses loopback."""
        return f"10.{100 + self.subnet}.0.1"

    @property
    def pod_cidr(self) -> str:
        return f"10.{100 + self.subnet}.0.0/16"


def in_namespace(subnet: int) -> Placement:
    """A namespace of its own has every port free, so the usual ones serve."""
    return Placement(f"10.77.{subnet}.2", 6443, 2379, 2380, subnet)


@dataclass(frozen=True)
class Record:
    """What a later command needs to know about a cluster that an earlier one started."""

    spec: Spec
    placement: Placement
    provider: str
    binaries: Mapping[str, str]


def write_record(directory: ClusterDirectory, record: Record) -> None:
    """Replaces the file in one step, so that a crash leaves the old one or the new one."""
    directory.root.mkdir(parents=True, exist_ok=True)
    write_atomically(directory.record, json.dumps(asdict(record), indent=2, default=list) + "\n")


def read_record(directory: ClusterDirectory) -> Record | None:
    """None for a cluster that does not exist, or that died before its record was written."""
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
    """Write beside the target and rename; private keys never exist with open permissions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as stream:
        stream.write(text)
    temporary.rename(path)


def _option(argument: str) -> str:
    return argument.partition("=")[0]
