"""Specs as users write and paste them: handled as by a Pod, or refused with a message."""

import json
from datetime import datetime
from typing import Any

import pytest

from podtask.runtime import decode
from tests.harness.programs import RESULT, container, python, shell
from tests.harness.story import SUCCESS, check
from tests.harness.tasks import Namespace

Fields = dict[str, Any]


def _env(*pairs: str) -> list[Fields]:
    return [dict(zip(("name", "value"), pair.split("=", 1), strict=True)) for pair in pairs]


def _template(**fields: Any) -> Fields:
    return {"spec": {"containers": [{"name": "base", **fields}]}}


POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
VARIABLES: dict[str, tuple[Fields, str]] = {
    "one that others refer to is replaced by a reference": (
        {
            "template": _template(env=[POD_IP, *_env("HOST=localhost", "URL=http://$(HOST):80")]),
            "env": _env("HOST=$(POD_IP)"),
        },
        "os.environ['URL'] == 'http://' + os.environ['POD_IP'] + ':80'",
    ),
    "one extends the template's": (
        {"template": _template(env=_env("OPTS=-Xmx1g")), "env": _env("OPTS=$(OPTS) -Dx=1")},
        "os.environ['OPTS'] == '-Xmx1g -Dx=1'",
    ),
    "one extends itself in one list": (
        {"env": _env("OPTS=-Xmx1g", "OPTS=$(OPTS) -Dx=1")},
        "os.environ['OPTS'] == '-Xmx1g -Dx=1'",
    ),
    "an empty value beside a source": (
        {"env": [{**POD_IP, "value": ""}, {"name": "NOTHING", "value": None}]},
        "os.environ['POD_IP'] and os.environ['NOTHING'] == ''",
    ),
}


@pytest.mark.parametrize("case", VARIABLES)
def test_variables_are_expanded_as_in_a_plain_pod(namespace: Namespace, case: str) -> None:
    fields, holds = VARIABLES[case]
    status = namespace.run(
        "variables", **python(f"import os, sys; sys.exit(0 if {holds} else str(os.environ))"), **fields
    )
    check(status, "Succeeded", "Completed", SUCCESS)


def test_a_pod_printed_by_kubectl_is_a_valid_template(namespace: Namespace) -> None:
    """`kubectl run pasted --image … --restart Never --dry-run=client -o yaml`, pasted."""
    printed = {**container("base", "true"), "resources": {}}
    template = {
        "metadata": {"creationTimestamp": None, "labels": {"run": "pasted"}},
        "spec": {"containers": [printed], "dnsPolicy": "ClusterFirst", "restartPolicy": "Never"},
    }
    check(namespace.run("pasted", template=template), "Succeeded", "Completed", SUCCESS)


def test_quantities_need_no_quotes(namespace: Namespace) -> None:
    amounts = {"requests": {"cpu": 0.05, "memory": 64_000_000}}
    status = namespace.run("counted", **shell("true"), resources=amounts)
    check(status, "Succeeded", "Completed", SUCCESS)
    (pod,) = namespace.pods()
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "50m", "memory": "64M"}


def test_two_volumes_of_one_name_in_a_template_are_refused(namespace: Namespace) -> None:
    """Those of `spec.volumes` are refused by the API server (crds/examples-invalid)."""
    template = {"spec": {"volumes": [{"name": "a", "emptyDir": {}}] * 2, "containers": [container("base", "true")]}}
    status = namespace.run("doubled", template=template)
    assert (status["phase"], status["reason"]) == ("Failed", "InvalidPodTemplate")
    assert "spec.template.spec.volumes[1].name must be unique in its list: a occurs twice" in status["message"]


def test_the_sidecar_fits_into_pod_level_resources(namespace: Namespace) -> None:
    """The sum of the containers' requests may not be more than the Pod's: with the sidecar's it would be."""
    amounts = {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}
    status = namespace.run(
        "whole",
        **shell(f"echo 1 > {RESULT}"),
        resources={"requests": amounts["requests"]},
        template={"spec": {"resources": amounts}},
        xcom={},
    )
    check(status, "Succeeded", "Completed", SUCCESS)
    assert status["xcom"]["value"] == "1\n"


def test_the_kubelets_status_time_is_found_by_the_fields_it_owns(namespace: Namespace) -> None:
    """The manager's name may differ: only the kubelet's entry of managedFields owns the container statuses."""
    namespace.run("spoken", **shell("true"))
    (found,) = namespace.pods()
    pod = decode.decode_pod(json.dumps(found).encode())
    notes = found["metadata"]["managedFields"]
    (kubelets,) = [note for note in notes if note["manager"] == "kubelet" and note.get("subresource") == "status"]
    assert len(pod.kubelet_managed_fields) == 1
    assert pod.kubelet_status_time == datetime.fromisoformat(kubelets["time"])


def test_a_sidecar_with_empty_settings(namespace: Namespace) -> None:
    """An explicit empty value is kept: the platform may set the user."""
    fields = {"sidecar": {"securityContext": {}, "resources": {}}}
    status = namespace.run("bare", **shell(f"echo 1 > {RESULT}"), xcom=fields)
    check(status, "Succeeded", "Completed", SUCCESS)
    (pod,) = namespace.pods()
    (sidecar,) = pod["spec"]["initContainers"]
    assert (sidecar.get("securityContext"), sidecar["resources"]) == ({}, {})
