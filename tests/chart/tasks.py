"""Tasks that the chart's tests run, and the controllers that run them."""

import json
from typing import Any

from cluster import Cluster
from tests.chart.rendered import NAMESPACE

PYTHON = "localhost/podtask/python:dev"
NOISE = "import os; open('/airflow/xcom/return.json', 'w').write('\"' + os.urandom(9000).hex() + '\"')"
"""A result that no compression brings into a termination message, so that a log has to be read."""


def python(text: str) -> dict[str, Any]:
    return {"image": PYTHON, "command": ["python3", "-c", text]}


def sleep(seconds: float, result: str = "") -> dict[str, Any]:
    text = f"import time; time.sleep({seconds}); open('/airflow/xcom/return.json', 'w').write('{result or 1}')"
    return {**python(text), "xcom": {"required": True}}


def controllers(cluster: Cluster) -> list[dict[str, Any]]:
    selector = "app.kubernetes.io/component=controller"
    listed = json.loads(cluster.kubectl("get", "pods", "-n", NAMESPACE, "-l", selector, "-o", "json"))
    items: list[dict[str, Any]] = listed["items"]
    return items
