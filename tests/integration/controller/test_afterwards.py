"""Writes to a finished task, of which the cache has neither the result nor the texts."""

from pathlib import Path

import pytest

from tests.harness.controller import Controller
from tests.harness.tasks import Namespace, Object
from tests.integration.controller.kubelet import Kubelet, by_attempt

pytestmark = pytest.mark.apiserver

RESULT = '{"rows": 3}'


def _is_seen(task: Object) -> bool:
    return bool(task["status"]["observedGeneration"] == task["metadata"]["generation"])


@pytest.mark.parametrize("is_restarted", [False, True], ids=["from its own write", "from a list"])
def test_an_edit_of_the_ttl_keeps_result_and_texts(namespace: Namespace, kubeconfig: Path, is_restarted: bool) -> None:
    with (
        Kubelet(kubeconfig, namespace.name, by_attempt(7, 0), RESULT),
        Controller(kubeconfig, f"--namespace={namespace.name}") as controller,
    ):
        failed = namespace.run("failed", image="i")
        assert failed["attempts"][0]["logTail"] == RESULT
        retries = {"backoffLimit": 1, "backoff": {"initialSeconds": 1}}
        done = namespace.run("done", image="i", xcom={"maxBytes": 2_000}, **retries)
        assert done["xcom"]["value"] == RESULT
        if is_restarted:
            controller.kill()
            controller.start()
        for name, before in (("failed", failed), ("done", done)):
            namespace.patch(name, ttlSecondsAfterFinished=5_000)
            after = namespace.wait(name, lambda task: task["metadata"]["generation"] == 2 and _is_seen(task))
            seen = [condition | {"observedGeneration": 2} for condition in before["conditions"]]
            assert after["status"] == before | {"observedGeneration": 2, "conditions": seen}
