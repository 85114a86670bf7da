"""Small programs that tasks run, each as the fields of a spec. The image has sh and python3, and no user of its own."""

from typing import Any

Fields = dict[str, Any]

PYTHON = "localhost/podtask/python:dev"
ABSENT = "localhost/podtask/absent:dev"
"""An image that does not exist; its registry is the node itself, which refuses the connection at once."""
RESULT = "/airflow/xcom/return.json"

POLITE = "trap 'exit 143' TERM; echo started; sleep 600 & wait"
"""Waits for SIGTERM, and ends."""
STUBBORN = "trap '' TERM; echo started; sleep 600"
"""Waits, and ends by SIGKILL only."""

ATTEMPT = [{"name": "ATTEMPT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['podtask.dev/attempt']"}}}]
"""Environment by which a program knows the number of its attempt."""


def shell(script: str, **more: Any) -> Fields:
    """Run a shell script."""
    return {"image": PYTHON, "command": ["sh", "-c", script], **more}


def python(script: str, **more: Any) -> Fields:
    """Run a Python program."""
    return {"image": PYTHON, "command": ["python3", "-c", script], **more}


def container(name: str, script: str, **more: Any) -> Fields:
    """Return a further container that runs a shell script."""
    return {"name": name, "image": PYTHON, "command": ["sh", "-c", script], **more}
