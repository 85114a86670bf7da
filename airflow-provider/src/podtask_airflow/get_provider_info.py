"""The entry point of the distribution for Airflow: decorators, link, options.

No connection type is registered: connections of type `kubernetes` are used, which another provider may register.
"""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the description of the provider."""
    integration = {"integration-name": "PodTask"}
    return {
        "package-name": "airflow-provider-podtask",
        "name": "PodTask",
        "description": "Containerised tasks as Kubernetes objects: a drop-in for KubernetesPodOperator.",
        "integrations": [{**integration, "tags": ["software"]}],
        "operators": [{**integration, "python-modules": ["podtask_airflow.operators.podtask"]}],
        "triggers": [{**integration, "python-modules": ["podtask_airflow.triggers.podtask"]}],
        "task-decorators": [
            {"name": "podtask", "class-name": "podtask_airflow.decorators.podtask.podtask_task"},
            {"name": "podtask_cmd", "class-name": "podtask_airflow.decorators.podtask.podtask_cmd_task"},
        ],
        "extra-links": ["podtask_airflow.links.podtask.PodTaskLink"],
        "config": {
            "podtask": {
                "description": "Defaults of PodTaskOperator. An argument of the operator overrides its option.",
                "options": _options(),
            }
        },
    }


def _options() -> dict[str, dict[str, Any]]:
    return {
        "deployment_id": _option(
            "Id of this Airflow, if several use the same namespace of a cluster.", "string", None, "prod-eu"
        ),
        "ttl_seconds_after_succeeded": _option(
            "Seconds for which a PodTask that succeeded is kept, so that a later try can use its result.",
            "integer",
            "86400",
        ),
        "ttl_seconds_after_failed": _option("Seconds for which a PodTask that failed is kept.", "integer", "604800"),
        "pod_ttl_seconds": _option(
            "Seconds for which a finished Pod is kept until the task has read its log.", "integer", "900"
        ),
        "controller_timeout": _option(
            "Seconds after which a PodTask that no controller reconciles fails.", "integer", "300"
        ),
        "api_outage_tolerance": _option(
            "Seconds for which a waiting task tolerates that the API server is unavailable.", "integer", "900"
        ),
        "unattended_seconds": _option(
            "Seconds for which a deferred task may run without its trigger before it is cancelled. 0: no limit.",
            "integer",
            "86400",
        ),
        "deferral_guard_seconds": _option(
            "Minimum seconds between the deferral of a task and its continuation in a worker on Airflow 3. Default: 3, "
            "or twice the time that its first part took to start.",
            "float",
            None,
            "5",
        ),
        "sensitive_keys": _option(
            "Further parts of names, separated by commas, whose values are hidden in rendered fields and logs.",
            "string",
            None,
            "license,pin",
        ),
        "dashboard_url": _option(
            "URL of the link on a task's page; {namespace}, {name} and {pod} are replaced.",
            "string",
            None,
            "https://headlamp.example.com/c/main/customresources/podtasks.podtask.dev/{namespace}/{name}",
        ),
    }


def _option(description: str, kind: str, default: str | None, example: str | None = None) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": kind,
        "default": default,
        "example": example,
    }
