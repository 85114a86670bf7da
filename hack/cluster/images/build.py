"""Builds images into archives in the cache, keyed by a hash of their sources."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from .. import commands, lock, mounts, packages, paths, progress
from ..errors import ClusterError
from ..progress import Report
from . import keys, rootfs, wheels
from .table import IMAGES, Image, with_bases

# More would compete for the same two cores and the same disk.
AT_ONCE = 2
BUILDS = 3
KEPT_UNUSED_SECONDS = 7 * 24 * 3600
GO_FLAGS = ("-trimpath", "-ldflags", "-s -w")
# No image is pulled, so there is no signature to check.
POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


def archive_path(image: Image) -> Path:
    """Return the path of the image's archive, which may not exist."""
    return _folder() / f"{image.name}-{keys.key(image)}.tar"


def ensure(images: Iterable[Image], report: Report) -> dict[str, Path]:
    """Build the images that are missing; return the archives of all."""
    wanted = list(images)
    for _ in range(BUILDS):
        archives = {image.name: archive_path(image) for image in wanted}
        missing = [image for image in wanted if not archives[image.name].exists()]
        if not missing:
            for path in archives.values():
                path.touch()  # marks it as used: see _remove_unused
            return archives
        with lock.held(_folder() / ".lock", "the build of the images", report):
            packages.ensure(packages.IMAGES, report)
            _remove_unfinished()
            _remove_unused()
            _build_in_order(with_bases(missing), report)
    raise ClusterError(
        "the sources of an image changed during each of its builds", "run it again when the sources no longer change"
    )


def _build_in_order(images: list[Image], report: Report) -> None:
    """Build base images first, otherwise two at a time."""
    waiting = {image.name: image for image in images if not archive_path(image).exists()}
    running: dict[concurrent.futures.Future[None], str] = {}
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        while waiting or running:
            unfinished = {*waiting, *running.values()}
            for image in [one for one in waiting.values() if unfinished.isdisjoint(one.bases.values())]:
                running[pool.submit(_build, image, report)] = image.name
                del waiting[image.name]
            done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                del running[future]
                future.result()


def _build(image: Image, report: Report) -> None:
    archive = archive_path(image)
    with progress.heartbeat(f"building image {image.name}", report), _workplace(image) as work:
        context = work / "context"
        _fill_context(image, context)
        finished = work / "image.tar"
        _buildah(work, *_bud(image, context))
        # Not oci-archive: it would compress the layers, and each new cluster would have to decompress them.
        _buildah(work, "push", image.reference, f"docker-archive:{finished}:{image.reference}")
        if archive_path(image) == archive:  # else a source was changed during the build, and the image is built again
            finished.rename(archive)


def _bud(image: Image, context: Path) -> list[str]:
    bases = [
        f"--build-arg={argument}=docker-archive:{archive_path(IMAGES[name])}" for argument, name in image.bases.items()
    ]
    # Only the chroot isolation needs no namespaces, so it works in a container too.
    return [
        "bud",
        "--isolation=chroot",
        "--pull-never",
        "--timestamp=0",
        f"--tag={image.reference}",
        *([f"--target={image.stage}"] if image.stage else []),
        *(["--build-arg=PIP_NO_INDEX=1"] if image.python_lock else []),
        *bases,
        str(context),
    ]


def _fill_context(image: Image, context: Path) -> None:
    """Return a copy of the build context, so that files built for the image are not left in the repository."""
    for file in keys.context_files(image):
        target = context / file.relative_to(image.context)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
    if image.go_binary:
        environment = {**os.environ, "CGO_ENABLED": "0"}
        target = context / image.go_binary
        commands.run(["go", "build", *GO_FLAGS, "-o", target, "."], cwd=image.context, env=environment)
    if image.debian_packages:
        target = context / "rootfs.tar"
        if image.is_bare:
            rootfs.build_bare(image.debian_packages, target)
        else:
            rootfs.build(image.debian_packages, target, is_run=image.is_loaded)
    if image.python_lock:
        python = wheels.python_version(archive_path(IMAGES[image.bases["BUILD_BASE"]]))
        wheels.download(image.context / image.python_lock, context / "wheels", python)


def _buildah(work: Path, *arguments: str) -> str:
    """Return buildah's command with its own storage, so that a crash leaves one directory and nothing else."""
    policy = work / "policy.json"
    policy.write_text(json.dumps(POLICY))
    storage = [f"--root={work / 'storage'}", f"--runroot={work / 'run'}", f"--storage-driver={_storage_driver()}"]
    command, *rest = arguments
    return commands.run(["buildah", *storage, command, f"--signature-policy={policy}", *rest])


def _storage_driver() -> str:
    """Return the storage driver: overlay mounts where vfs copies the file system, but not every user may mount it."""
    return "overlay" if os.geteuid() == 0 and mounts.can_overlay(_folder()) else "vfs"


@contextlib.contextmanager
def _workplace(image: Image) -> Iterator[Path]:
    _folder().mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".work-{image.name}-", dir=_folder()))
    try:
        yield work
    finally:
        _remove(work)


def _remove_unfinished() -> None:
    """Remove the files of killed builds. Call it with the lock held: another build may be running."""
    for work in _folder().glob(".work-*"):
        _remove(work)


def _remove_unused() -> None:
    """Remove archives that were not used for a week. Other checkouts may use other versions."""
    for archive in _folder().glob("*.tar"):
        if time.time() - archive.stat().st_mtime > KEPT_UNUSED_SECONDS:
            archive.unlink(missing_ok=True)


def _remove(work: Path) -> None:
    mounts.unmount_below(work)
    mounts.refuse_mounts_below(work)
    shutil.rmtree(work)


def _folder() -> Path:
    return paths.cache_root() / "images"
