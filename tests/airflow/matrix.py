"""Unit and API server tests of the provider on every Airflow version that it supports, two versions at a time.

A version that is tested in full runs all of them here, the others all units, and one operator and one trigger against
the API server: what differs between versions is Airflow, and that is what these meet.

python -m tests.airflow.matrix [VERSION …] [-- ARGUMENTS OF PYTEST]
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from airflows import environments, versions
from airflows.versions import Environment
from cluster import Form, down, up
from tests.harness import crd
from tests.harness.controller import ROOT, Controller

CLUSTER = "airflow-api"
PARALLEL = 2
ONE_OF_EACH = (
    "tests/airflow/unit",
    "tests/airflow/apiserver/test_operator.py::test_result_logs_and_xcoms",
    "tests/airflow/apiserver/test_operator.py::test_deferred",
)
ALL = ("tests/airflow/unit", "tests/airflow/apiserver")
STOPPED_CLUSTER = "airflow-stop"
STOPPED_VERSION = "3.3.2"
STOPPED = ("tests/airflow/outage",)
"""What stops an API server has one of its own, and runs once: no version of Airflow has a part in it."""
SUMMARY = re.compile(r"^=+ (.*) in [\d.]+s.*=+$|^(\d+ (?:passed|failed|error).*) in [\d.]+s", re.MULTILINE)


@dataclass
class Ran:
    """One version's tests."""

    environment: Environment
    code: int
    said: str
    seconds: float

    def line(self) -> str:
        """Its line of the table."""
        found = SUMMARY.search(self.said)
        summary = next(filter(None, found.groups())) if found else "no summary"
        return f"Airflow {self.environment.name:8} {summary} ({self.seconds:.0f} s)"


def run(environment: Environment, kubeconfig: Path, wanted: Sequence[str], arguments: Sequence[str]) -> Ran:
    """Run one version's tests."""
    begun = time.monotonic()
    told = {
        "PYTHONPATH": str(ROOT / "hack"),
        "PODTASK_TEST_KUBECONFIG": str(kubeconfig),
        "PODTASK_TEST_KUBELET": "1",
        "PODTASK_TEST_OWN_CLUSTER": STOPPED_CLUSTER,
    }
    cache = ("-o", f"cache_dir={ROOT / '.pytest_cache' / environment.name}")

    def play(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "airflows", "pytest", environment.name, "--", "-q"]
        return subprocess.run(
            [*command, *cache, *wanted, *arguments, *more],
            env={**os.environ, **told},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    done = play()
    said = done.stdout + done.stderr
    if done.returncode == 1:  # as in hack/twice: tests failed, and these have clocks in them
        print(f"!!! Airflow {environment.name}: the tests that failed are run once more\n{said}")
        done = play("--last-failed", "--last-failed-no-failures=none")
        said = done.stdout + done.stderr
    return Ran(environment, done.returncode, said, time.monotonic() - begun)


def run_versions(wanted: Sequence[Environment], arguments: Sequence[str]) -> list[Ran]:
    """Run every version's tests, on one cluster."""
    cluster = up(CLUSTER, Form.NODE)
    crd.install(cluster)

    def one(environment: Environment) -> Ran:
        tests = ALL if environment.depth is versions.Depth.FULL else ONE_OF_EACH
        return run(environment, cluster.kubeconfig, tests, arguments)

    with Controller(cluster.kubeconfig, "--pod-hold-seconds=10", without="hold"), ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(one, wanted))


def run_stopped() -> Ran:
    """Run the test that stops its API server."""
    cluster = up(STOPPED_CLUSTER, Form.LIGHT)
    try:
        crd.install(cluster)
        return run(versions.find(STOPPED_VERSION), cluster.kubeconfig, STOPPED, ())
    finally:
        down(STOPPED_CLUSTER)


def main() -> int:
    """Run all, show what failed, and say which versions ran."""
    words = sys.argv[1:]
    at = words.index("--") if "--" in words else len(words)
    names, arguments = words[:at], words[at + 1 :]
    wanted = [versions.find(name) for name in names] or versions.supported()
    environments.build(wanted)
    ran = run_versions(wanted, arguments)
    if not arguments and any(environment.name == STOPPED_VERSION for environment in wanted):
        ran.append(run_stopped())
    for one in ran:
        if one.code:
            print(f"=== Airflow {one.environment.name}\n{one.said}")
    print(*(one.line() for one in ran), sep="\n")
    return int(any(one.code for one in ran))


if __name__ == "__main__":
    sys.exit(main())
