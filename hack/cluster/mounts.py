"""The mounts below a cluster's directory. They must be removed before it, or their files would be deleted."""

from __future__ import annotations

import tempfile
from pathlib import Path

from . import commands
from .errors import ClusterError

MOUNTS = Path("/proc/self/mounts")


def below(root: Path, table: str | None = None) -> list[Path]:
    """Return the mount points at or below a directory, the deepest first."""
    lines = (MOUNTS.read_text() if table is None else table).splitlines()
    points = [Path(_unescape(line.split()[1])) for line in lines]
    return sorted((point for point in points if point.is_relative_to(root)), reverse=True)


def unmount_below(root: Path) -> None:
    """Unmount them lazily: processes that still have files open there are ending."""
    for point in below(root):
        commands.succeeds(["umount", "-l", point])


def refuse_mounts_below(root: Path) -> None:
    """Raise if anything is mounted there."""
    left = below(root)
    if left:
        raise ClusterError(f"still mounted: {', '.join(map(str, left))}", "unmount it, then run the same command again")


def can_overlay(folder: Path) -> bool:
    """Return whether an overlay can be mounted on this directory's file system; on another overlay it cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".overlay-", dir=folder) as name:
        layers = {layer: Path(name) / layer for layer in ("lower", "upper", "work", "merged")}
        for layer in layers.values():
            layer.mkdir()
        options = ",".join(f"{layer}dir={layers[layer]}" for layer in ("lower", "upper", "work"))
        mounted = commands.succeeds(["mount", "-t", "overlay", "overlay", "-o", options, layers["merged"]])
        unmount_below(Path(name))
    return mounted


def _unescape(word: str) -> str:
    # The kernel writes space, tab, newline and backslash as three octal digits.
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(code, character)
    return word
