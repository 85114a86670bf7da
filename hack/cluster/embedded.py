"""A cluster of processes on this machine: without Docker and downloads, ready in seconds."""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime as dt
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from . import (
    binaries,
    build,
    cgroups,
    commands,
    controlplane,
    kubeconfig,
    namespaces,
    node,
    packages,
    pki,
    ports,
    processes,
    program,
    remains,
    startup,
    supervision,
)
from .errors import ClusterError
from .handle import READY_SECONDS, Cluster
from .images import load
from .paths import ClusterDirectory
from .progress import Report
from .spec import Form, Placement, Record, Spec, read_record, write_record

COLD_START_SECONDS = 300.0
MENDING_SECONDS = 60.0
BINARIES = {Form.LIGHT: binaries.LIGHT, Form.SIMULATED: binaries.SIMULATED, Form.NODE: binaries.NODE}


def up(directory: ClusterDirectory, spec: Spec, report: Report) -> EmbeddedCluster:
    """Start the cluster, or its missing programs. The caller holds its lock."""
    started = time.monotonic()
    saved = read_record(directory)
    if saved is not None and _still_runs(directory, saved, spec, report):
        return EmbeddedCluster(directory, saved, report)
    _check_machine(spec.form, report)
    built = build.ensure(BINARIES[spec.form], report)
    if ended := remains.stop_everything(directory):
        report(f"ended {ended} processes that an earlier start of {spec.name} had left")
    with _placed(spec, saved) as placement:
        record = Record(spec, placement, "embedded", {name: str(path) for name, path in built.items()})
        _write_files(directory, record)
        names = [one.name for one in startup.programs(directory, record)]
        prefix = namespaces.prefix(directory) if spec.form is Form.NODE else []
        supervision.launch(directory, names, prefix)
        cluster = EmbeddedCluster(directory, record, report)
        cluster.wait_ready(COLD_START_SECONDS)
    report(f"cluster {spec.name} ({spec.form}) is up after {time.monotonic() - started:.1f} s")
    return cluster


def _still_runs(directory: ClusterDirectory, saved: Record, spec: Spec, report: Report) -> bool:
    """Return whether the cluster exists as requested, so that only missing programs need to be started."""
    if saved.spec.form is not spec.form:
        raise ClusterError(
            f"cluster {spec.name} exists with the form {saved.spec.form}, not {spec.form}",
            f"take it down (`python -m cluster down --name {spec.name}`) or choose another --name",
        )
    wanted = {name: str(path) for name, path in build.planned(BINARIES[spec.form]).items()}
    if saved.spec != spec or saved.binaries != wanted or not supervision.Supervisor(directory).is_alive():
        return False
    try:
        if startup.Startup(directory, saved, MENDING_SECONDS).is_up():
            if spec.form is Form.NODE:
                load.load_default(EmbeddedCluster(directory, saved, report))  # a binary may have changed
            return True
        EmbeddedCluster(directory, saved, report).wait_ready(MENDING_SECONDS)
    except ClusterError as error:
        report(f"{error.message.splitlines()[0]}\nstarting cluster {spec.name} afresh")
        return False
    return True


def _check_machine(form: Form, report: Report) -> None:
    """Prepare the machine; only a node needs more than a loopback address."""
    if form is not Form.NODE:
        return
    _need_root()
    cgroups.check()
    packages.ensure(packages.NODE, report)


def _need_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "a node needs root: namespaces, mounts, cgroups", "run this with sudo, or use --form light or simulated"
        )


@contextlib.contextmanager
def _placed(spec: Spec, saved: Record | None) -> Iterator[Placement]:
    """Return addresses and ports: those of the last start if they are free, because clients may still use them."""
    if spec.form is Form.NODE:
        yield namespaces.create(spec.name, saved.placement.subnet if saved else 0)
        return
    before = saved.placement if saved else None
    wanted = (before.port, before.etcd_port, before.etcd_peer_port) if before else ()
    with ports.reserved(3, wanted) as (port, etcd_port, etcd_peer_port):
        yield Placement("127.0.0.1", port, etcd_port, etcd_peer_port)


def _write_files(directory: ClusterDirectory, record: Record) -> None:
    placement = record.placement
    write_record(directory, record)
    subjects = controlplane.subjects(record.spec.form, placement)
    pki.issue_all(directory.pki, subjects, dt.datetime.now(dt.UTC))
    for subject in subjects:
        if subject.file != "apiserver":
            target = directory.kubeconfig if subject.file == "admin" else directory.client_config(subject.file)
            kubeconfig.write(target, record.spec.name, placement.server, subject.file, directory.pki)
    # If the start fails, the error must not show the output of the previous start.
    shutil.rmtree(directory.logs, ignore_errors=True)
    if record.spec.form is Form.NODE:
        cgroups.create(record.spec.name)
        node.write_config(directory, placement)
        namespaces.prepare_private_paths(directory)
    program.write_scripts(directory, startup.programs(directory, record))


class EmbeddedCluster(Cluster):
    """A cluster that runs under its own supervisord."""

    @property
    def supervisor(self) -> supervision.Supervisor:
        return supervision.Supervisor(self.directory)

    def load(self, image: str, archive: Path) -> None:
        if self.form is not Form.NODE:
            raise ClusterError(f"cluster {self.name} has no node to load images on", "use --form node")
        ctr = ["ctr", f"--address={node.containerd_socket(self.directory)}", "--namespace=k8s.io"]
        commands.run([*ctr, "images", "import", "--snapshotter=overlayfs", archive])
        if image not in commands.run([*ctr, "images", "list", "--quiet"]).split():
            raise ClusterError(
                f"{archive} contains no image named {image}", "tag the image with this name when you create the archive"
            )

    def pid(self, program: str) -> int:
        name = _canonical(program)
        state = self.supervisor.states().get(name)
        if state is None or not state.is_alive:
            raise ClusterError(
                f"{name} does not run in cluster {self.name}", "`python -m cluster status` lists what does"
            )
        return state.pid

    def signal(self, program: str, name: str) -> None:
        self.supervisor.signal(program, name.removeprefix("SIG"))

    def stop(self, program: str) -> None:
        self.supervisor.stop(program)

    def start(self, program: str) -> None:
        self.supervisor.start(program)

    def set_autorestart(self, program: str, *, wanted: bool) -> None:
        self.supervisor.set_autorestart(program, wanted=wanted)

    def wait_ready(self, deadline_seconds: float = READY_SECONDS) -> None:
        processes.resume(self.directory)  # resumes paused programs; no effect on others
        start = startup.Startup(self.directory, self.record, deadline_seconds)
        if self.form is not Form.NODE:
            start.bring_up()
            return
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            # Loading takes seconds and needs only containerd, so it runs while the other programs start.
            start.wait_for_containerd()
            loading = pool.submit(load.load_default, self)
            start.bring_up()
            loading.result()

    def status(self) -> dict[str, str]:
        if not self.supervisor.is_alive():
            return {"supervisord": "not running"}
        states = self.supervisor.states()
        return {name: f"{state.word.lower()} ({state.description})" for name, state in states.items()}

    def log(self, program: str) -> str:
        file = self.directory.log(_canonical(program))
        if not file.exists():
            raise ClusterError(f"cluster {self.name} has no log of {program!r}", f"see {self.directory.logs}")
        return file.read_text(errors="replace")

    def down(self, *, keep: bool = False) -> None:
        if self.form is Form.NODE:
            _need_root()
        remains.stop_everything(self.directory)
        if not keep:
            remains.delete(self.directory)


def _canonical(name: str) -> str:
    return program.canonical_name(name)
