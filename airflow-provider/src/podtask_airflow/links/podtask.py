"""The link on a task's page: the configured dashboard, or the kubectl command that shows the PodTask.

Airflow 3 computes the link in the worker when the task has ended, Airflow 2 in the webserver when the page is opened.
Both read the names from the task's XComs.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ..version_compat import BaseOperatorLink, conf_get, xcom_of


class PodTaskLink(BaseOperatorLink):  # type: ignore[misc]
    """Link to the PodTask, built from `[podtask] dashboard_url` with {namespace}, {name} and {pod}."""

    name = "PodTask"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        """Return the URL; an empty string where the task has created no PodTask."""
        found = {key: xcom_of(ti_key, key) for key in ("pod_namespace", "podtask_name", "pod_name")}
        if not found["podtask_name"] or not found["pod_namespace"]:
            return ""
        return address(found["pod_namespace"], found["podtask_name"], found["pod_name"] or "")


def address(namespace: str, name: str, pod: str) -> str:
    """Return the configured URL, filled in; without one a fragment (#…) that only shows the kubectl command."""
    template = conf_get("podtask", "dashboard_url")
    if template is None:
        return "#" + quote(command(namespace, name), safe=" -/")
    values = {"namespace": namespace, "name": name, "pod": pod}
    for key, value in values.items():
        template = template.replace("{" + key + "}", quote(value, safe=""))
    return template


def command(namespace: str, name: str) -> str:
    """Return the kubectl command that shows the PodTask."""
    return f"kubectl -n {namespace} describe podtask {name}"
