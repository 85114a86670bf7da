"""What the real API server accepts and refuses, and with which words."""

from pathlib import Path

import pytest

from podtask.api.v1alpha1.validation_rules import RULES
from tests.crd import examples, judge
from tests.crd.server import Json, PodTasks, Server

from .conftest import CRD_PATH

pytestmark = pytest.mark.apiserver

MESSAGES = {rule.id: rule.message for rule in RULES}
CASES = [examples.refused(path) for path in examples.INVALID]


def _name(value: object) -> str:
    return value.stem if isinstance(value, Path) else value.name  # type: ignore[attr-defined]


def _made(obj: Json) -> Json:
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key != "namespace"}}


def test_the_crd_is_established_and_nothing_in_it_is_doubtful(server: Server) -> None:
    _, crd = server.call("GET", f"{CRD_PATH}/podtasks.podtask.dev")
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions == {"Established": "True", "NamesAccepted": "True"}  # NonStructuralSchema is absent
    assert crd["spec"]["versions"] == examples.definition()["spec"]["versions"], "the server changed or dropped a part"


@pytest.mark.parametrize("path", examples.VALID, ids=_name)
def test_valid_example_is_accepted(podtasks: PodTasks, path: Path) -> None:
    for obj in examples.documents(path):
        status, reply = podtasks.create(_made(obj))
        assert status == 201, reply
        assert reply["spec"] == judge.with_defaults(obj)["spec"]


@pytest.mark.parametrize("case", [case for case in CASES if case.before is None], ids=_name)
def test_invalid_example_is_refused(podtasks: PodTasks, case: examples.Refused) -> None:
    status, reply = podtasks.create(case.after)
    assert status in (400, 422), reply
    assert case.at or MESSAGES[examples.rule_id_of(case.name, list(MESSAGES)) or ""] in reply["message"]
    if case.at:
        assert case.at in reply["message"]


@pytest.mark.parametrize("case", [case for case in CASES if case.before is not None], ids=_name)
def test_invalid_change_is_refused(podtasks: PodTasks, case: examples.Refused) -> None:
    status, reply = podtasks.create(case.before)
    assert status == 201, reply
    if "status" in case.before:
        status, reply = podtasks.replace(case.name, "status", case.before["status"])
        assert status == 200, reply
    part = "spec" if case.before["spec"] != case.after["spec"] else "status"
    before = podtasks.get(case.name)
    if case.name.endswith("-null"):
        status, reply = podtasks.patch(case.name, {"status": None}, status=True)
    else:
        status, reply = podtasks.replace(case.name, part, case.after.get(part))
    assert status == 422, reply
    assert (case.at or MESSAGES[examples.rule_id_of(case.name, list(MESSAGES)) or ""]) in reply["message"]
    assert podtasks.get(case.name) == before


SPEC: Json = {"image": "busybox:1.36"}


def _stored(spec: Json) -> Json:
    return judge.with_defaults({"spec": spec})["spec"]


def _task(name: str, **spec: Json) -> Json:
    return {
        "apiVersion": "podtask.dev/v1alpha1",
        "kind": "PodTask",
        "metadata": {"name": name},
        "spec": {**SPEC, **spec},
    }


GENERATED: dict[str, Json] = {
    "kubectl run --dry-run": {
        "template": {
            "metadata": {"creationTimestamp": None, "labels": {"run": "x"}},
            "spec": {"containers": [{"name": "base", "image": "a", "resources": {}}], "restartPolicy": "Never"},
        }
    },
    "an empty value beside a source": {
        "env": [{"name": "IP", "value": "", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    },
    "no value": {"env": [{"name": "A", "value": None}]},
    "one variable twice": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]},
}


@pytest.mark.parametrize("case", GENERATED)
def test_what_a_pod_may_have_and_tools_print_is_accepted(podtasks: PodTasks, case: str) -> None:
    status, reply = podtasks.create(_task("generated", **GENERATED[case]))
    assert status == 201, reply


def test_what_may_change_changes(podtasks: PodTasks) -> None:
    podtasks.create(_task("mutable"))
    for change in (
        {"suspend": True},
        {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "a"}], "affinity": {"podAffinity": {}}},
        {"template": {"metadata": {"labels": {"queue": "a"}}}},
        {"template": {"metadata": {"labels": None}}},
        {"suspend": None},
        {"cancelTime": "2030-01-01T00:00:00Z"},
        {"cancelTime": None, "ttlSecondsAfterFinished": 5, "ttlSecondsAfterFailed": 6, "ttlSecondsAfterSucceeded": 7},
        {"podRetention": "Delete", "podTTLSecondsAfterFinished": 60, "forceDeletePodAfterSeconds": 60},
        {"cancel": True},
    ):
        status, reply = podtasks.patch("mutable", {"spec": change})
        assert status == 200, reply


def test_scheduling_is_settled_with_the_first_attempt(podtasks: PodTasks) -> None:
    podtasks.create(_task("begun", suspend=True))
    podtasks.patch("begun", {"status": {"attempts": [{"number": 1, "podName": "begun-1"}]}}, status=True)
    status, reply = podtasks.patch("begun", {"spec": {"nodeSelector": {"disk": "ssd"}}})
    assert status == 422
    assert MESSAGES["scheduling-node-selector"] in reply["message"]


def test_status_may_grow_after_the_end(podtasks: PodTasks) -> None:
    """Terminal says the phase stays; conditions and the attempt's last words may still come."""
    podtasks.create(_task("ended"))
    podtasks.patch("ended", {"status": {"phase": "Failed", "attemptCount": 1}}, status=True)
    status, reply = podtasks.patch(
        "ended", {"status": {"message": "more is known now", "attemptCount": 1}}, status=True
    )
    assert status == 200, reply


@pytest.mark.parametrize("is_status", [False, True], ids=["the object", "the status"])
def test_no_one_write_changes_both_the_spec_and_the_phase(podtasks: PodTasks, *, is_status: bool) -> None:
    """The rules over the spec are not judged where the phase changes, because the server then keeps the spec."""
    podtasks.create(_task("both"))
    status, reply = podtasks.patch("both", {"spec": {"image": "b"}, "status": {"phase": "Running"}}, status=is_status)
    assert status == (200 if is_status else 422), reply
    if not is_status:
        assert MESSAGES["immutable-image"] in reply["message"]
    assert podtasks.get("both")["spec"] == _stored(SPEC)
    assert podtasks.get("both")["status"]["phase"] == ("Running" if is_status else "Pending")


@pytest.mark.parametrize("phase", ["Pending", "Running"])
def test_a_spec_is_judged_at_its_creation_whatever_status_comes_with_it(podtasks: PodTasks, phase: str) -> None:
    status, reply = podtasks.create(
        {**_task("early", podRetention="Keep", podTTLSecondsAfterFinished=1), "status": {"phase": phase}}
    )
    assert status == 422
    assert MESSAGES["keep-without-ttl"] in reply["message"]


def test_unknown_fields_survive_on_each_level_of_the_template(podtasks: PodTasks) -> None:
    invented = {"invented": {"deep": [{"x": 1}], "empty": {}}}
    pod = {
        **invented,
        "containers": [{"name": "base", **invented, "securityContext": invented}],
        "initContainers": [{"name": "first", **invented}],
        "volumes": [{"name": "v", **invented}],
    }
    spec = {
        "template": {"spec": pod},
        "affinity": invented,
        "tolerations": [invented],
        "volumes": [{"name": "w", **invented}],
        "dnsConfig": invented,
        "securityContext": invented,
        "containerSecurityContext": invented,
        "initContainers": [{"name": "second", **invented}],
        "env": [{"name": "A", "valueFrom": invented}],
    }
    status, reply = podtasks.create(_task("invented", **spec))
    assert status == 201, reply
    assert podtasks.get("invented")["spec"] == _stored(SPEC | spec)


def test_other_metadata_of_the_template_is_dropped_without_strictness(podtasks: PodTasks) -> None:
    template = {"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/hold"], "namespace": "other"}}
    status, reply = podtasks.create(_task("metadata", template=template), strict=False)
    assert status == 201, reply
    assert reply["spec"]["template"] == {"metadata": {"labels": {"a": "b"}}}


def test_an_explicit_null_counts_as_absent(podtasks: PodTasks) -> None:
    status, reply = podtasks.create(_task("null", command=None, xcom={"path": None}))
    assert status == 201, reply
    assert reply["spec"] == _stored(SPEC | {"xcom": {}})


def test_one_unknown_key_for_another_goes_unseen(podtasks: PodTasks) -> None:
    """A limit of the server's CEL, kept here so that we notice when it goes: the controller pins the spec's hash."""
    podtasks.create(_task("swapped", template={"spec": {"invented": 1}}))
    swap = [
        {"op": "remove", "path": "/spec/template/spec/invented"},
        {"op": "add", "path": "/spec/template/spec/different", "value": 1},
    ]
    status, _ = podtasks.patch("swapped", swap, kind="application/json-patch+json")
    assert status == 200
    status, _ = podtasks.patch("swapped", {"spec": {"template": {"spec": {"different": 2}}}})
    assert status == 422


def _huge() -> Json:
    containers = [
        {"name": f"c{i}", "image": "x" * 200, "env": [{"name": f"E{j}"} for j in range(50)]} for i in range(31)
    ]
    return {
        "command": ["x" * 100] * 1024,
        "args": ["y" * 200] * 1024,
        "env": [{"name": f"VARIABLE_{i}", "value": "v" * 50} for i in range(1024)],
        "envFrom": [{"prefix": f"P{i}_", "secretRef": {"name": f"s{i}"}} for i in range(128)],
        "volumes": [{"name": f"v{i}", "emptyDir": {}} for i in range(128)],
        "volumeMounts": [{"name": f"v{i}", "mountPath": f"/mnt/{i}"} for i in range(128)],
        "ports": [{"containerPort": i} for i in range(1, 65)],
        "initContainers": [{"name": f"i{i}", "image": "x"} for i in range(32)],
        "tolerations": [{"key": f"k{i}"} for i in range(128)],
        "nodeSelector": {f"label-{i}": "v" * 63 for i in range(64)},
        "imagePullSecrets": [{"name": "s" * 253}] * 32,
        "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["h" * 20] * 64}] * 64,
        "template": {
            "metadata": {
                "labels": {f"label-{i}": "v" * 63 for i in range(64)},
                "annotations": {f"annotation-{i}": "v" * 500 for i in range(64)},
            },
            "spec": {
                "containers": [*containers, {"name": "base"}],
                "initContainers": [{"name": f"t{i}", "image": "x"} for i in range(32)],
            },
        },
        "xcom": {"path": "/" + "a/" * 2000 + "b"},
        "failurePolicy": {
            "rules": [
                {"action": "Fail", "onExitCodes": {"operator": "In", "values": list(range(1, 256))}} for _ in range(20)
            ]
        },
    }


def test_a_huge_object_is_within_the_rules_budget(podtasks: PodTasks) -> None:
    """The server estimates a rule's cost when it takes the CRD, and counts it when it judges an object."""
    status, reply = podtasks.create(_task("huge", **_huge()))
    assert status == 201, reply
    status, reply = podtasks.patch("huge", {"spec": {"suspend": True}})
    assert status == 200, reply
    time = "2026-01-02T03:04:05Z"
    attempts = [{"number": i, "podName": "p" * 253, "message": "m" * 4096, "logTail": "l" * 2048} for i in range(1, 21)]
    conditions = [
        {"type": f"Type{i}", "status": "True", "reason": "r" * 256, "message": "m" * 4096, "lastTransitionTime": time}
        for i in range(16)
    ]
    value = {"state": "Collected", "value": "x" * 524_288, "sha256": "0" * 64}
    whole = {"phase": "Running", "attemptCount": 21, "attempts": attempts, "conditions": conditions, "xcom": value}
    status, reply = podtasks.patch("huge", {"status": whole}, status=True)
    assert status == 200, reply
    status, reply = podtasks.patch("huge", {"spec": {"template": {"spec": {"containers": [{"name": "base"}]}}}})
    assert status == 422
    assert MESSAGES["immutable-template-spec"] in reply["message"]
