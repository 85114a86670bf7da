"""The button on the task's page: the configured dashboard, or the command that shows the PodTask.

Airflow 3 asks for the link in the worker when the task has ended, Airflow 2 in the webserver whenever somebody looks.
What it is made of stands in the task's XComs in both cases.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from .version_compat import BaseOperatorLink, conf_get, xcom_of


class PodTaskLink(BaseOperatorLink):  # type: ignore[misc]
    """Leads to the PodTask. `[podtask] dashboard_url` holds {namespace}, {name} and {pod}."""

    name = "PodTask"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        """Give the address."""
        found = {key: xcom_of(ti_key, key) for key in ("pod_namespace", "podtask_name", "pod_name")}
        if not found["podtask_name"] or not found["pod_namespace"]:
            return ""
        return address(found["pod_namespace"], found["podtask_name"], found["pod_name"] or "")


def address(namespace: str, name: str, pod: str) -> str:
    """Fill the configured address; without one, a fragment that leads nowhere and shows the command."""
    template = conf_get("podtask", "dashboard_url")
    if template is None:
        return "#" + quote(command(namespace, name), safe=" -/")
    values = {"namespace": namespace, "name": name, "pod": pod}
    for key, value in values.items():
        template = template.replace("{" + key + "}", quote(value, safe=""))
    return template


def command(namespace: str, name: str) -> str:
    """Give the command that tells the task's story."""
    return f"kubectl -n {namespace} describe podtask {name}"
