"""Unit and API server tests of the provider on every Airflow version that it supports, two versions at a time.

What can differ between versions is Airflow: its imports, its task runner, its serialisation, its triggers. So each
test runs where it can find something:

- all units on the oldest and the newest version of Airflow 2 and of Airflow 3; on those between, all but the units of
  modules that do not import Airflow (`WITHOUT_AIRFLOW`);
- on every version, one operator and one trigger against the API server; the whole of the operator's tests on the
  newest version of either, where a whole Airflow runs as well (tests/airflow/real);
- what has no part of Airflow in it (client, credentials, watch, logs against the API server) once.

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
UNITS = "tests/airflow/unit"
WITHOUT_AIRFLOW = {
    "api_errors": "hooks.api_errors",
    "client": "hooks.podtask",
    "converters": "utils.converters",
    "log_formatting": "utils.log_formatting",
    "manifest": "utils.manifest",
    "pod_logs": "utils.pod_logs",
    "pod_template": "utils.pod_template",
    "redact": "utils.redact",
    "reflector": "utils.reflector",
    "secret": "secret",
}
"""Unit tests of modules that do not import Airflow (tests/contract/test_matrix.py), with the module. They find on one
version what they find on all, because Python and the kubernetes package are the same."""
OPERATOR = "tests/airflow/apiserver/test_operator.py"
ONE_OF_EACH = (f"{OPERATOR}::test_result_logs_and_xcoms", f"{OPERATOR}::test_deferred")
EVERYTHING = ("tests/airflow/apiserver",)
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

    def skipped(self) -> list[str]:
        """What was skipped, and why."""
        return [line for line in self.said.splitlines() if line.startswith("SKIPPED")]


def run(environment: Environment, kubeconfig: Path, wanted: Sequence[str], arguments: Sequence[str]) -> Ran:
    """Run one version's tests."""
    begun = time.monotonic()
    told = {
        "PYTHONPATH": str(ROOT / "hack"),
        "PODTASK_TEST_KUBECONFIG": str(kubeconfig),
        "PODTASK_TEST_KUBELET": "1",
        "PODTASK_TEST_OWN_CLUSTER": STOPPED_CLUSTER,
    }
    # No cache: two versions run at once, in one folder.
    command = [sys.executable, "-m", "airflows", "pytest", environment.name, "--", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *wanted, *arguments],
        env={**os.environ, **told},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(environment, done.returncode, done.stdout + done.stderr, time.monotonic() - begun)


def tests_of(environment: Environment) -> tuple[str, ...]:
    """Give the tests of a version; the module's docstring has the reasons."""
    generations = [[e.name for e in versions.supported() if e.name.startswith(major)] for major in ("2.", "3.")]
    numbers = [sorted(names, key=lambda name: [int(part) for part in name.split(".")]) for names in generations]
    units: tuple[str, ...] = (UNITS,)
    if not any(environment.name in (names[0], names[-1]) for names in numbers):
        units = (UNITS, *(f"--ignore={ROOT}/{UNITS}/test_{name}.py" for name in WITHOUT_AIRFLOW))
    if environment.name == numbers[-1][-1]:
        return (*units, *EVERYTHING)
    return (*units, *((OPERATOR,) if environment.depth is versions.Depth.FULL else ONE_OF_EACH))


def run_versions(wanted: Sequence[Environment], arguments: Sequence[str]) -> list[Ran]:
    """Run every version's tests, on one cluster."""
    cluster = up(CLUSTER, Form.NODE)
    crd.install(cluster)

    def one(environment: Environment) -> Ran:
        ran = run(environment, cluster.kubeconfig, tests_of(environment), arguments)
        print(ran.line(), flush=True)
        return ran

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
    for line in sorted({line for one in ran for line in one.skipped()}):
        print(line)
    print(*(one.line() for one in ran), sep="\n")
    return int(any(one.code for one in ran))


if __name__ == "__main__":
    sys.exit(main())
