"""README.md and the pages of "Getting started", followed command by command on a fresh installation.

The images of the examples (`busybox`, `python`) come from a registry that no test reaches. The node has an image of
its own under their names.
"""

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from cluster import Cluster, binary
from cluster.images import build, table
from tests.chart import release
from tests.chart.rendered import OUR_OWN
from tests.harness import HANG, HANG_SECONDS, guide
from tests.harness.controller import ROOT

pytestmark = [pytest.mark.xdist_group("chart"), pytest.mark.node, pytest.mark.timeout(900)]

STARTED = "docs/getting-started"
GUIDES = ["README.md", *sorted(f"{STARTED}/{page.name}" for page in (ROOT / STARTED).glob("*.md"))]
PUBLIC_IMAGES = ("docker.io/library/busybox:1.36", "docker.io/library/python:3.13-slim")
NEEDS_A_RELEASE = {f"{STARTED}/airflow.md"}
"""Pages that go on where another one ends: the controller is installed before they begin."""
CRD = "podtasks.podtask.dev"


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def renamed(archive: Path, reference: str, target: Path) -> Path:
    """Copy an image archive; the copy gives the image another name."""
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


@pytest.fixture(scope="session")
def public_images(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The node has an image under the name of each public one."""
    (archive,) = build.ensure([table.IMAGES["python"]], print).values()
    folder = tmp_path_factory.mktemp("images")
    for number, reference in enumerate(PUBLIC_IMAGES):
        cluster.load(reference, renamed(archive, reference, folder / f"{number}.tar"))


@pytest.fixture
def environment(cluster: Cluster, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A shell's environment with kubectl and helm, and an empty cluster before and after."""
    for name in ("kubectl", "helm"):
        (tmp_path / name).symlink_to(binary(name))
    kept = {name: value for name, value in os.environ.items() if name not in OUR_OWN}
    kept["KUBECONFIG"] = shutil.copy(cluster.kubeconfig, tmp_path / "kubeconfig")
    yield kept | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    if cluster.kubectl("get", "crd", CRD, "--ignore-not-found"):
        cluster.kubectl("delete", "podtasks", "--all", "-n", "default", HANG)
    release.uninstall(cluster)
    cluster.kubectl("delete", "crd", CRD, "--ignore-not-found", HANG)


@pytest.mark.usefixtures("public_images")
@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_holds(name: str, cluster: Cluster, environment: dict[str, str]) -> None:
    if name in NEEDS_A_RELEASE:
        release.install(cluster)
    guide.run(text_of(name), ROOT, environment, HANG_SECONDS)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(step, id=f"{name}:{step.line}", marks=pytest.mark.skip(f"{name}:{step.line}: {step.reason}"))
        for name in GUIDES
        for step in guide.commands(text_of(name))
        if isinstance(step, guide.LeftOut)
    ],
)
def test_a_block_is_run(block: guide.LeftOut) -> None:
    """Skipped, so that the summary of the run lists every block that no test runs, and why."""
    raise AssertionError(block)
