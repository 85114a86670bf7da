"""Loads images on a cluster's node; the same content only once."""

from __future__ import annotations

import json
from collections.abc import Iterable

from .. import progress
from ..errors import ClusterError
from ..handle import Cluster
from ..spec import write_atomically
from . import build, table


def load(cluster: Cluster, names: Iterable[str]) -> None:
    """Build the missing images and load those that the node does not have."""
    images = table.named(names)
    archives = build.ensure(images, cluster.report)
    for image in images:
        archive = archives[image.name]
        if _loaded(cluster).get(image.name) == archive.name:
            continue
        with progress.heartbeat(f"loading image {image.name}", cluster.report):
            cluster.load(image.reference, archive)
        _remember(cluster, image.name, archive.name)


def load_default(cluster: Cluster) -> None:
    """Load the images that every node has. If one cannot be built, the cluster starts without it."""
    for name in table.DEFAULT:
        try:
            load(cluster, [name])
        except ClusterError as error:
            if name == "pause":
                raise  # without it no Pod can run
            cluster.report(f"image {name} is not on the node: {error}")


def _loaded(cluster: Cluster) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((cluster.directory.root / "images.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def _remember(cluster: Cluster, name: str, archive: str) -> None:
    text = json.dumps({**_loaded(cluster), name: archive}, indent=1)
    write_atomically(cluster.directory.root / "images.json", text + "\n")
