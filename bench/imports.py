"""`python -m bench.imports`: CPU time to import each operator, on top of what every DAG file imports anyway.

Runs alternate, each in a process of its own, in the Airflow environment that has both operators. The median counts.
"""

import json
import os
import subprocess
import sys
import tempfile

from airflows import environments, versions

from .figures import KPO, NEW, OURS
from .peers import ENVIRONMENT

RUNS = 5
MODULES = {
    OURS: "from podtask_airflow import PodTaskOperator",
    KPO: "from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator",
}
SCRIPT = """
import time
from airflow.sdk import DAG
before = time.process_time()
{}
print(time.process_time() - before)
"""


def main() -> int:
    """Measure, and write the figures."""
    python = str(environments.ensure(versions.find(ENVIRONMENT)) / "bin/python")
    seconds: dict[str, list[float]] = {operator: [] for operator in MODULES}
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "AIRFLOW_HOME": home, "PYTHONPATH": ""}
        for _ in range(RUNS + 1):
            for operator, statement in MODULES.items():
                command = [python, "-c", SCRIPT.format(statement)]
                output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
                seconds[operator].append(round(float(output.splitlines()[-1]), 3))
    # The first run compiles the modules to bytecode, which later runs find.
    seconds = {operator: times[1:] for operator, times in seconds.items()}
    NEW.mkdir(parents=True, exist_ok=True)
    (NEW / "imports.json").write_text(json.dumps(seconds, indent=1) + "\n")
    print(json.dumps(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
