"""The files of an image archive, layer by layer. Nothing is ever deleted in a later layer of our images."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path


def files(archive: Path) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """Each file with its path from the root, and the layer to read it from before the next is asked for."""
    with tarfile.open(archive) as image:
        for name in image.getnames():
            content = image.extractfile(name) if name.endswith(".tar") else None
            if content is None:
                continue
            with content, tarfile.open(fileobj=content) as layer:
                for file in layer:
                    yield file.name.removeprefix("./"), file, layer
