"""Chooses the provider of a cluster: kind if a Docker engine replies, else processes of this machine."""

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
    """A provider: a way to run a cluster."""

    def __call__(self, directory: ClusterDirectory, spec: Spec, report: Report) -> Cluster: ...


PROVIDERS: dict[str, Provider] = {"embedded": embedded.up, "kind": kind.up}
HANDLES: dict[str, type[Cluster]] = {"embedded": embedded.EmbeddedCluster, "kind": kind.KindCluster}


def up(directory: ClusterDirectory, spec: Spec, report: Report) -> Cluster:
    """Start the cluster with its previous provider, or with the one for this machine."""
    saved = read_record(directory)
    if saved is None:
        name, why = choose(spec.form, os.environ.get(VARIABLE, ""), docker_answers)
        report(f"provider {name}: {why}")
    else:
        name = saved.provider
    return PROVIDERS[name](directory, spec, report)


def handle(directory: ClusterDirectory, record: Record, report: Report) -> Cluster:
    """Return the cluster that this record describes."""
    return HANDLES[record.provider](directory, record, report)


def choose(form: Form, wanted: str, has_docker: Callable[[], bool]) -> tuple[str, str]:
    """Return a provider's name, and the reason for the choice."""
    if form is not Form.NODE:
        return "embedded", f"the form {form} needs no containers"
    if wanted:
        if wanted not in PROVIDERS:
            raise ClusterError(f"{VARIABLE}={wanted} is not a provider", f"there are: {', '.join(PROVIDERS)}")
        return wanted, f"{VARIABLE} says so"
    if has_docker():
        return "kind", f"a Docker engine replies ({VARIABLE}=embedded does without)"
    return "embedded", "no Docker engine replies"


def docker_answers() -> bool:
    """Return whether a Docker engine replies; the command alone is not enough."""
    return commands.succeeds(["docker", "version", "--format", "{{.Server.Version}}"])
