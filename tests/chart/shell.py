"""What a reader of the pages has: a shell with kubectl and helm, and images under the names of the public ones.

The images of the examples (`busybox`, `python`) come from a registry that no test reaches. The node has an image of
its own under their names.
"""

import json
import os
import shutil
import tarfile
from io import BytesIO
from pathlib import Path

from cluster import Cluster, binary
from cluster.images import build, table
from tests.chart.rendered import OUR_OWN

PUBLIC_IMAGES = ("docker.io/library/busybox:1.36", "docker.io/library/python:3.13-slim")


def environment(cluster: Cluster, folder: Path) -> dict[str, str]:
    """Return a shell's environment with kubectl, helm and the cluster's kubeconfig, all in `folder`."""
    for name in ("kubectl", "helm"):
        (folder / name).symlink_to(binary(name))
    kept = {name: value for name, value in os.environ.items() if name not in OUR_OWN}
    kept["KUBECONFIG"] = shutil.copy(cluster.kubeconfig, folder / "kubeconfig")
    return kept | {"PATH": f"{folder}:{os.environ['PATH']}"}


def load_public_images(cluster: Cluster, folder: Path) -> None:
    """Give the node an image under the name of each public one; `folder` holds their archives meanwhile."""
    (archive,) = build.ensure([table.IMAGES["python"]], print).values()
    for number, reference in enumerate(PUBLIC_IMAGES):
        cluster.load(reference, _renamed(archive, reference, folder / f"{number}.tar"))


def _renamed(archive: Path, reference: str, target: Path) -> Path:
    with tarfile.open(archive) as old, tarfile.open(target, "w") as new:
        for member in old:
            content = old.extractfile(member)
            if member.name == "manifest.json":
                assert content is not None
                text = json.dumps([one | {"RepoTags": [reference]} for one in json.load(content)]).encode()
                member.size, content = len(text), BytesIO(text)
            if member.name != "repositories":
                new.addfile(member, content)
    return target
