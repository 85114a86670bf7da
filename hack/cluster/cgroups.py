"""A cgroup for the Pods of each node's kubelet, so that two kubelets do not remove each other's."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from .errors import ClusterError

ROOT = Path("/sys/fs/cgroup")
# The kubelet does not start without these.
NEEDED = ("cpu", "cpuset", "memory", "pids")
# A version 1 cpuset starts empty, and no process can enter it until these two are filled in.
CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")


def group_name(cluster: str) -> str:
    """The kubelet's `cgroupRoot`, without its leading slash."""
    return f"podtask-{cluster}"


def hierarchies(root: Path = ROOT) -> list[Path]:
    """Return the mount point of version 2, or those of all controllers of version 1."""
    if (root / "cgroup.controllers").exists():
        return [root]
    found = (entry for entry in sorted(root.iterdir()) if entry.is_dir() and not entry.is_symlink())
    return [entry for entry in found if (entry / "cgroup.procs").exists()]


def check(root: Path = ROOT) -> None:
    """Raise if the kernel offers no cgroups that a kubelet can use."""
    if not root.is_dir():
        raise ClusterError(f"{root} does not exist", "mount the cgroup file system, or use --form light")
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
    """Create the group in every tree; it may exist already."""
    for tree in hierarchies(root):
        group = tree / group_name(cluster)
        if (tree / "cgroup.subtree_control").exists() and (tree / "cgroup.controllers").exists():
            _pass_on_controllers(tree)
        group.mkdir(exist_ok=True)
        for file in CPUSET_FILES:
            if (tree / file).exists() and (group / file).exists():
                (group / file).write_text((tree / file).read_text())


def _pass_on_controllers(tree: Path) -> None:
    # In version 2 a group has only the controllers that its parent delegates; a busy parent may refuse some.
    for controller in (tree / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):
            (tree / "cgroup.subtree_control").write_text(f"+{controller}")


def processes(cluster: str, root: Path = ROOT) -> set[int]:
    """Return the ids of all processes below the group: the Pods' containers."""
    found: set[int] = set()
    for group in _groups(cluster, root):
        with contextlib.suppress(OSError):
            found.update(int(word) for word in (group / "cgroup.procs").read_text().split())
    return found


def remove(cluster: str, root: Path = ROOT, within_seconds: float = 60.0) -> None:
    """Delete the group and its descendants. The kernel releases the group of an ended process a moment later."""
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
    """Return the group and its descendants in every tree, the deepest first, which is the order of removal."""
    found: list[Path] = []
    if not root.is_dir():
        return found
    for tree in hierarchies(root):
        # os.walk ignores directories that vanish meanwhile, as the groups of a cluster that is being stopped do.
        found += [Path(folder) for folder, _, _ in os.walk(tree / group_name(cluster), topdown=False)]
    return found
