"""Our CRD on a cluster."""

import pytest

from cluster import Cluster, Form, up
from tests.harness import HANG, shared
from tests.harness.controller import ROOT

NAMED = "--for=jsonpath={.status.acceptedNames.kind}=PodTask"
"""A wait for a condition of a new CRD without conditions fails at once; this wait does not."""
ESTABLISHED = "--for=condition=Established"


def api_server(name: str, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Return the light cluster of this name with our CRD, brought up once for all workers of a run."""
    directory = shared.shared_directory(pytestconfig, tmp_path_factory)
    with shared.exclusively(directory, name) as note:
        found = up(name, Form.LIGHT)
        if shared.read_note(note) is None:
            install(found)
            note.write_text("{}")
    return found


def install(cluster: Cluster) -> None:
    """Apply the CRD and wait until it is served."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds/podtask.dev_podtasks.yaml"))
    for state in (NAMED, ESTABLISHED):
        cluster.kubectl("wait", state, "crd/podtasks.podtask.dev", HANG)
