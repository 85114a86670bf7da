"""The three calls of the Python API. Safe to repeat, and safe for several processes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import embedded, lock, remains
from .errors import ClusterError
from .handle import Cluster
from .paths import ClusterDirectory
from .program import canonical_name
from .progress import Report
from .spec import Form, Record, Spec, read_record


def up(
    name: str,
    form: Form | str,
    *,
    report: Report = print,
    nodes: int = 10,
    extra_apiserver_args: Sequence[str] = (),
    extra_args: Mapping[str, Sequence[str]] | None = None,
) -> Cluster:
    """Return the running cluster of that name, after starting whatever of it does not run."""
    extra = {canonical_name(program): tuple(arguments) for program, arguments in (extra_args or {}).items()}
    if extra_apiserver_args:
        extra["apiserver"] = (*extra.get("apiserver", ()), *extra_apiserver_args)
    spec = Spec(name, Form(form), nodes, extra)
    directory = ClusterDirectory.of(name)
    with lock.held(directory.lock, f"cluster {name}", report):
        return embedded.up(directory, spec, report)


def get(name: str, *, report: Report = print) -> Cluster:
    """The cluster of that name as an earlier `up` left it; starts nothing."""
    directory = ClusterDirectory.of(name)
    record = read_record(directory)
    if record is None:
        raise ClusterError(f"there is no cluster {name}", f"`python -m cluster up --name {name}` makes it")
    return _handle(directory, record, report)


def down(name: str, *, keep: bool = False, report: Report = print) -> None:
    """Take a cluster down in whatever state it is. None of that name is fine too."""
    directory = ClusterDirectory.of(name)
    with lock.held(directory.lock, f"cluster {name}", report):
        record = read_record(directory)
        if record is not None:
            _handle(directory, record, report).down(keep=keep)
        else:
            remains.stop_everything(directory)
            if not keep:
                remains.delete(directory)


def _handle(directory: ClusterDirectory, record: Record, report: Report) -> Cluster:
    return embedded.EmbeddedCluster(directory, record, report)
