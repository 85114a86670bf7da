"""How many requests one task costs the API server: ours against the original, the same DAG in the same cluster.

The API server counts requests but not who made them. So the same containers are first run without Airflow (PodTasks for
ours, plain Pods for the original); what more the run with Airflow takes is Airflow's. By the way it says how long one
short task takes, from its start to its end in Airflow.

python -m tests.airflow.requests_per_task --tasks 20
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from airflows import environments, versions
from cluster import Cluster, Form, up
from tests.airflow.chaos import DAGS, ENVIRONMENTS
from tests.harness import crd
from tests.harness.airflow import Airflow
from tests.harness.airflow.settings import connection
from tests.harness.controller import Controller
from tests.harness.programs import PYTHON
from tests.harness.recorder import Recorder
from tests.harness.tasks import Namespace

SCRIPT = "sleep 2; echo '{\"number\": NUMBER}' > /airflow/xcom/return.json"
RESULT = "echo '{}' > /airflow/xcom/return.json"
DAG_IDS = tuple(f"{mode}_mapped{more}" for mode in ("sync", "deferrable") for more in ("", "_without_xcom"))
SHORT_DAG_IDS = ("sync_once", "deferrable_once")
SHORT_RUNS = 5
SAMPLE = re.compile(r"apiserver_request_total\{(?P<labels>[^}]*)\} (?P<value>\S+)")
RESOURCES = {"podtasks", "pods", "events", "customresourcedefinitions", "namespaces"}

Counts = Counter[tuple[str, str]]
"""Requests by verb and resource, subresource included."""


def requests(cluster: Cluster) -> Counts:
    """What the API server has counted so far."""
    found: Counts = Counter()
    for match in SAMPLE.finditer(cluster.kubectl("get", "--raw", "/metrics")):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
        if labels["resource"] in RESOURCES:
            name = "/".join(filter(None, (labels["resource"], labels["subresource"])))
            found[labels["verb"], name] += int(float(match["value"]))
    return found


def without_airflow(cluster: Cluster, operator: str, tasks: int, *, xcom: bool) -> Counts:
    """What the containers cost by themselves."""
    namespace, recorder = _namespace(cluster)
    before = requests(cluster)
    if operator == "ours":
        for number in range(tasks):
            wanted = {"args": [_script(number)], "xcom": {}} if xcom else {"args": ["sleep 2"]}
            namespace.create(f"alone-{number}", image=PYTHON, command=["sh", "-c"], **wanted)
        recorder.until(lambda r: r.phases() == ["Succeeded"] * tasks, 300)
    else:
        for number in range(tasks):
            namespace.core.create_namespaced_pod(namespace.name, _pod(number))
        recorder.until(lambda r: sum(p["status"].get("phase") == "Succeeded" for p in r.pods.values()) == tasks, 300)
        for number in range(tasks):
            namespace.core.delete_namespaced_pod(f"alone-{number}", namespace.name)
        recorder.until(lambda r: all("deletionTimestamp" in p["metadata"] for p in r.pods.values()), 60)
    recorder.stop()
    return requests(cluster) - before - Counter({("POST", _made(operator)): tasks})


def with_airflow(cluster: Cluster, airflow: Airflow, dag_id: str, tasks: int) -> Counts:
    """What they cost when Airflow runs them."""
    namespace, recorder = _namespace(cluster)
    script = SCRIPT if _has_xcom(dag_id) else "sleep 2"
    before = requests(cluster)
    run = airflow.api.run_to_end(dag_id, seconds=900, namespace=namespace.name, script=script, count=tasks)
    assert run.state == "success", run
    assert len(recorder.pods) == tasks, recorder.story()
    recorder.stop()
    return requests(cluster) - before


def short_seconds(cluster: Cluster, airflow: Airflow, dag_id: str) -> float:
    """How long a task takes that does next to nothing, in the middle of a few runs."""
    namespace, recorder = _namespace(cluster)
    recorder.stop()
    found = []
    for _ in range(SHORT_RUNS):
        run = airflow.api.run_to_end(dag_id, namespace=namespace.name, script=RESULT)
        assert run.state == "success", run
        task = airflow.api.task(dag_id, run.run_id, "task")
        found.append(datetime.fromisoformat(task["end_date"]) - datetime.fromisoformat(task["start_date"]))
    return statistics.median(one.total_seconds() for one in found)


@dataclass(frozen=True)
class Measured:
    """One operator's figures."""

    requests: dict[str, Counts]
    seconds: dict[str, float]


def measure(cluster: Cluster, operator: str, dag_ids: list[str], tasks: int) -> Measured:
    """Airflow's own requests for each DAG, and the time of a short task."""
    environment = versions.find(ENVIRONMENTS[operator])
    environments.ensure(environment)
    variables = {
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": connection(cluster.kubeconfig, xcom_sidecar_container_image=PYTHON),
        "PODTASK_TEST_OPERATOR": operator,
    }
    home = Path(tempfile.mkdtemp(prefix="podtask-requests-")) / "home"
    with (
        Controller(cluster.kubeconfig, "--pod-hold-seconds=10"),
        Airflow(environment.name, home, dags={DAGS: [*dag_ids, *SHORT_DAG_IDS]}, environment=variables) as airflow,
    ):
        alone = {xcom: without_airflow(cluster, operator, tasks, xcom=xcom) for xcom in {*map(_has_xcom, dag_ids)}}
        counts = {i: with_airflow(cluster, airflow, i, tasks) - alone[_has_xcom(i)] for i in dag_ids}
        return Measured(counts, {dag_id: short_seconds(cluster, airflow, dag_id) for dag_id in SHORT_DAG_IDS})


def _has_xcom(dag_id: str) -> bool:
    return not dag_id.endswith("_without_xcom")


def _namespace(cluster: Cluster) -> tuple[Namespace, Recorder]:
    namespace = Namespace(cluster.kubeconfig)
    namespace.wait_service_account()
    namespace.wait_root_certificate()
    return namespace, Recorder(namespace)


def _script(number: int) -> str:
    return SCRIPT.replace("NUMBER", str(number))


def _made(operator: str) -> str:
    return "podtasks" if operator == "ours" else "pods"


def _pod(number: int) -> dict[str, Any]:
    mount = {"name": "xcom", "mountPath": "/airflow/xcom"}
    container = {"name": "base", "image": PYTHON, "command": ["sh", "-c", _script(number)], "volumeMounts": [mount]}
    spec = {"restartPolicy": "Never", "containers": [container], "volumes": [{"name": "xcom", "emptyDir": {}}]}
    return {"metadata": {"name": f"alone-{number}"}, "spec": spec}


def report(name: str, counts: Counts, tasks: int) -> str:
    """One line a kind of request, most frequent first, and their sum."""
    lines = [f"{name}: {counts.total() / tasks:.2f} requests per task"]
    lines += [f"  {count / tasks:6.2f}  {verb} {resource}" for (verb, resource), count in counts.most_common()]
    return "\n".join(lines)


def main() -> int:
    """Measure both, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.airflow.requests_per_task")
    parser.add_argument("--cluster", default="airflow-chaos")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--dag", nargs="+", choices=DAG_IDS, default=DAG_IDS)
    parser.add_argument("--operator", nargs="+", choices=list(ENVIRONMENTS), default=list(ENVIRONMENTS))
    given = parser.parse_args()
    cluster = up(given.cluster, Form.NODE)
    crd.install(cluster)
    totals = {}
    for operator in given.operator:
        measured = measure(cluster, operator, given.dag, given.tasks)
        for dag_id, counts in measured.requests.items():
            print(report(f"{operator}, {dag_id}", counts, given.tasks), flush=True)
            totals[f"{operator}, {dag_id}, requests per task"] = round(counts.total() / given.tasks, 2)
        for dag_id, seconds in measured.seconds.items():
            totals[f"{operator}, {dag_id}, seconds of a short task"] = round(seconds, 2)
    print(json.dumps(totals, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
