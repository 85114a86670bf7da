"""Removes every trace of a cluster, in whatever state it is: running, half-started, crashed, or of before a reboot."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from . import cgroups, mounts, namespaces, processes
from .paths import ClusterDirectory

# What means nothing once the processes are gone, and would only mislead the next ones.
VOLATILE = ("run", "containerd/state")


def stop_everything(directory: ClusterDirectory) -> int:
    """End the processes, and take away what they had from the kernel. The files stay. Returns how many were ended."""
    name = directory.name

    def alive() -> set[int]:
        namespace = processes.in_network_namespace(namespaces.handle(name))
        return processes.members(directory) | namespace | cgroups.processes(name)

    # All at once, containers and their shims included: whoever is killed last could otherwise restart the first.
    ended = processes.end(alive)
    mounts.unmount_below(directory.root)
    if os.geteuid() == 0:
        namespaces.remove(name)
        cgroups.remove(name)
    for folder in VOLATILE:
        shutil.rmtree(directory.root / folder, ignore_errors=True)
    return ended


def delete(directory: ClusterDirectory) -> None:
    """Delete the files. Renamed first, so that a crash half-way leaves no half cluster under its name."""
    mounts.refuse_mounts_below(directory.root)
    parent = directory.root.parent
    if directory.root.exists():
        directory.root.rename(parent / f".deleted-{directory.name}-{uuid.uuid4().hex[:8]}")
    for trash in parent.glob(f".deleted-{directory.name}-????????"):
        _delete_tree(trash)


def _delete_tree(root: Path) -> None:
    # Pods may leave files and folders without write permission; root does not mind, others have no Pods.
    shutil.rmtree(root)
