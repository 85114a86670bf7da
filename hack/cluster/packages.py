"""Debian packages that the machine must have. Missing ones are installed with apt-get."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from . import commands, lock, paths, progress
from .errors import ClusterError
from .progress import Report

# A file or command of a package, and the package's name.
NODE: Mapping[str, str] = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "mount": "mount",
    "nsenter": "util-linux",
    "sysctl": "procps",
}
IMAGES: Mapping[str, str] = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "runc": "runc"}
INSTALL_HINT = "install the packages by hand, then run the same command again"


def missing(wanted: Mapping[str, str]) -> list[str]:
    """Return the packages whose file or command is missing."""
    return sorted({package for proof, package in wanted.items() if not _is_there(proof)})


def ensure(wanted: Mapping[str, str], report: Report) -> None:
    """Install the missing packages."""
    names = missing(wanted)
    if not names:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ClusterError(
            f"these packages are missing: {' '.join(names)}", "as root: apt-get install " + " ".join(names)
        )
    # Two clusters that start at once on a new machine need the same packages, and apt-get allows one process.
    with lock.held(paths.cache_root() / "packages.lock", "the installation of packages", report):
        _install(missing(wanted), report)
    still = missing(wanted)
    if still:
        raise ClusterError(f"apt-get installed {' '.join(still)}, but their programs were not found", INSTALL_HINT)


def _install(names: list[str], report: Report) -> None:
    if not names:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Wait for other apt-get processes too, such as the machine's updates.
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", *names]
    with progress.heartbeat(f"apt-get install {' '.join(names)}", report):
        try:
            commands.run(install, env=environment)
        except ClusterError:
            # The package lists of a new machine are empty or old; only then they are fetched.
            commands.run(["apt-get", "update"], env=environment, hint=INSTALL_HINT)
            commands.run(install, env=environment, hint=INSTALL_HINT)


def _is_there(proof: str) -> bool:
    if proof.startswith("/"):
        return Path(proof).exists()
    return shutil.which(proof, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None
