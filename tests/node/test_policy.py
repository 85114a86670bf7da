"""The platform's policy on a real kubelet: slots pass from Pod to Pod, and default deadlines stop tasks.

A cluster of its own, because the shared controller has no policy and would do the work.
"""

from collections.abc import Iterator

import pytest

from cluster import Cluster, Form, up
from tests.harness import crd, story
from tests.harness.controller import Controller
from tests.harness.programs import POLITE, shell
from tests.harness.tasks import Namespace

pytestmark = pytest.mark.xdist_group("nodes")

FLAGS = (
    "--policy-image-prefixes=localhost/podtask",
    "--policy-host-access=false",
    "--policy-max-run-seconds=3",
    "--policy-max-running-pods=1",
)


@pytest.fixture
def ruled() -> Iterator[Namespace]:
    cluster: Cluster = up("podtask-tests-policy", Form.NODE)
    crd.install(cluster)
    namespace = Namespace(cluster.kubeconfig)
    namespace.wait_service_account()
    namespace.wait_root_certificate()
    with Controller(cluster.kubeconfig, f"--namespace={namespace.name}", *FLAGS):
        yield namespace
    namespace.close()
    cluster.down()


def test_the_platforms_rules_hold_on_a_real_node(ruled: Namespace) -> None:
    refused = ruled.run("refused", **shell("true", volumes=[{"name": "root", "hostPath": {"path": "/"}}]))
    story.check(refused, "Failed", "PolicyDenied")
    assert "volume root may not be a hostPath" in refused["message"]
    # The first sets no deadline and runs on and on; the others get its place when the platform's deadline ends it.
    ruled.create("task-1", **shell(POLITE))
    ruled.create("task-2", **shell("true", xcom={}))
    ruled.create("task-3", **shell("true"))
    endless = ruled.wait_finished("task-1")
    assert (endless["phase"], endless["reason"]) == ("Failed", "RunDeadlineExceeded")
    ends = [story.time(endless["attempts"][0]["completionTime"])]
    for name in ("task-2", "task-3"):
        status = ruled.wait_finished(name)
        story.check(status, "Succeeded", "Completed", story.SUCCESS)
        (attempt,) = status["attempts"]
        assert story.time(attempt["creationTime"]) >= ends[-1], "one Pod after the other"
        ends.append(story.time(attempt["completionTime"]))
