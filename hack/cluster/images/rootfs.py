"""Makes a Debian root file system with a few packages, from the package sources of this machine."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from .. import commands
from ..errors import ClusterError

APT = Path("/etc/apt")
HINT = "check that `apt-get update` works on this machine: the image's packages come from the same sources"

LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")
KEPT_OF_IT = ("/usr/share/doc/*/copyright",)
# After the installation, the package lists, the machine's sources and the installer's files are not needed.
DELETED_AFTERWARDS = (
    "var/lib/apt/lists/*",
    "etc/apt/sources.list*",
    "var/cache/apt/*",
    "var/cache/debconf/*",
    "var/log/*",
)
# Files that only an installation needs, half of the size. Each new cluster unpacks its images again.
DELETED_TO_RUN = ("usr/bin/perl*", "usr/lib/*/perl*", "usr/lib/*/libperl*", "usr/share/perl*", "usr/lib/*/gconv")
# dpkg is a dependency of python3's packaging tools and is not needed in such an image.
DELETED_IN_BARE = (
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/doc-base",
    "usr/share/pixmaps",
    "usr/share/dpkg",
    "usr/bin/dpkg*",
    "usr/bin/pdb3*",
    "usr/bin/pydoc3*",
    "usr/bin/pygettext3*",
    "usr/bin/py3*",
    "usr/bin/tar",
    "usr/bin/update-alternatives",
    "usr/sbin/*",
    "usr/lib/*/libdb-5*",
    "usr/lib/valgrind",
    "usr/lib/systemd",
    "usr/lib/python3.*/idlelib",
    "usr/lib/python3.*/lib2to3",
    "usr/lib/python3.*/pydoc_data",
)
# Where scanners look in images without dpkg: one control file for each package.
DESCRIBE_PACKAGES = (
    'mkdir -p "$1/var/lib/dpkg/status.d"; for deb in "$1"/var/cache/apt/archives/*.deb; do'
    ' dpkg-deb --field "$deb" > "$1/var/lib/dpkg/status.d/$(dpkg-deb --field "$deb" Package)"; done'
)


def build(packages: Sequence[str], target: Path, *, is_run: bool) -> None:
    """Write the root file system as a tar file; one that only runs, and is not built in, is made smaller."""
    deleted = DELETED_AFTERWARDS + (DELETED_TO_RUN if is_run else ())
    commands.run(command(packages, target, deleted, suite(), sources()), hint=HINT)


def build_bare(packages: Sequence[str], target: Path) -> None:
    """Write only the files that these packages need to run: no shell, no essential packages, nothing configured."""
    commands.run(bare_command(packages, target, suite(), sources()), hint=HINT)


def bare_command(packages: Sequence[str], target: Path, release: str, mirrors: Sequence[Path]) -> list[str]:
    """Return mmdebstrap's command line for that."""
    patterns = " ".join(f'"$1"/{pattern}' for pattern in DELETED_AFTERWARDS + DELETED_TO_RUN + DELETED_IN_BARE)
    hooks = [
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        # No customize hooks: mmdebstrap runs them only where packages are configured.
        f"--extract-hook={DESCRIBE_PACKAGES}",
        f"--extract-hook=rm -rf {patterns}",
        '--extract-hook=find "$1/usr/share/doc" -type f ! -name copyright -delete',
    ]
    chosen = ["--quiet", "--variant=extract", f"--include={','.join(packages)}", "--format=tar", *hooks]
    return ["mmdebstrap", *chosen, release, str(target), *map(str, mirrors)]


def command(
    packages: Sequence[str], target: Path, deleted: Sequence[str], release: str, mirrors: Sequence[Path]
) -> list[str]:
    """Return mmdebstrap's command line."""
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    options += [f"--dpkgopt=path-include={pattern}" for pattern in KEPT_OF_IT]
    if "python3" in packages:
        # Other images have this name, and users' commands use it.
        options.append('--customize-hook=ln -s python3 "$1/usr/bin/python"')
    patterns = " ".join(f'"$1"/{pattern}' for pattern in deleted)
    options.append(f"--customize-hook=rm -rf {patterns}")
    chosen = ["--quiet", "--variant=minbase", f"--include={','.join(packages)}", "--format=tar", *options]
    return ["mmdebstrap", *chosen, release, str(target), *map(str, mirrors)]


def suite() -> str:
    """Return the Debian release of this machine."""
    release = platform.freedesktop_os_release()
    name = release.get("VERSION_CODENAME", "")
    if not name:
        raise ClusterError("/etc/os-release has no VERSION_CODENAME", "images can be built on Debian or Ubuntu only")
    return name


def sources(apt: Path = APT) -> list[Path]:
    """Return the machine's package sources, in either of apt's formats."""
    found = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    usable = [file for file in found if file.is_file() and file.suffix in {".list", ".sources"} and file.stat().st_size]
    if not usable:
        raise ClusterError(f"{apt} has no package sources", HINT)
    return usable
