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
    unseen = {"metadata": {"generation": 1}, "status": {"phase": "Pending"}}
    assert health(lua, unseen) == ("Progressing", "waiting for the controller")


def test_a_change_that_nobody_has_seen_progresses_unless_all_is_over(lua: str) -> None:
    def judged(phase: str) -> str:
        return health(lua, {"metadata": {"generation": 2}, "status": {"phase": phase, "observedGeneration": 1}})[0]

    assert judged("Suspended") == "Progressing"
    assert judged("Failed") == "Degraded"
    assert judged("Succeeded") == "Healthy"


@pytest.mark.xdist_group("chart")
@pytest.mark.node
@pytest.mark.usefixtures("crd_alone")
def test_helm_waits_for_the_controllers_notice_and_not_for_the_task(
    cluster: Cluster, namespace: Namespace, tmp_path: Path
) -> None:
    """Shown without a controller: the test writes the status itself, so that nothing is a matter of time."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: one-task, version: 0.0.1}")
    task = ROOT / "examples/multiply.yaml"
    (tmp_path / "templates/task.yaml").write_text(task.read_text())
    where = ("-n", namespace.name)

    def wait(seconds: int = HANG_SECONDS) -> int:
        words = ("upgrade", "--install", "one", str(tmp_path), *where, "--wait", f"--timeout={seconds}s")
        return attempt(*words, kubeconfig=cluster.kubeconfig).returncode

    def write(**status: Any) -> None:
        patch = json.dumps({"status": status})
        cluster.kubectl("patch", "podtask", "multiply", *where, "--subresource=status", "--type=merge", "-p", patch)

    assert wait() == 0, "without observedGeneration there is nothing to wait for"
    write(observedGeneration=0)
    assert wait(3) != 0, "the controller has not seen this generation"
    write(observedGeneration=1, phase="Running")
    assert wait() == 0, "seen, and that is all that kstatus asks"
