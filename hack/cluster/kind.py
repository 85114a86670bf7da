"""The cluster in a Docker container, run by kind, for machines that have Docker."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from . import build, commands, progress
from .errors import ClusterError
from .handle import READY_SECONDS, Cluster
from .images import load
from .paths import ClusterDirectory
from .program import canonical_name
from .progress import Report
from .spec import Placement, Record, Spec, read_record, write_atomically, write_record

BINARIES = ("kind", "kubectl")
# kind pulls its node image by itself; another one can be set, for example to test an older Kubernetes.
IMAGE_VARIABLE = "PODTASK_KIND_IMAGE"
READY_WITHIN = "180s"
UNITS = ("kubelet", "containerd")
STATIC_PODS = ("etcd", "apiserver", "controller-manager", "scheduler")
# The scheduler is not among them: kind gives it no list of options to which one could be added.
EXTRA_ARGUMENTS_OF = {"apiserver": "apiServer", "controller-manager": "controllerManager"}
MANIFESTS = "/etc/kubernetes/manifests"
PARKED = "/etc/kubernetes/stopped"

Run = Callable[..., str]


def up(directory: ClusterDirectory, spec: Spec, report: Report, run: Run = commands.run) -> KindCluster:
    """Create the cluster, or return the running one. The caller holds its lock."""
    started = time.monotonic()
    saved = read_record(directory)
    if saved is not None and saved.spec == spec:
        cluster = KindCluster(directory, saved, report, run)
        if cluster.answers() or cluster.resumes():
            return cluster
    built = {name: str(path) for name, path in build.ensure(BINARIES, report).items()}
    # Left by a killed start or by another specification; kind reports success for an unknown name.
    run([built["kind"], "delete", "cluster", "--name", kind_name(spec.name)])
    config = directory.config / "kind.json"
    write_atomically(config, render(spec))
    with progress.heartbeat(f"kind creates cluster {spec.name}", report):
        run(
            create_command(directory, spec, built["kind"], config),
            hint="check that `docker info` works and that the disk has space",
        )
    record = Record(spec, placement(directory.kubeconfig.read_text()), "kind", built)
    write_record(directory, record)
    cluster = KindCluster(directory, record, report, run)
    load.load_default(cluster)
    report(f"cluster {spec.name} ({spec.form}, kind) is up after {time.monotonic() - started:.1f} s")
    return cluster


def kind_name(name: str) -> str:
    """Return the cluster's name in kind; the prefix distinguishes it from the user's own kind clusters."""
    return f"podtask-{name}"


def node_container(name: str) -> str:
    """Return the name of the node's container."""
    return f"{kind_name(name)}-control-plane"


def create_command(directory: ClusterDirectory, spec: Spec, kind: str, config: Path) -> list[str]:
    """Create the cluster. Its kubeconfig is in the cluster's directory; the user's own is not changed."""
    words = [kind, "create", "cluster", "--name", kind_name(spec.name), "--config", str(config)]
    words += ["--kubeconfig", str(directory.kubeconfig), "--wait", READY_WITHIN]
    image = os.environ.get(IMAGE_VARIABLE)
    return [*words, "--image", image] if image else words


def render(spec: Spec) -> str:
    """Return kind's configuration. Options are appended to kind's own."""
    unknown = set(spec.extra_args) - set(EXTRA_ARGUMENTS_OF)
    if unknown:
        raise ClusterError(f"kind passes no options on to {', '.join(sorted(unknown))}")
    if spec.environment:
        raise ClusterError(f"kind passes no variables on to {', '.join(sorted(spec.environment))}")
    operations = [
        {"op": "add", "path": f"/{section}/extraArgs/-", "value": _option(argument)}
        for program, section in EXTRA_ARGUMENTS_OF.items()
        for argument in spec.extra_args.get(program, ())
    ]
    document: dict[str, object] = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"apiServerAddress": "127.0.0.1"},
        "nodes": [{"role": "control-plane"}],
    }
    if operations:
        target = {"group": "kubeadm.k8s.io", "version": "v1beta4", "kind": "ClusterConfiguration"}
        document["kubeadmConfigPatchesJSON6902"] = [{**target, "patch": json.dumps(operations)}]
    return json.dumps(document, indent=1) + "\n"


def _option(argument: str) -> dict[str, str]:
    name, _, value = argument.removeprefix("--").partition("=")
    return {"name": name, "value": value or "true"}


def placement(kubeconfig: str) -> Placement:
    """Return the API server's URL on the host, from kind's kubeconfig."""
    found = re.search(r"^\s*server:\s*(\S+)\s*$", kubeconfig, re.MULTILINE)
    if found is None:
        raise ClusterError("kind wrote a kubeconfig without a server")
    target = urlsplit(found.group(1))
    return Placement(target.hostname or "", target.port or 443, etcd_port=2379, etcd_peer_port=2380)


def process_pattern(program: str) -> str:
    """Return the beginning of a program's command line in the node; process names are cut at 15 characters."""
    name = program if program in (*UNITS, "etcd") else f"kube-{program}"
    return rf"^([^ ]*/)?{name}( |$)"


class KindCluster(Cluster):
    """A cluster whose programs run inside one container: as systemd's units, or as the kubelet's static Pods."""

    def __init__(
        self, directory: ClusterDirectory, record: Record, report: Report = print, run: Run = commands.run
    ) -> None:
        super().__init__(directory, record, report)
        self._run = run

    def answers(self) -> bool:
        """Return whether the API server reports that it is ready."""
        try:
            return self.kubectl("get", "--raw=/readyz", "--request-timeout=5s").strip() == "ok"
        except ClusterError:
            return False

    def resumes(self) -> bool:
        """Start the container after `down --keep` or a reboot; return whether that succeeded."""
        try:
            self._run(["docker", "start", node_container(self.name)])
            self.wait_ready()
        except ClusterError:
            return False
        return True

    def load(self, image: str, archive: Path) -> None:
        del image  # kind uses the names in the archive
        self._run([self._kind, "load", "image-archive", str(archive), "--name", kind_name(self.name)])

    def pid(self, program: str) -> int:
        """Return the process id inside the node: Docker may run in a virtual machine with its own ids."""
        return int(self._inside("pgrep", "--oldest", "--full", process_pattern(canonical_name(program))).split()[0])

    def signal(self, program: str, name: str) -> None:
        pattern = process_pattern(canonical_name(program))
        self._inside("pkill", f"--signal={name.removeprefix('SIG')}", "--oldest", "--full", pattern)

    def stop(self, program: str) -> None:
        name = self._stoppable(program)
        if name in UNITS:
            self._inside("systemctl", "stop", name)
            return
        # The kubelet stops a static Pod after its manifest is removed, which takes a moment.
        self._inside("sh", "-c", f"mkdir -p {PARKED} && mv {MANIFESTS}/{_file(name)} {PARKED}/")
        pattern = process_pattern(name)
        self._inside("timeout", "60", "sh", "-c", f"while pgrep --full '{pattern}'; do sleep 0.2; done")

    def start(self, program: str) -> None:
        name = self._stoppable(program)
        if name in UNITS:
            self._inside("systemctl", "start", name)
            return
        self._inside("sh", "-c", f"test ! -e {PARKED}/{_file(name)} || mv {PARKED}/{_file(name)} {MANIFESTS}/")

    def set_autorestart(self, program: str, *, wanted: bool) -> None:
        if not wanted:
            raise ClusterError(f"in kind, {program} is always started again", "use `stop`, or the embedded provider")

    def wait_ready(self, deadline_seconds: float = READY_SECONDS) -> None:
        for name in (*UNITS, *STATIC_PODS):
            self.start(name)
        deadline = time.monotonic() + deadline_seconds
        while not self.answers():
            if time.monotonic() > deadline:
                raise ClusterError(f"cluster {self.name} is not ready after {deadline_seconds:.0f} s")
            time.sleep(0.5)
        self.kubectl("wait", "--for=condition=Ready", "nodes", "--all", f"--timeout={deadline_seconds:.0f}s")

    def status(self) -> dict[str, str]:
        found = {}
        for name in (*UNITS, *STATIC_PODS, "proxy"):
            try:
                found[name] = f"running (pid {self.pid(name)} inside {node_container(self.name)})"
            except (ClusterError, IndexError):
                found[name] = "not running"
        return found

    def log(self, program: str) -> str:
        name = canonical_name(program)
        if name in UNITS:
            return self._inside("journalctl", "--no-pager", "--output=cat", f"--unit={name}")
        stem = name if name == "etcd" else f"kube-{name}"
        return self._inside("sh", "-c", f"cat /var/log/pods/kube-system_{stem}-*/*/*.log")

    def down(self, *, keep: bool = False) -> None:
        if keep:
            self._run(["docker", "stop", node_container(self.name)])
            return
        self._run([self._kind, "delete", "cluster", "--name", kind_name(self.name)])

    @property
    def _kind(self) -> str:
        return self.record.binaries["kind"]

    def _inside(self, *words: str) -> str:
        return self._run(["docker", "exec", node_container(self.name), *words])

    def _stoppable(self, program: str) -> str:
        name = canonical_name(program)
        if name not in (*UNITS, *STATIC_PODS):
            raise ClusterError(
                f"{program!r} cannot be stopped in kind", f"these can: {', '.join((*UNITS, *STATIC_PODS))}"
            )
        return name


def _file(program: str) -> str:
    return "etcd.yaml" if program == "etcd" else f"kube-{program}.yaml"
