"""`python -m bench.kubelet`: run tests/node/test_latency.py (one short task on a real kubelet), keep its figures."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

from cluster import down

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "build/bench/kubelet.json"
CLUSTER = "bench-kubelet"
TEST = "tests/node/test_latency.py"


def read(report: Path) -> dict[str, dict[str, float]]:
    """Return the properties that the tests recorded, by the parameter of the test."""
    found = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by our own pytest
        facts = {p.get("name", ""): float(p.get("value", "")) for p in case.iter("property")}
        found[case.get("name", "").partition("[")[2].rstrip("]")] = facts
    return found


def main() -> int:
    """Run the tests and write their figures; return the exit code."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            TEST,
            "-q",
            "-s",
            "-o",
            "junit_family=xunit1",
            f"--junitxml={report}",
        ]
        environment = {**os.environ, "PODTASK_TEST_CLUSTER": CLUSTER}
        try:
            code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        finally:
            down(CLUSTER)
        if code == 0:
            FIGURES.parent.mkdir(parents=True, exist_ok=True)
            FIGURES.write_text(json.dumps(read(report), indent=1) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
