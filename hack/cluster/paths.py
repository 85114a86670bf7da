"""Where everything lies. One place, because a path written in two ways is a leak when a cluster is taken down."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parent.parent
TOOLS = PACKAGE / "tools"

# Linux allows 107 characters for a socket's path; the longest one below a cluster's directory is the kubelet's.
LONGEST_SOCKET = "kubelet/pod-resources/kubelet.sock"
SOCKET_PATH_LIMIT = 107
NAME_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


def cache_root() -> Path:
    """Outside the repository, so that a fresh clone and a CI run find what an earlier one built."""
    chosen = os.environ.get("PODTASK_CACHE")
    return Path(chosen).resolve() if chosen else Path.home() / ".cache" / "podtask"


@dataclass(frozen=True)
class ClusterDirectory:
    """The files of one cluster. Everything below `root` belongs to it and goes with it."""

    root: Path

    @classmethod
    def of(cls, name: str) -> ClusterDirectory:
        """The directory of the cluster of that name, whether it exists or not."""
        if not NAME_PATTERN.fullmatch(name):
            raise ClusterError(
                f"{name!r} is no name for a cluster", "use lower-case letters, digits and dashes, 32 at most"
            )
        directory = cls(cache_root() / "clusters" / name)
        if len(str(directory.root / LONGEST_SOCKET)) > SOCKET_PATH_LIMIT:
            raise ClusterError(
                f"{directory.root} is too long a path for the sockets below it", "set PODTASK_CACHE to a shorter one"
            )
        return directory

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def lock(self) -> Path:
        """Beside the directory, not in it: it must outlive the directory's deletion."""
        return self.root.parent / f".{self.name}.lock"

    @property
    def record(self) -> Path:
        return self.root / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        return self.root / "log"

    @property
    def run(self) -> Path:
        """Sockets and pid files: worthless after a reboot, so emptied at every cold start."""
        return self.root / "run"

    @property
    def config(self) -> Path:
        return self.root / "etc"

    def log(self, program: str) -> Path:
        """Where a program's output goes."""
        return self.logs / f"{program}.log"

    def client_config(self, user: str) -> Path:
        """The kubeconfig of one of the cluster's own programs."""
        return self.config / f"{user}.kubeconfig"


def all_cluster_names() -> list[str]:
    """Every cluster with something on disk, half-made ones included."""
    parent = cache_root() / "clusters"
    if not parent.is_dir():
        return []
    return sorted(entry.name for entry in parent.iterdir() if entry.is_dir() and NAME_PATTERN.fullmatch(entry.name))
