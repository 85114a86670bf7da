"""Puts images on a cluster's node, each content once."""

from __future__ import annotations

import json
from collections.abc import Iterable

from .. import progress
from ..errors import ClusterError
from ..handle import Cluster
from ..spec import write_atomically
from . import build, table


def load(cluster: Cluster, names: Iterable[str]) -> None:
    """Build what is not built and load what the node does not have."""
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
    """The images that a node has from the start. One that cannot be built must not keep the cluster from starting."""
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
