"""Which way a cluster is run: kind where a Docker engine answers, this machine's own processes elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from . import commands, embedded, kind
from .errors import ClusterError
from .handle import Cluster
from .paths import ClusterDirectory
from .progress import Report
from .spec import Form, Record, Spec, read_record

VARIABLE = "PODTASK_PROVIDER"


class Provider(Protocol):
    """A way to run a cluster."""

    def __call__(self, directory: ClusterDirectory, spec: Spec, report: Report) -> Cluster: ...


PROVIDERS: dict[str, Provider] = {"embedded": embedded.up, "kind": kind.up}
HANDLES: dict[str, type[Cluster]] = {"embedded": embedded.EmbeddedCluster, "kind": kind.KindCluster}


def up(directory: ClusterDirectory, spec: Spec, report: Report) -> Cluster:
    """Start the cluster the way it was started before, or else the way that suits the machine."""
    saved = read_record(directory)
    if saved is None:
        name, why = choose(spec.form, os.environ.get(VARIABLE, ""), docker_answers)
        report(f"provider {name}: {why}")
    else:
        name = saved.provider
    return PROVIDERS[name](directory, spec, report)


def handle(directory: ClusterDirectory, record: Record, report: Report) -> Cluster:
    """The cluster that this record describes."""
    return HANDLES[record.provider](directory, record, report)


def choose(form: Form, wanted: str, has_docker: Callable[[], bool]) -> tuple[str, str]:
    """A provider's name, and the reason in words."""
    if form is not Form.NODE:
        return "embedded", f"the form {form} needs no containers"
    if wanted:
        if wanted not in PROVIDERS:
            raise ClusterError(f"{VARIABLE}={wanted} names no provider", f"there are: {', '.join(PROVIDERS)}")
        return wanted, f"{VARIABLE} says so"
    if has_docker():
        return "kind", f"a Docker engine answers ({VARIABLE}=embedded does without)"
    return "embedded", "no Docker engine answers"


def docker_answers() -> bool:
    """Whether there is an engine behind the docker command, not only the command."""
    return commands.succeeds(["docker", "version", "--format", "{{.Server.Version}}"])
