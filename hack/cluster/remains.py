"""Removes a cluster in any state: running, starting, crashed, or left from before a reboot."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from . import cgroups, mounts, namespaces, processes
from .paths import ClusterDirectory

# Files that are invalid without the processes, and would confuse the next ones.
VOLATILE = ("run", "containerd/state")


def stop_everything(directory: ClusterDirectory) -> int:
    """End the processes and remove their kernel objects, but not the files. Return the number of processes."""
    name = directory.name

    def alive() -> set[int]:
        namespace = processes.in_network_namespace(namespaces.handle(name))
        return processes.members(directory) | namespace | cgroups.processes(name)

    # All together, with containers and their shims: otherwise the last one could restart the first.
    ended = processes.end(alive)
    mounts.unmount_below(directory.root)
    if os.geteuid() == 0:
        namespaces.remove(name)
        cgroups.remove(name)
    for folder in VOLATILE:
        shutil.rmtree(directory.root / folder, ignore_errors=True)
    return ended


def delete(directory: ClusterDirectory) -> None:
    """Delete the files. The directory is renamed first, so that a crash leaves no incomplete cluster of that name."""
    mounts.refuse_mounts_below(directory.root)
    parent = directory.root.parent
    if directory.root.exists():
        directory.root.rename(parent / f".deleted-{directory.name}-{uuid.uuid4().hex[:8]}")
    for trash in parent.glob(f".deleted-{directory.name}-????????"):
        _delete_tree(trash)


def _delete_tree(root: Path) -> None:
    # Pods may leave directories without write permission; root can delete them, and other users have no Pods.
    shutil.rmtree(root)
