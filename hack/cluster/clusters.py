"""The calls of the Python API. They may be repeated, and several processes may make them at once."""

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
    """Start the cluster of that name, or its programs that do not run, and return it."""
    extra = {canonical_name(program): tuple(arguments) for program, arguments in (extra_args or {}).items()}
    if extra_apiserver_args:
        extra["apiserver"] = (*extra.get("apiserver", ()), *extra_apiserver_args)
    variables = {canonical_name(program): dict(given) for program, given in (environment or {}).items()}
    spec = Spec(name, Form(form), nodes, extra, variables)
    directory = ClusterDirectory.of(name)
    with lock.held(directory.lock, f"cluster {name}", report):
        return provider.up(directory, spec, report)


def binary(name: str, *, report: Report = print) -> Path:
    """Return the path of a pinned binary (kubectl, helm, …); build it if it is not in the cache."""
    return build.ensure([name], report)[name]


def get(name: str, *, report: Report = print) -> Cluster:
    """Return the cluster of that name that an earlier `up` has started; starts nothing."""
    directory = ClusterDirectory.of(name)
    record = read_record(directory)
    if record is None:
        raise ClusterError(f"there is no cluster {name}", f"`python -m cluster up --name {name}` makes it")
    return provider.handle(directory, record, report)


def down(name: str, *, keep: bool = False, report: Report = print) -> None:
    """Stop and delete a cluster in any state; no error if none has that name."""
    directory = ClusterDirectory.of(name)
    with lock.held(directory.lock, f"cluster {name}", report):
        record = read_record(directory)
        if record is not None:
            provider.handle(directory, record, report).down(keep=keep)
        remains.stop_everything(directory)  # even if the record is missing, no process of the cluster may keep running
        if not keep:
            remains.delete(directory)
            # While the lock is held: a waiting process notices the deletion, and creates another file.
            directory.lock.unlink(missing_ok=True)
