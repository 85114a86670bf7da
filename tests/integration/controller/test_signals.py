"""Probes, metrics and logs of a running controller; the logs contain no secrets of tasks."""

import json
import re
import urllib.request
from pathlib import Path

import pytest

from tests.harness import HANG_SECONDS, sockets
from tests.harness.controller import Controller
from tests.harness.tasks import Namespace
from tests.integration.controller.kubelet import Kubelet, always

pytestmark = pytest.mark.apiserver

CANARY = "canary-7f3a9c"
BROKEN = {
    "spec": {"containers": [{"name": "base", "image": "i", "env": [{"name": "A", "value": CANARY, "extra": CANARY}]}]}
}


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=HANG_SECONDS) as reply:
        text: str = reply.read().decode()
        return text


def test_probes_and_metrics_of_a_working_controller(namespace: Namespace, kubeconfig: Path) -> None:
    port, metrics_port = sockets.free_port(), sockets.free_port()
    ports = (f"--http-port={port}", f"--metrics-port={metrics_port}")
    flags = (f"--namespace={namespace.name}", "--http-address=127.0.0.1", *ports)
    with Kubelet(kubeconfig, namespace.name, always(3)), Controller(kubeconfig, *flags):
        namespace.run("task", image="i")
        assert _get(port, "/healthz") == "ok"
        assert _get(port, "/readyz") == "ok: leader"
        text = _get(metrics_port, "/metrics")
    values = dict(re.findall(r"^(podtask_\S+) (\S+)$", text, re.MULTILINE))
    assert values["podtask_leader"] == "1.0"
    assert values['podtask_tasks{phase="Failed",reason="NonZeroExit"}'] == "1.0"
    assert values['podtask_attempts_total{outcome="Failed",reason="NonZeroExit"}'] == "1.0"
    assert values['podtask_requests_total{code="201",resource="pods",verb="create"}'] == "1.0"
    assert values['podtask_stage_seconds_count{stage="create"}'] == "1.0"
    assert values['podtask_stage_seconds_count{stage="record"}'] == "1.0"
    assert float(values['podtask_watch_age_seconds{resource="pods"}']) < 75


def test_no_value_of_environment_or_result_is_ever_logged(namespace: Namespace, kubeconfig: Path) -> None:
    """A task with a result, and two that are refused because of their environment variables."""
    env = [{"name": "TOKEN", "value": CANARY}]
    with (
        Kubelet(kubeconfig, namespace.name, always(0), message=f'"{CANARY}"'),
        Controller(kubeconfig, f"--namespace={namespace.name}", "--log-level=DEBUG") as controller,
    ):
        done = namespace.run("good", image="i", env=env, xcom={"mode": "Direct", "maxBytes": 100})
        bad = namespace.run("bad", template=BROKEN)
        worse = namespace.run("worse", image="i", template={"spec": {"containers": [{"name": "base", "env": CANARY}]}})
        controller.terminate()  # it says what it has done before it goes
    assert done["xcom"]["value"] == f'"{CANARY}"', "the canary was there to be logged"
    assert [bad["reason"], worse["reason"]] == ["InvalidPodTemplate"] * 2
    lines = [json.loads(line) for line in controller.lines]
    assert any(line["level"] == "debug" for line in lines)
    assert not [line for line in controller.lines if CANARY in line]
    logged = [line for line in lines if line["logger"].startswith("podtask.runtime.reconciler")]
    assert {line["task"] for line in logged} == {f"{namespace.name}/{name}" for name in ("good", "bad", "worse")}
    assert all(line["uid"] for line in logged)
