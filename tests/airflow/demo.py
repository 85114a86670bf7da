"""The last act of `make demo`: the guide's XCom example on a real Airflow, as a user would run it.

python -m tests.airflow.demo CLUSTER
"""

import sys
import tempfile
from pathlib import Path

from airflows import environments, versions
from cluster import get
from tests.harness.airflow import Airflow
from tests.harness.airflow.settings import connection
from tests.harness.controller import ROOT

DAG_ID = "extract_transform_load_deferrable"
VERSION = next(e.name for e in versions.ENVIRONMENTS if e.depth is versions.Depth.FULL)


def main() -> int:
    """Run it in a cluster whose controller runs; print states, the container's log and the results."""
    cluster = get(sys.argv[1])
    environments.ensure(versions.find(VERSION))
    with tempfile.TemporaryDirectory(prefix="podtask-demo-") as directory:
        dags = {ROOT / "examples/dags/extract_transform_load.py": [DAG_ID]}
        variables = {"AIRFLOW_CONN_KUBERNETES_DEFAULT": connection(cluster.kubeconfig)}
        print(f"Airflow {VERSION} is starting: api-server, scheduler, dag-processor, triggerer", flush=True)
        with Airflow(VERSION, Path(directory) / "home", dags=dags, environment=variables) as airflow:
            return show(airflow)


def show(airflow: Airflow) -> int:
    """Run the DAG."""
    api = airflow.api
    run = api.run_to_end(DAG_ID)
    print(f"DAG {DAG_ID}: {run.state}")
    for task in sorted(api.tasks(DAG_ID, run.run_id), key=lambda task: str(task["start_date"])):
        print(f"  {task['task_id']:10} {task['state']}")
    log = api.log(DAG_ID, run.run_id, "transform", 1)
    said = [line.partition(" {")[0] for line in log.splitlines() if "[base]" in line]
    print("transform's log:", *said, sep="\n  ")
    if run.state != "success":
        return 1
    data, value = api.xcom(DAG_ID, run.run_id, "extract"), api.xcom(DAG_ID, run.run_id, "transform")
    print(f"XCom of extract: {data}\nXCom of transform, from its Pod: {value}")
    return 0 if value == {"return_value": str(23 * data)} else 1


if __name__ == "__main__":
    sys.exit(main())
