"""Unit and API server tests of the provider on every Airflow version that it supports, two versions at a time.

A version that is tested in full runs all of them here, the others all units, and one operator and one trigger against
the API server: what differs between versions is Airflow, and that is what these meet.

python -m tests.airflow.matrix [VERSION …] [-- ARGUMENTS OF PYTEST]
"""

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from airflows import environments, versions
from airflows.versions import Environment
from cluster import Form, up
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


def run(environment: Environment, kubeconfig: str, arguments: list[str]) -> Ran:
    """Run one version's tests."""
    begun = time.monotonic()
    wanted = ALL if environment.depth is versions.Depth.FULL else ONE_OF_EACH
    told = {"PYTHONPATH": str(ROOT / "hack"), "PODTASK_TEST_KUBECONFIG": kubeconfig, "PODTASK_TEST_KUBELET": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "airflows", "pytest", environment.name, "--", "-q", *wanted, *arguments],
        env={**os.environ, **told},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(environment, done.returncode, done.stdout + done.stderr, time.monotonic() - begun)


def main() -> int:
    """Run all, show what failed, and say which versions ran."""
    parser = argparse.ArgumentParser(prog="python -m tests.airflow.matrix")
    parser.add_argument("names", nargs="*")
    given, more = parser.parse_known_args()
    wanted = [versions.find(name) for name in given.names] or versions.supported()
    environments.build(wanted)
    cluster = up(CLUSTER, Form.NODE)
    crd.install(cluster)
    arguments = [word for word in more if word != "--"]
    with Controller(cluster.kubeconfig, "--pod-hold-seconds=10"), ThreadPoolExecutor(PARALLEL) as pool:
        ran = list(pool.map(lambda environment: run(environment, str(cluster.kubeconfig), arguments), wanted))
    for one in ran:
        if one.code:
            print(f"=== Airflow {one.environment.name}\n{one.said}")
    print(*(one.line() for one in ran), sep="\n")
    return int(any(one.code for one in ran))


if __name__ == "__main__":
    sys.exit(main())
