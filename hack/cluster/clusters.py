"""The three calls of the Python API. Safe to repeat, and safe for several processes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from . import build, lock, provider, remains
from .errors import ClusterError
from .handle import Cluster
from .paths import ClusterDirectory
from .program import canonical_name
from .progress import Report
from .spec import Form, Spec, read_record


def up(
    name: str,
    form: Form | str,
    *,
    report: Report = print,
    nodes: int = 10,
    extra_apiserver_args: Sequence[str] = (),
    extra_args: Mapping[str, Sequence[str]] | None = None,
    environment: Mapping[str, Mapping[str, str]] | None = None,
) -> Cluster:
    """Return the running cluster of that name, after starting whatever of it does not run."""
    extra = {canonical_name(program): tuple(arguments) for program, arguments in (extra_args or {}).items()}
    if extra_apiserver_args:
        extra["apiserver"] = (*extra.get("apiserver", ()), *extra_apiserver_args)
    variables = {canonical_name(program): dict(given) for program, given in (environment or {}).items()}
    spec = Spec(name, Form(form), nodes, extra, variables)
    directory = ClusterDirectory.of(name)
    with lock.held(directory.lock, f"cluster {name}", report):
        return provider.up(directory, spec, report)


def binary(name: str, *, report: Report = print) -> Path:
    """The path of one of the pinned binaries (kubectl, helm, …), built if it is not in the cache."""
    return build.ensure([name], report)[name]


def get(name: str, *, report: Report = print) -> Cluster:
    """The cluster of that name as an earlier `up` left it; starts nothing."""
    directory = ClusterDirectory.of(name)
    record = read_record(directory)
    if record is None:
        raise ClusterError(f"there is no cluster {name}", f"`python -m cluster up --name {name}` makes it")
    return provider.handle(directory, record, report)


def down(name: str, *, keep: bool = False, report: Report = print) -> None:
    """Take a cluster down in whatever state it is. None of that name is fine too."""
    directory = ClusterDirectory.of(name)
    with lock.held(directory.lock, f"cluster {name}", report):
        record = read_record(directory)
        if record is not None:
            provider.handle(directory, record, report).down(keep=keep)
        remains.stop_everything(directory)  # whatever became of the record, nothing of the cluster may run on
        if not keep:
            remains.delete(directory)
            directory.lock.unlink(missing_ok=True)  # while it is ours: who waits for it notices, and makes another
