"""The key of an image: a hash of all that its content depends on. The same key is not built or loaded again."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path

from .. import commands
from .table import IMAGES, Image

# Increase it when a change of the build code changes the images.
BUILD_VERSION = "2"
NEVER_IN_AN_IMAGE = ("__pycache__", ".git")


def key(image: Image, compiler: Callable[[], str] | None = None) -> str:
    """Return the key of an image, its bases included."""
    digest = hashlib.sha256()
    parts = [BUILD_VERSION, image.reference, *image.debian_packages, image.go_binary]
    parts += ["bare"] * image.is_bare + [image.stage] * bool(image.stage)
    parts += [f"{argument}={key(IMAGES[base], compiler)}" for argument, base in sorted(image.bases.items())]
    if image.go_binary:
        parts.append((compiler or (lambda: _go_version(image.context)))())
    for part in parts:
        digest.update(part.encode() + b"\0")
    for file in context_files(image):
        digest.update(str(file.relative_to(image.context)).encode() + b"\0")
        digest.update(b"x" if file.stat().st_mode & stat.S_IXUSR else b"-")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def context_files(image: Image) -> list[Path]:
    """Return the source files, without binaries and tests."""
    places = [image.context / name for name in image.files] or [image.context]
    within = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    found = (file for file in sorted(within) if file.is_file())
    return [file for file in found if _counts(file.relative_to(image.context), image)]


def _counts(file: Path, image: Image) -> bool:
    if str(file) == image.go_binary or file.name.endswith("_test.go"):
        return False
    return not any(part in NEVER_IN_AN_IMAGE for part in file.parts)


def _go_version(context: Path) -> str:
    return commands.run(["go", "env", "GOVERSION"], cwd=context).strip()
