"""The Argo CD health check of docs/operate/gitops.md, run by Lua; and what helm's kstatus makes of a task."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cluster import Cluster, packages
from podtask.api.v1alpha1.values import Phase
from tests.chart.rendered import attempt
from tests.harness import HANG_SECONDS
from tests.harness.controller import ROOT
from tests.harness.tasks import Namespace

WANTED = {
    "Pending": "Progressing",
    "Running": "Progressing",
    "Suspended": "Suspended",
    "Succeeded": "Healthy",
    "Skipped": "Healthy",
    "Failed": "Degraded",
    "Cancelled": "Degraded",
}


@pytest.fixture(scope="session")
def lua() -> str:
    packages.ensure({"lua5.4": "lua5.4"}, print)
    return "lua5.4"


def literal(value: Any) -> str:
    """Write a value of JSON in Lua."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{json.dumps(key)}] = {literal(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def health(lua: str, task: dict[str, Any]) -> tuple[str, str]:
    (snippet,) = re.findall(r"```lua\n(.*?)```", (ROOT / "docs/operate/gitops.md").read_text(), re.DOTALL)
    program = f"local obj = {literal(task)}\nlocal function judge()\n{snippet}\nend\n"
    program += 'local got = judge()\nio.write(got.status, "\\n", got.message)\n'
    done = subprocess.run([lua, "-"], input=program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    status, _, message = done.stdout.partition("\n")
    return status, message


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_its_health(lua: str, phase: Phase) -> None:
    status = {"phase": phase.value, "observedGeneration": 1, "reason": "Because", "message": "it is so"}
    assert health(lua, {"metadata": {"generation": 1}, "status": status}) == (WANTED[phase], "Because: it is so")


def test_a_new_task_progresses(lua: str) -> None:
    assert health(lua, {"metadata": {"generation": 1}}) == ("Progressing", "waiting for the controller")
    unseen = {"metadata": {"generation": 1}, "status": {"phase": "Pending", "observedGeneration": 0}}
    assert health(lua, unseen) == ("Progressing", "waiting for the controller")


def test_an_unobserved_change_is_progressing_unless_the_task_is_finished(lua: str) -> None:
    def judged(phase: str) -> str:
        return health(lua, {"metadata": {"generation": 2}, "status": {"phase": phase, "observedGeneration": 1}})[0]

    assert judged("Suspended") == "Progressing"
    assert judged("Failed") == "Degraded"
    assert judged("Succeeded") == "Healthy"


class Release:
    """A chart of one PodTask, without a controller: the test writes the status itself, so no time decides."""

    def __init__(self, cluster: Cluster, namespace: Namespace, path: Path) -> None:
        self._cluster, self._path, self._where = cluster, path, ("-n", namespace.name)
        (path / "templates").mkdir()
        (path / "Chart.yaml").write_text("{apiVersion: v2, name: one-task, version: 0.0.1}")
        (path / "templates/task.yaml").write_text((ROOT / "examples/multiply.yaml").read_text())

    def wait(self, seconds: int = HANG_SECONDS) -> str:
        """Run `helm upgrade --install --wait`, and give its error, or nothing."""
        words = ("upgrade", "--install", "one", str(self._path), *self._where, "--wait", f"--timeout={seconds}s")
        done = attempt(*words, kubeconfig=self._cluster.kubeconfig)
        assert bool(done.returncode) is bool(done.stderr.strip()), done.stderr
        return done.stderr

    def write(self, phase: str, **conditions: str) -> None:
        common = {"reason": "Because", "message": "it is so", "lastTransitionTime": "2026-01-02T03:04:05Z"}
        written = [
            {"type": kind, "status": status, "observedGeneration": 1, **common} for kind, status in conditions.items()
        ]
        patch = json.dumps({"status": {"phase": phase, "observedGeneration": 1, "conditions": written}})
        words = ("patch", "podtask", "multiply", *self._where, "--subresource=status", "--type=merge", "-p", patch)
        self._cluster.kubectl(*words)


@pytest.fixture
def release(cluster: Cluster, namespace: Namespace, tmp_path: Path) -> Release:
    return Release(cluster, namespace, tmp_path)


TIMEOUT = "context deadline exceeded"


@pytest.mark.xdist_group("chart")
@pytest.mark.node
@pytest.mark.usefixtures("crd_alone")
def test_helm_waits_for_the_end_of_a_task_and_fails_with_it(release: Release) -> None:
    assert TIMEOUT in release.wait(3), "no controller has seen it"
    release.write("Running", Reconciling="True")
    assert TIMEOUT in release.wait(3), "it runs"
    release.write("Suspended", Suspended="True")
    assert release.wait() == "", "it is suspended, as was asked for"
    release.write("Failed", Suspended="False", Finished="True", Succeeded="False", Stalled="True")
    failed = release.wait()
    assert failed
    assert TIMEOUT not in failed, "helm fails at once"


@pytest.mark.xdist_group("chart")
@pytest.mark.node
@pytest.mark.usefixtures("crd_alone")
def test_helm_returns_when_a_task_has_succeeded(release: Release) -> None:
    assert TIMEOUT in release.wait(3)
    release.write("Succeeded", Finished="True", Succeeded="True")
    assert release.wait() == ""
