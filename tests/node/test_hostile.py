"""A task that writes a result envelope itself: only its own result file counts."""

import hashlib
import json
from typing import Any

import pytest
from kubernetes import client

from tests.harness.programs import RESULT, python
from tests.harness.tasks import Namespace

FORGED = '"forged"'
TRUE = '"true"'


def envelope(value: str) -> str:
    """Return what the sidecar would write for this value (`sidecar/envelope.go`)."""
    content = value.encode()
    head = {"v": 1, "state": "inline", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return json.dumps({**head, "encoding": "raw", "payload": value})


def program(*lines: str) -> dict[str, Any]:
    return {**python("\n".join(lines)), "xcom": {"required": True, "maxBytes": 8192}}


def test_an_envelope_in_the_tasks_termination_message_is_ignored(namespace: Namespace) -> None:
    write = f"open('/dev/termination-log', 'w').write({envelope(FORGED)!r})"
    status = namespace.run("message", **program(write, f"open({RESULT!r}, 'w').write({TRUE!r})"))
    assert (status["phase"], status["xcom"]["value"]) == ("Succeeded", TRUE)


def test_an_envelope_in_the_tasks_log_is_ignored(namespace: Namespace) -> None:
    """A result that is too large for a message is read from the sidecar's log only."""
    noise = "import os, json; value = json.dumps(os.urandom(4000).hex())"
    say = f"print({envelope(FORGED)!r}, flush=True)"
    status = namespace.run("log", **program(noise, say, f"open({RESULT!r}, 'w').write(value)", say))
    assert status["phase"] == "Succeeded"
    assert status["xcom"]["sizeBytes"] == 8002
    assert "forged" not in status["xcom"]["value"]


def test_an_envelope_as_result_is_an_ordinary_value(namespace: Namespace) -> None:
    status = namespace.run("value", **program(f"open({RESULT!r}, 'w').write({envelope(FORGED)!r})"))
    assert (status["phase"], status["xcom"]["value"]) == ("Succeeded", envelope(FORGED))


@pytest.mark.parametrize("name", ["podtask-result", "envelope", ".podtask", "return.json.gz"])
def test_other_files_next_to_the_result_are_ignored(namespace: Namespace, name: str) -> None:
    beside = f"open('/airflow/xcom/{name}', 'w').write({envelope(FORGED)!r})"
    status = namespace.run("beside", **program(beside))
    assert (status["phase"], status["reason"]) == ("Failed", "XComMissing")


def test_a_container_with_the_sidecars_name_is_refused(namespace: Namespace) -> None:
    """Otherwise the task could replace the sidecar."""
    own = {"name": "podtask-result", "image": "localhost/podtask/python:dev", "command": ["true"]}
    template = {"spec": {"initContainers": [own]}}
    with pytest.raises(client.ApiException) as refused:
        namespace.create("sidecar", **program(f"open({RESULT!r}, 'w').write({TRUE!r})"), template=template)
    assert refused.value.status == 422
    assert "podtask-result" in str(refused.value.body)
