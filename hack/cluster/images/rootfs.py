"""A Debian root file system with a few packages, from wherever this machine gets its own packages."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from .. import commands
from ..errors import ClusterError

APT = Path("/etc/apt")
HINT = "see that `apt-get update` works on this machine: the image's packages come from the same sources"

LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")
KEPT_OF_IT = ("/usr/share/doc/*/copyright",)
# After the installation nobody needs the package lists, the machine's sources, nor what only the installing needed.
DELETED_AFTERWARDS = (
    "var/lib/apt/lists/*",
    "etc/apt/sources.list*",
    "var/cache/apt/*",
    "var/cache/debconf/*",
    "var/log/*",
)
# What only a package's installation runs, and half of the size. Each new cluster unpacks its images again.
DELETED_TO_RUN = ("usr/bin/perl*", "usr/lib/*/perl*", "usr/lib/*/libperl*", "usr/share/perl*", "usr/lib/*/gconv")


def build(packages: Sequence[str], target: Path, *, is_run: bool) -> None:
    """Write the root file system as a tar file; one that is run, not built in, is made smaller."""
    deleted = DELETED_AFTERWARDS + (DELETED_TO_RUN if is_run else ())
    commands.run(command(packages, target, deleted, suite(), sources()), hint=HINT)


def command(
    packages: Sequence[str], target: Path, deleted: Sequence[str], release: str, mirrors: Sequence[Path]
) -> list[str]:
    """Mmdebstrap's command line."""
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    options += [f"--dpkgopt=path-include={pattern}" for pattern in KEPT_OF_IT]
    if "python3" in packages:
        # Images from elsewhere call it so, and users' commands with them.
        options.append('--customize-hook=ln -s python3 "$1/usr/bin/python"')
    patterns = " ".join(f'"$1"/{pattern}' for pattern in deleted)
    options.append(f"--customize-hook=rm -rf {patterns}")
    chosen = ["--quiet", "--variant=minbase", f"--include={','.join(packages)}", "--format=tar", *options]
    return ["mmdebstrap", *chosen, release, str(target), *map(str, mirrors)]


def suite() -> str:
    """The release that the machine itself runs."""
    release = platform.freedesktop_os_release()
    name = release.get("VERSION_CODENAME", "")
    if not name:
        raise ClusterError("/etc/os-release names no VERSION_CODENAME", "images are built on Debian or Ubuntu only")
    return name


def sources(apt: Path = APT) -> list[Path]:
    """The machine's package sources, in either of apt's two formats."""
    found = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    usable = [file for file in found if file.is_file() and file.suffix in {".list", ".sources"} and file.stat().st_size]
    if not usable:
        raise ClusterError(f"{apt} names no package sources", HINT)
    return usable
