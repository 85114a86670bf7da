"""Reads the files of an image archive, layer by layer. Later layers of our images delete no files."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path


def files(archive: Path) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """Yield each file's path and the layer to read it from; read it before the next iteration."""
    with tarfile.open(archive) as image:
        for name in image.getnames():
            content = image.extractfile(name) if name.endswith(".tar") else None
            if content is None:
                continue
            with content, tarfile.open(fileobj=content) as layer:
                for file in layer:
                    yield file.name.removeprefix("./"), file, layer
