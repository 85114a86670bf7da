"""Each node's kubelet keeps its Pods below a cgroup of its own, so that two kubelets do not tidy up one another's."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from .errors import ClusterError

ROOT = Path("/sys/fs/cgroup")
# What the kubelet refuses to start without.
NEEDED = ("cpu", "cpuset", "memory", "pids")
# A version 1 cpuset starts empty, and no process can enter it until these two are filled in.
CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")


def group_name(cluster: str) -> str:
    """The kubelet's `cgroupRoot`, without its leading slash."""
    return f"podtask-{cluster}"


def hierarchies(root: Path = ROOT) -> list[Path]:
    """The one tree of version 2, or every mounted tree of version 1."""
    if (root / "cgroup.controllers").exists():
        return [root]
    found = (entry for entry in sorted(root.iterdir()) if entry.is_dir() and not entry.is_symlink())
    return [entry for entry in found if (entry / "cgroup.procs").exists()]


def check(root: Path = ROOT) -> None:
    """Fail where the kernel offers no cgroups that a kubelet could use."""
    if not root.is_dir():
        raise ClusterError(f"{root} is not there", "mount the cgroup file system, or use --form light")
    unified = root / "cgroup.controllers"
    present = unified.read_text().split() if unified.exists() else [tree.name for tree in hierarchies(root)]
    offered = {controller for name in present for controller in name.split(",")}
    missing = [controller for controller in NEEDED if controller not in offered]
    if missing:
        raise ClusterError(
            f"the kernel offers no cgroup controller {', '.join(missing)}",
            f"mount it below {root} (or delegate it to this container), or use --form light or simulated",
        )


def create(cluster: str, root: Path = ROOT) -> None:
    """Make the group in every tree; fine when it is there already."""
    for tree in hierarchies(root):
        group = tree / group_name(cluster)
        if (tree / "cgroup.subtree_control").exists() and (tree / "cgroup.controllers").exists():
            _pass_on_controllers(tree)
        group.mkdir(exist_ok=True)
        for file in CPUSET_FILES:
            if (tree / file).exists() and (group / file).exists():
                (group / file).write_text((tree / file).read_text())


def _pass_on_controllers(tree: Path) -> None:
    # Version 2 gives a group only the controllers that its parent passes on; a busy parent may refuse some.
    for controller in (tree / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):
            (tree / "cgroup.subtree_control").write_text(f"+{controller}")


def processes(cluster: str, root: Path = ROOT) -> set[int]:
    """Everything that runs below the group: the Pods' containers."""
    found: set[int] = set()
    for group in _groups(cluster, root):
        with contextlib.suppress(OSError):
            found.update(int(word) for word in (group / "cgroup.procs").read_text().split())
    return found


def remove(cluster: str, root: Path = ROOT, within_seconds: float = 60.0) -> None:
    """Delete the group and all below it. The kernel lets go of a dead process's group a moment after its death."""
    deadline = time.monotonic() + within_seconds
    while True:
        for group in _groups(cluster, root):
            with contextlib.suppress(OSError):
                group.rmdir()
        left = _groups(cluster, root)
        if not left:
            return
        if time.monotonic() > deadline:
            raise ClusterError(f"these cgroups are still busy: {left[:5]}", "run `python -m cluster down` again")
        time.sleep(0.05)


def _groups(cluster: str, root: Path) -> list[Path]:
    """The group and its descendants in every tree, the deepest first, as they must be removed."""
    found: list[Path] = []
    if not root.is_dir():
        return found
    for tree in hierarchies(root):
        # os.walk passes over what vanishes while it looks, as the groups of a cluster that goes down do.
        found += [Path(folder) for folder, _, _ in os.walk(tree / group_name(cluster), topdown=False)]
    return found
