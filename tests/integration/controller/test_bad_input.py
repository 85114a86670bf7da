"""Invalid input ends with a clear reason, not in a loop or a crash."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faultproxy.proxy import FaultProxy
from tests.harness.controller import Controller
from tests.harness.tasks import Namespace

pytestmark = pytest.mark.apiserver

DUPLICATE_PORTS = {"spec": {"containers": [{"name": "base", "image": "i", "ports": [{"name": "a"}, {"name": "a"}]}]}}

CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a misspelt field of a container": (
        {"template": {"spec": {"containers": [{"name": "base", "image": "i", "comand": ["true"]}]}}},
        "InvalidPodTemplate",
        "comand",
    ),
    "a misspelt field of the Pod": (
        {"image": "i", "template": {"spec": {"nodeSelektor": {"a": "b"}}}},
        "InvalidPodTemplate",
        "nodeSelektor",
    ),
    "a port without a number": ({"template": DUPLICATE_PORTS}, "InvalidPodTemplate", "containerPort"),
    "a volume that is not there": (
        {"image": "i", "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        "InvalidPodTemplate",
        "data",
    ),
    "env that is not a list": (
        {"image": "i", "template": {"spec": {"containers": [{"name": "base", "env": "A=1"}]}}},
        "InvalidPodTemplate",
        "env",
    ),
    "limits below requests": (
        {"image": "i", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
        "InvalidPodTemplate",
        "cpu",
    ),
}


@pytest.fixture
def proxy(namespace: Namespace, kubeconfig: Path, tmp_path: Path) -> Iterator[FaultProxy]:
    """A controller of this namespace alone, and every request that it makes."""
    with (
        FaultProxy(kubeconfig) as proxy,
        Controller(proxy.kubeconfig(tmp_path / "kubeconfig"), f"--namespace={namespace.name}"),
    ):
        yield proxy


def test_bad_input_fails_once_with_a_reason(namespace: Namespace, proxy: FaultProxy) -> None:
    for index, (spec, _, _) in enumerate(CASES.values()):
        namespace.create(f"bad-{index}", backoffLimit=3, **spec)
    for index, (sentence, (_, reason, word)) in enumerate(CASES.items()):
        status = namespace.wait_finished(f"bad-{index}")
        assert (status["phase"], status["reason"]) == ("Failed", reason), sentence
        assert word in status["message"], sentence
        assert "attempts" not in status, sentence
    creates = [seen for seen in proxy.seen if seen.method == "POST" and seen.path.endswith("/pods")]
    assert len(creates) <= len(CASES), "a refused Pod is not tried again"
