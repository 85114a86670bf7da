"""The result of a task, from its file to the status, on a real kubelet."""

import base64
import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness.programs import ABSENT, POLITE, RESULT, STUBBORN, container, python, shell
from tests.harness.story import SUCCESS, Ended, check, time
from tests.harness.tasks import Namespace

Fields = dict[str, Any]

SIDECAR = "podtask-result"
RESULT_DROPPED = {"state": "Dropped", "reason": "XComDropped", "attempt": 1}


def noise(size: int) -> str:
    """Return a JSON string of exactly so many bytes that hardly compresses; `write_noise` writes the same."""
    return '"' + base64.b64encode(random.Random(size).randbytes(size)).decode()[: size - 2] + '"'


def write_noise(size: int, path: str = RESULT) -> str:
    return (
        "import base64, random\n"
        f"text = base64.b64encode(random.Random({size}).randbytes({size})).decode()[:{size - 2}]\n"
        f"open({path!r}, 'w').write('\"' + text + '\"')"
    )


def write(content: bytes, path: str = RESULT) -> str:
    return f"open({path!r}, 'wb').write({content!r})"


def sidecar_message(namespace: Namespace, pod: str) -> Fields:
    """Read the envelope that the sidecar of a Pod left."""
    found = next(p for p in namespace.pods() if p["metadata"]["name"] == pod)
    status = next(s for s in found["status"]["initContainerStatuses"] if s["name"] == SIDECAR)
    envelope: Fields = json.loads(status["state"]["terminated"]["message"])
    return envelope


def check_collected(status: Fields, value: str) -> None:
    check(status, "Succeeded", "Completed", SUCCESS)
    content = value.encode()
    assert status["xcom"] == {
        "state": "Collected",
        "value": value,
        "sizeBytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "attempt": 1,
    }


# ---- what arrives ----


@pytest.mark.parametrize(
    ("value", "transport"),
    [
        pytest.param("{}", "inline", id="two bytes"),
        pytest.param(noise(2_800), "inline", id="almost three kilobytes that still fit the message"),
        pytest.param(noise(60_000), "log", id="sixty kilobytes of noise go through the log"),
        pytest.param(noise(524_288), "log", id="as much as there may be goes through the log"),
        pytest.param('"' + "a" * 60_000 + '"', "inline", id="sixty kilobytes that compress fit the message"),
    ],
)
def test_a_result_of_any_size_is_collected_exactly(namespace: Namespace, value: str, transport: str) -> None:
    script = write_noise(len(value)) if value[1] != "a" else f"open({RESULT!r}, 'w').write('\"' + 'a' * 60_000 + '\"')"
    if value == "{}":
        script = write(b"{}")
    status = namespace.run("sized", **python(script), xcom={"maxBytes": max(65_536, len(value))})
    check_collected(status, value)
    assert sidecar_message(namespace, status["attempts"][0]["podName"])["state"] == transport


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(
            '{"a": "\u00e9\u4e2d\U0001f600", "b": "\\ud83d\\ude00"}', id="unicode, astral plane and an escaped pair"
        ),
        pytest.param(
            ' { "a": null,\n "a": 12345678901234567890123, "b": [1.0, 1e300] }\n',
            id="null, a repeated key, large numbers and white space",
        ),
    ],
)
@pytest.mark.parametrize("mode", ["Auto", "Direct"])
def test_a_result_is_not_reformatted(namespace: Namespace, value: str, mode: str) -> None:
    status = namespace.run("spelt", **python(write(value.encode())), xcom={"mode": mode})
    check_collected(status, value)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(f"echo 1 > {RESULT}.new; mv {RESULT}.new {RESULT}", id="by rename"),
        pytest.param("cd /airflow/xcom; echo 1 > value; ln -s value return.json", id="by a relative link"),
        pytest.param("cd /airflow/xcom; echo 1 > value; ln -s $PWD/value return.json", id="by an absolute link"),
        pytest.param(f"echo 2 > {RESULT}; echo 1 > {RESULT}", id="twice"),
    ],
)
def test_a_result_file_may_be_written_renamed_or_linked(namespace: Namespace, script: str) -> None:
    check_collected(namespace.run("placed", **shell(script), xcom={}), "1\n")


def test_very_short_programs_lose_no_result(namespace: Namespace) -> None:
    tasks = [f"quick-{number}" for number in range(4)]
    for name in tasks:
        namespace.create(name, **shell(f"echo 1 > {RESULT}"), xcom={"required": True})
    for name in tasks:
        check_collected(namespace.wait_finished(name), "1\n")


def test_a_custom_result_directory_is_shared_with_the_sidecar(namespace: Namespace) -> None:
    status = namespace.run(
        "own-volume",
        **shell("echo 1 > /data/out/value.json"),
        volumes=[{"name": "data", "emptyDir": {"medium": "Memory"}}],
        volumeMounts=[{"name": "data", "mountPath": "/data/out", "subPath": "out"}],
        xcom={"path": "/data/out/value.json"},
    )
    check_collected(status, "1\n")


# ---- what does not ----


@pytest.mark.parametrize(
    ("mode", "script"),
    [
        pytest.param("Auto", "true", id="no file"),
        pytest.param("Auto", f"printf ' \\n\\t' > {RESULT}", id="a blank file"),
        pytest.param("Direct", "true", id="no file, Direct"),
    ],
)
@pytest.mark.parametrize("is_required", [pytest.param(False, id="optional"), pytest.param(True, id="required")])
def test_a_missing_result_fails_only_if_it_is_required(
    namespace: Namespace, mode: str, script: str, is_required: bool
) -> None:
    status = namespace.run("missing", **shell(script), backoffLimit=2, xcom={"mode": mode, "required": is_required})
    if is_required:
        check(status, "Failed", "XComMissing", Ended("NoResult", "XComMissing", 0))
    else:
        check(status, "Succeeded", "Completed", SUCCESS)
    assert (status["xcom"]["state"], status["xcom"]["reason"]) == ("Empty", "XComMissing")
    assert "value" not in status["xcom"]


BAD_RESULTS = [
    pytest.param(
        {}, write_noise(65_537), "XComTooLarge", ["65537 bytes", "maxBytes allows 65536"], id="one byte too many"
    ),
    pytest.param(
        {"maxBytes": 1_000_000 // 2}, write_noise(600_000), "XComTooLarge", ["600000", "500000"], id="far too many"
    ),
    pytest.param({}, write(b'{"a": 1'), "XComInvalid", ["not JSON"], id="half an object"),
    pytest.param({}, write(b"NaN"), "XComInvalid", ["NaN is not a JSON number"], id="Python's NaN"),
    pytest.param({}, write(b'"\xff"'), "XComInvalid", ["not UTF-8"], id="no UTF-8"),
    pytest.param({}, write(b'"\\udcff.csv"'), "XComInvalid", ["at byte 0", "lone surrogate"], id="a lone surrogate"),
    pytest.param({}, write(b"[1e400]"), "XComInvalid", ["at byte 1", "1e400", "double"], id="beyond a double"),
    pytest.param({"mode": "Direct"}, write(b'"\xff"'), "XComInvalid", ["UTF-8"], id="no UTF-8, Direct"),
    pytest.param({}, write(b"[" * 60_000), "XComInvalid", ["nested"], id="nested without end"),
    pytest.param(
        {},
        f"import os; os.symlink('/etc/hostname', {RESULT!r})",
        "XComUnreadable",
        ["cannot read"],
        id="a link out of the directory",
    ),
    pytest.param({}, f"import os; os.mkfifo({RESULT!r})", "XComUnreadable", ["not a regular file"], id="a pipe"),
    pytest.param({}, f"import os; os.mkdir({RESULT!r})", "XComUnreadable", ["directory"], id="a directory"),
    pytest.param(
        {"mode": "Direct"}, write_noise(4_096, RESULT), "XComTooLarge", ["use mode Auto"], id="Direct, at the cut"
    ),
    pytest.param({"maxBytes": 100}, write_noise(101), "XComTooLarge", ["101"], id="Direct, over its own small limit"),
]


@pytest.mark.parametrize(("xcom", "script", "reason", "words"), BAD_RESULTS)
def test_an_invalid_result_ends_the_task_and_is_not_retried(
    namespace: Namespace, xcom: Fields, script: str, reason: str, words: list[str]
) -> None:
    status = namespace.run("bad", **python(script), backoffLimit=2, xcom=xcom)
    check(status, "Failed", reason, Ended("NoResult", reason, 0))
    assert (status["xcom"]["state"], status["xcom"]["reason"]) == ("Failed", reason)
    assert "value" not in status["xcom"]
    for word in words:
        assert word in status["message"]
    assert status["message"] == status["xcom"]["message"] == status["attempts"][0]["message"]


# ---- Direct ----


def test_direct_mode_takes_a_value_up_to_its_limit_without_a_sidecar(namespace: Namespace) -> None:
    value = noise(4_095)
    status = namespace.run("direct", **python(write_noise(4_095)), xcom={"mode": "Direct"})
    check_collected(status, value)
    assert "initContainers" not in namespace.pods()[0]["spec"]


@pytest.mark.parametrize(
    ("xcom", "inits"),
    [
        pytest.param({"maxBytes": 2_000}, [], id="a small promise needs none"),
        pytest.param(
            {"maxBytes": 2_000, "onFailure": "Keep"}, ["before", SIDECAR], id="Keep has one, for the log's tail"
        ),
        pytest.param({}, ["before", SIDECAR], id="the default has one, after all others"),
    ],
)
def test_auto_mode_chooses_by_max_bytes(namespace: Namespace, xcom: Fields, inits: list[str]) -> None:
    before = [] if not inits else [container("before", "true")]
    status = namespace.run(
        "auto", **shell(f"echo 1 > {RESULT}"), template={"spec": {"initContainers": before}}, xcom=xcom
    )
    check_collected(status, "1\n")
    assert [c["name"] for c in namespace.pods()[0]["spec"].get("initContainers", [])] == inits


@pytest.mark.parametrize(
    ("on_failure", "script", "expected"),
    [
        pytest.param("Drop", f"echo 1 > {RESULT}; echo words; exit 3", "Dropped", id="its value is dropped"),
        pytest.param("Keep", f"echo 1 > {RESULT}; echo words; exit 3", "Collected", id="its value is kept on request"),
        pytest.param("Keep", "echo 42; exit 3", "Empty", id="its last words are no value"),
    ],
)
def test_a_failed_direct_task_has_no_bogus_result(
    namespace: Namespace, on_failure: str, script: str, expected: str
) -> None:
    status = namespace.run("failing", **shell(script), xcom={"mode": "Direct", "onFailure": on_failure})
    check(status, "Failed", "NonZeroExit", Ended("Failed", "NonZeroExit", 3))
    assert status["xcom"]["state"] == expected
    assert status["xcom"].get("value") == ("1\n" if expected == "Collected" else None)
    assert "logTail" not in status["attempts"][0], "the message is the result's, and no log"


# ---- failing tasks with a sidecar ----


@pytest.mark.parametrize("on_failure", ["Drop", "Keep"])
def test_the_result_of_a_failed_task_is_kept_on_request_only(namespace: Namespace, on_failure: str) -> None:
    script = f"echo '{{\"rows\": 5}}' > {RESULT}; echo last words; exit 3"
    status = namespace.run("failed", **shell(script), xcom={"onFailure": on_failure, "required": True})
    check(status, "Failed", "NonZeroExit", Ended("Failed", "NonZeroExit", 3))
    assert status["attempts"][0]["logTail"] == "last words\n"
    if on_failure == "Keep":
        assert (status["xcom"]["state"], status["xcom"]["value"]) == ("Collected", '{"rows": 5}\n')
    else:
        assert status["xcom"] == RESULT_DROPPED


@pytest.mark.parametrize("on_failure", ["Drop", "Keep"])
def test_the_result_of_an_oom_killed_task_is_kept_on_request_only(namespace: Namespace, on_failure: str) -> None:
    script = f"{write(b'[1]')}.__class__; kept = [b'x' * (1 << 20) for _ in range(256)]"
    status = namespace.run(
        "hungry", **python(script), resources={"limits": {"memory": "32Mi"}}, xcom={"onFailure": on_failure}
    )
    check(status, "Failed", "OOMKilled", Ended("Failed", "OOMKilled", 137))
    if on_failure == "Keep":
        assert (status["xcom"]["state"], status["xcom"]["value"]) == ("Collected", "[1]")
    else:
        assert status["xcom"] == RESULT_DROPPED


@pytest.mark.parametrize("script", [pytest.param(POLITE, id="that obeys"), pytest.param(STUBBORN, id="that does not")])
def test_cancelling_a_task_keeps_its_pod_and_log(namespace: Namespace, script: str) -> None:
    """The Pod is stopped by its deadline, so that the kubelet keeps it; the grace is what the spec says."""
    namespace.create("stopped", **shell(script), terminationGracePeriodSeconds=2, podRetention="Keep", xcom={})
    namespace.wait("stopped", lambda t: t["status"]["phase"] == "Running")
    namespace.patch("stopped", cancel=True)
    status = namespace.wait_finished("stopped")
    exit_code = 143 if script == POLITE else 137
    check(status, "Cancelled", "Cancelled", Ended("Stopped", "Cancelled", exit_code))
    assert status["xcom"] == RESULT_DROPPED
    pod = namespace.wait_pod(lambda _, p: p["status"]["phase"] == "Failed")
    assert pod["metadata"]["name"] == status["attempts"][0]["podName"]
    assert "deletionTimestamp" not in pod["metadata"]
    assert namespace.log(pod["metadata"]["name"]) == "started\n"


# ---- who may read the file ----

PRIVATE = f"umask 077; echo 1 > {RESULT}; stat -c %a {RESULT}"
RESTRICTED: Fields = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
USERS = [
    pytest.param({}, id="the image's root"),
    pytest.param({"containerSecurityContext": {"runAsUser": 1000}}, id="the container's runAsUser"),
    pytest.param({"securityContext": {"runAsUser": 1000}}, id="the Pod's runAsUser"),
    pytest.param(
        {"securityContext": {"runAsUser": 2000}, "containerSecurityContext": {"runAsUser": 1000, "runAsGroup": 7}},
        id="the container's runAsUser over the Pod's",
    ),
    pytest.param({"securityContext": {"runAsUser": 1000, "fsGroup": 3000}}, id="a user with an fsGroup"),
    pytest.param({"securityContext": {"fsGroup": 3000}}, id="root with an fsGroup"),
    pytest.param({"containerSecurityContext": {"runAsUser": 0}}, id="an explicit root"),
    pytest.param({"securityContext": {"runAsUser": 1000, "runAsNonRoot": True}}, id="a user that may not be root"),
    pytest.param({"securityContext": {"runAsNonRoot": True}, "containerSecurityContext": {"runAsUser": 9}}, id="split"),
    pytest.param({"containerSecurityContext": {"readOnlyRootFilesystem": True}}, id="a read-only root file system"),
    pytest.param({"containerSecurityContext": {"capabilities": {"drop": ["ALL"]}}}, id="root without capabilities"),
]


@pytest.mark.parametrize("fields", USERS)
def test_a_private_file_of_any_user_is_read(namespace: Namespace, fields: Fields) -> None:
    status = namespace.run("private", **shell(PRIVATE), **fields, xcom={"required": True})
    check_collected(status, "1\n")
    assert namespace.log(status["attempts"][0]["podName"]) == "600\n"


def test_a_file_of_a_program_that_changed_its_user_is_read(namespace: Namespace) -> None:
    script = f"import os\nos.umask(0o077)\nos.setgid(1234)\nos.setuid(1234)\n{write(b'1')}"
    check_collected(namespace.run("dropped", **python(script), xcom={"required": True}), "1")


# ---- what a namespace demands ----


def test_the_pod_with_its_sidecar_passes_the_restricted_level(make_namespace: Callable[..., Namespace]) -> None:
    namespace = make_namespace({"pod-security.kubernetes.io/enforce": "restricted"})
    status = namespace.run(
        "restricted",
        **shell(PRIVATE),
        securityContext={"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        containerSecurityContext=RESTRICTED,
        xcom={"required": True},
    )
    check_collected(status, "1\n")


def test_a_root_image_with_its_sidecar_passes_the_baseline_level(make_namespace: Callable[..., Namespace]) -> None:
    namespace = make_namespace({"pod-security.kubernetes.io/enforce": "baseline"})
    check_collected(namespace.run("baseline", **shell(PRIVATE), xcom={"required": True}), "1\n")


def test_the_sidecar_has_the_resources_that_a_quota_requires(namespace: Namespace) -> None:
    hard = {"requests.cpu": "1", "requests.memory": "1Gi", "limits.cpu": "2", "limits.memory": "2Gi", "pods": "1"}
    namespace.core.create_namespaced_resource_quota(
        namespace.name, {"metadata": {"name": "all"}, "spec": {"hard": hard}}
    )
    namespace.wait_object(namespace.core.list_namespaced_resource_quota, "all", lambda q: "hard" in q.get("status", {}))
    limits = {"cpu": "500m", "memory": "64Mi"}
    status = namespace.run("counted", **shell(PRIVATE), resources={"limits": limits}, xcom={"required": True})
    check_collected(status, "1\n")
    assert namespace.pods()[0]["status"]["qosClass"] == "Guaranteed"


LIMITS: Fields = {
    "type": "Container",
    "min": {"cpu": "5m", "memory": "16Mi"},
    "max": {"cpu": "1", "memory": "512Mi"},
    "default": {"cpu": "500m", "memory": "128Mi"},
    "defaultRequest": {"cpu": "50m", "memory": "32Mi"},
}


@pytest.mark.parametrize(
    ("minimum", "sidecar"),
    [
        pytest.param("16Mi", {}, id="by its own size"),
        pytest.param(
            "48Mi", {"resources": {"requests": {"memory": "48Mi"}, "limits": {"memory": "64Mi"}}}, id="by setting"
        ),
    ],
)
def test_the_sidecar_stays_within_a_limit_range(namespace: Namespace, minimum: str, sidecar: Fields) -> None:
    limits = {**LIMITS, "min": {"memory": minimum}, "defaultRequest": {"memory": "48Mi"}}
    body = {"metadata": {"name": "all"}, "spec": {"limits": [limits]}}
    namespace.core.create_namespaced_limit_range(namespace.name, body)
    status = namespace.run("ranged", **shell(PRIVATE), xcom={"required": True, "sidecar": sidecar})
    check_collected(status, "1\n")


def test_a_limit_range_above_the_sidecar_is_reported(namespace: Namespace) -> None:
    body = {
        "metadata": {"name": "all"},
        "spec": {"limits": [{**LIMITS, "min": {"memory": "96Mi"}, "defaultRequest": {}}]},
    }
    namespace.core.create_namespaced_limit_range(namespace.name, body)
    resources = {"requests": {"memory": "96Mi"}}
    status = namespace.run("ranged", **shell(PRIVATE), resources=resources, backoffLimit=2, xcom={})
    check(status, "Failed", "AdmissionDenied")
    assert "minimum memory usage per Container is 96Mi" in status["message"]


# ---- the sidecar itself ----


def test_a_sidecar_image_that_cannot_be_pulled_is_reported_and_ends_the_task(namespace: Namespace) -> None:
    """The image is changed on the gated Pod, as an image-rewriting webhook or a mirror would."""
    template = {"spec": {"schedulingGates": [{"name": "podtask.test/hold"}]}}
    namespace.create(
        "mirrored", **shell("true"), template=template, backoffLimit=0, deadlines={"imagePullSeconds": 20}, xcom={}
    )
    pod = namespace.wait_pod(lambda _, p: bool(p["spec"].get("schedulingGates")))["metadata"]["name"]
    patch = {"spec": {"initContainers": [{"name": SIDECAR, "image": ABSENT}], "schedulingGates": None}}
    namespace.core.patch_namespaced_pod(pod, namespace.name, patch)
    reported = namespace.wait("mirrored", lambda t: t["status"].get("reason") == "ImagePullFailed")
    assert "the result sidecar" in reported["status"]["message"]
    status = namespace.wait_finished("mirrored")
    expected = Ended("Failed", "ImagePullDeadlineExceeded", is_started=False)
    check(status, "Failed", "ImagePullDeadlineExceeded", expected)
    assert "the result sidecar" in status["message"]
    assert time(status["completionTime"]) > time(status["attempts"][0]["creationTime"])
