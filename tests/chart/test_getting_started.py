"""README.md and the pages of "Getting started", followed command by command on a fresh installation."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import Cluster
from tests.chart import release, shell
from tests.harness import HANG, HANG_SECONDS, guide
from tests.harness.controller import ROOT

pytestmark = [pytest.mark.xdist_group("chart"), pytest.mark.node, pytest.mark.timeout(900)]

STARTED = "docs/getting-started"
GUIDES = ["README.md", *sorted(f"{STARTED}/{page.name}" for page in (ROOT / STARTED).glob("*.md"))]
NEEDS_A_RELEASE = {f"{STARTED}/airflow.md"}
"""Pages that go on where another one ends: the controller is installed before they begin."""
CRD = "podtasks.podtask.dev"


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def public_images(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The node has an image under the name of each public one."""
    shell.load_public_images(cluster, tmp_path_factory.mktemp("images"))


@pytest.fixture
def environment(cluster: Cluster, tmp_path: Path) -> Iterator[dict[str, str]]:
    """An empty cluster before and after."""
    yield shell.environment(cluster, tmp_path)
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
