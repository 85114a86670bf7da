"""What Airflow learns about this distribution from its entry point: decorators, link, options.

No connection type is registered: connections of type `kubernetes` serve as they are, whoever brought that type.
"""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Describe the provider."""
    integration = {"integration-name": "PodTask"}
    return {
        "package-name": "airflow-provider-podtask",
        "name": "PodTask",
        "description": "Containerised tasks as Kubernetes objects: a drop-in for KubernetesPodOperator.",
        "integrations": [{**integration, "tags": ["software"]}],
        "operators": [{**integration, "python-modules": ["podtask_airflow.operator"]}],
        "triggers": [{**integration, "python-modules": ["podtask_airflow.trigger"]}],
        "task-decorators": [
            {"name": "podtask", "class-name": "podtask_airflow.decorators.podtask_task"},
            {"name": "podtask_cmd", "class-name": "podtask_airflow.decorators.podtask_cmd_task"},
        ],
        "extra-links": ["podtask_airflow.links.PodTaskLink"],
        "config": {
            "podtask": {
                "description": "Defaults of PodTaskOperator. An argument of the operator wins over its option.",
                "options": _options(),
            }
        },
    }


def _options() -> dict[str, dict[str, Any]]:
    return {
        "deployment_id": _option(
            "Tells this Airflow from others that use the same namespace of the same cluster.", "string", None, "prod-eu"
        ),
        "ttl_seconds_after_succeeded": _option(
            "How long a PodTask that succeeded stays, so that a later try can take its result.", "integer", "86400"
        ),
        "ttl_seconds_after_failed": _option("How long a PodTask that failed stays.", "integer", "604800"),
        "pod_ttl_seconds": _option(
            "How long a finished Pod and its log wait for the task to read the log.", "integer", "900"
        ),
        "controller_timeout": _option(
            "After how many seconds without a sign of the controller a task fails with that reason.", "integer", "300"
        ),
        "api_outage_tolerance": _option(
            "For how many seconds a waiting task bears that the API server does not answer.", "integer", "900"
        ),
        "unattended_seconds": _option(
            "For how many seconds a deferred task may run without its trigger; after that it is cancelled. 0: forever.",
            "integer",
            "86400",
        ),
        "handover_seconds": _option(
            "How long after its deferral a task waits at least before it goes on in a worker, on Airflow 3. Without "
            "this, 3 seconds, or twice what its first part took to begin.",
            "float",
            None,
            "5",
        ),
        "sensitive_keys": _option(
            "Further parts of names, with commas between, whose variables are hidden in rendered fields and logs.",
            "string",
            None,
            "license,pin",
        ),
        "dashboard_url": _option(
            "Where the button on a task's page leads; {namespace}, {name} and {pod} are filled in.",
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
