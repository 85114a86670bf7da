"""The paths of all files of the clusters. `down` deletes by the same paths that `up` has used."""

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
    """Return the cache directory. It is outside the repository, so that a new clone reuses earlier builds."""
    chosen = os.environ.get("PODTASK_CACHE")
    return Path(chosen).resolve() if chosen else Path.home() / ".cache" / "podtask"


@dataclass(frozen=True)
class ClusterDirectory:
    """The files of one cluster. Everything below `root` is deleted with it."""

    root: Path

    @classmethod
    def of(cls, name: str) -> ClusterDirectory:
        """Return the paths of the cluster of that name, which may not exist."""
        if not NAME_PATTERN.fullmatch(name):
            raise ClusterError(
                f"{name!r} is not a valid name of a cluster", "use at most 32 lower-case letters, digits and dashes"
            )
        directory = cls(cache_root() / "clusters" / name)
        if len(str(directory.root / LONGEST_SOCKET)) > SOCKET_PATH_LIMIT:
            raise ClusterError(
                f"{directory.root} is too long for the paths of the sockets below it",
                "set PODTASK_CACHE to a shorter one",
            )
        return directory

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def lock(self) -> Path:
        """Path of the lock. It is next to the directory, not in it, because it must outlive it."""
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
        """Directory of sockets and pid files; emptied at every cold start."""
        return self.root / "run"

    @property
    def config(self) -> Path:
        return self.root / "etc"

    def log(self, program: str) -> Path:
        """Return the log of a program."""
        return self.logs / f"{program}.log"

    def client_config(self, user: str) -> Path:
        """Return the kubeconfig of one of the cluster's programs."""
        return self.config / f"{user}.kubeconfig"


def all_cluster_names() -> list[str]:
    """Return all clusters with files on disk, incomplete ones included."""
    parent = cache_root() / "clusters"
    if not parent.is_dir():
        return []
    return sorted(entry.name for entry in parent.iterdir() if entry.is_dir() and NAME_PATTERN.fullmatch(entry.name))
