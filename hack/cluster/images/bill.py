"""Writes the bill of materials of an image (CycloneDX 1.6) from the image's own files.

`python -m cluster.images.bill ARCHIVE [ARCHIVE…]` prints it. Debian packages are read from dpkg's records, Python
packages from their metadata; a scanner looks them up by their package URLs.
"""

from __future__ import annotations

import email.parser
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from . import layers

DEBIAN_RECORDS = ("var/lib/dpkg/status.d/", "var/lib/dpkg/status")


class Package(NamedTuple):
    """One Debian or Python package."""

    purl: str
    name: str
    version: str
    license: str


def bill(archive: Path) -> dict[str, Any]:
    """Return the document. It has no time and no serial number, so that the same image gives the same bytes."""
    packages = sorted(set(_packages(archive)))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": archive.stem.rpartition("-")[0], "version": "dev"}},
        "components": [_component(package) for package in packages],
    }


def _component(package: Package) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
    }
    if package.license:
        found["licenses"] = [{"license": {"name": package.license}}]
    return found


def _packages(archive: Path) -> Iterator[Package]:
    for path, text in _texts(archive):
        if path.endswith(".dist-info/METADATA"):
            yield _python(text)
        elif path.startswith(DEBIAN_RECORDS):
            yield from (_debian(paragraph) for paragraph in text.split("\n\n") if paragraph.strip())


def _texts(archive: Path) -> Iterator[tuple[str, str]]:
    """Return the files that describe packages."""
    for path, file, layer in layers.files(archive):
        content = layer.extractfile(file) if _tells_of_packages(path) else None
        if content is not None:
            yield path, content.read().decode()


def _tells_of_packages(path: str) -> bool:
    return path.endswith(".dist-info/METADATA") or path.startswith(DEBIAN_RECORDS)


def _python(text: str) -> Package:
    about = email.parser.HeaderParser().parsestr(text)
    name, version = about["Name"], about["Version"]
    purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{quote(version)}"
    # The old field may contain a whole licence text.
    license_ = about["License-Expression"] or (about["License"] or "").partition("\n")[0]
    return Package(purl, name, version, license_)


def _debian(text: str) -> Package:
    about = email.parser.HeaderParser().parsestr(text)
    name, version, architecture = about["Package"], about["Version"], about["Architecture"]
    purl = f"pkg:deb/debian/{name}@{quote(version, safe='+~')}?arch={architecture}"
    return Package(purl, name, version, "")


def main() -> int:
    """Print the bill of each archive; return the exit code."""
    for archive in sys.argv[1:]:
        print(json.dumps(bill(Path(archive)), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
