"""How many requests one task costs the API server: ours against the original, the same DAG in the same cluster.

The API server counts requests but not who made them. So the same containers are first run without Airflow (PodTasks for
ours, plain Pods for the original); what more the run with Airflow takes is Airflow's.

python -m tests.airflow.requests_per_task --tasks 20
"""

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
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


def without_airflow(cluster: Cluster, operator: str, tasks: int) -> Counts:
    """What the containers cost by themselves."""
    namespace, recorder = _namespace(cluster)
    before = requests(cluster)
    if operator == "ours":
        for number in range(tasks):
            namespace.create(f"alone-{number}", image=PYTHON, command=["sh", "-c"], args=[_script(number)], xcom={})
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


def with_airflow(cluster: Cluster, airflow: Airflow, mode: str, tasks: int) -> Counts:
    """What they cost when Airflow runs them."""
    namespace, recorder = _namespace(cluster)
    before = requests(cluster)
    run = airflow.api.run_to_end(f"{mode}_mapped", seconds=900, namespace=namespace.name, script=SCRIPT, count=tasks)
    assert run.state == "success", run
    assert len(recorder.pods) == tasks, recorder.story()
    recorder.stop()
    return requests(cluster) - before


def measure(cluster: Cluster, operator: str, modes: list[str], tasks: int) -> dict[str, Counts]:
    """Airflow's own requests, for each mode."""
    environment = versions.find(ENVIRONMENTS[operator])
    environments.ensure(environment)
    variables = {
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": connection(cluster.kubeconfig),
        "PODTASK_TEST_OPERATOR": operator,
    }
    home = Path(tempfile.mkdtemp(prefix="podtask-requests-")) / "home"
    dags = {DAGS: [f"{mode}_mapped" for mode in modes]}
    with (
        Controller(cluster.kubeconfig, "--pod-hold-seconds=10"),
        Airflow(environment.name, home, dags=dags, environment=variables) as airflow,
    ):
        alone = without_airflow(cluster, operator, tasks)
        return {mode: with_airflow(cluster, airflow, mode, tasks) - alone for mode in modes}


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
    parser.add_argument("--mode", nargs="+", default=["sync", "deferrable"])
    parser.add_argument("--operator", nargs="+", choices=list(ENVIRONMENTS), default=list(ENVIRONMENTS))
    given = parser.parse_args()
    cluster = up(given.cluster, Form.NODE)
    crd.install(cluster)
    totals = {}
    for operator in given.operator:
        for mode, counts in measure(cluster, operator, given.mode, given.tasks).items():
            print(report(f"{operator}, {mode}", counts, given.tasks), flush=True)
            totals[f"{operator}, {mode}"] = round(counts.total() / given.tasks, 2)
    print(json.dumps(totals))
    return 0


if __name__ == "__main__":
    sys.exit(main())
