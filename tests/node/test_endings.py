"""How the end of a container is reported: exit codes, signals, OOM, start failures, and failure policy rules."""

from typing import Any

import pytest

from tests.harness.programs import ATTEMPT, RESULT, container, python, shell
from tests.harness.story import SUCCESS, Ended, check, time
from tests.harness.tasks import Namespace

Fields = dict[str, Any]

SEGFAULT = "import ctypes; print('last words', flush=True); ctypes.string_at(0)"
HUNGRY = "kept = [b'x' * (1 << 20) for _ in range(256)]"
MEMORY: Fields = {"limits": {"memory": "32Mi"}}
QUICK_BACKOFF = {"initialSeconds": 1, "factor": 1}


# ---- the container's own end ----

OWN_ENDS = [
    pytest.param(shell("echo one; echo two; exit 3"), "NonZeroExit", 3, "one\ntwo\n", id="an exit code"),
    pytest.param(python(SEGFAULT), "NonZeroExit", 139, "last words\n", id="its own signal"),
    pytest.param(
        shell("exec 2>&1; sh -c 'kill -9 $$$$'; code=$?; echo last words; exit $code"),
        "NonZeroExit",
        137,
        "Killed\nlast words\n",
        id="a child's signal",
    ),
    pytest.param(python(HUNGRY, resources=MEMORY), "OOMKilled", 137, None, id="more memory than its limit"),
    pytest.param(
        shell(f'python3 -c "{HUNGRY}"; exit 0', resources=MEMORY),
        "OOMKilled",
        0,
        None,
        id="a child's memory, exit code 0",
    ),
]


@pytest.mark.parametrize(("fields", "reason", "exit_code", "tail"), OWN_ENDS)
def test_the_end_of_the_container_is_reported_with_its_last_output(
    namespace: Namespace, fields: Fields, reason: str, exit_code: int, tail: str | None
) -> None:
    status = namespace.run("ends", **fields)
    check(status, "Failed", reason, Ended("Failed", reason, exit_code))
    assert f"exit code {exit_code}" in status["message"]
    if tail is not None:
        assert status["attempts"][0]["logTail"] == tail


def test_the_end_of_a_long_log_is_reported(namespace: Namespace) -> None:
    status = namespace.run("talks", **shell("seq 1 5000; exit 1"))
    tail = status["attempts"][0]["logTail"]
    assert tail.endswith("4999\n5000\n")
    assert 200 < len(tail) <= 2048
    assert namespace.log(status["attempts"][0]["podName"]).startswith("1\n2\n"), "the Pod keeps the whole log"


@pytest.mark.parametrize("xcom", [pytest.param({}, id="plainly"), pytest.param({"xcom": {}}, id="with a sidecar")])
def test_a_missing_command_is_a_start_failure(namespace: Namespace, xcom: Fields) -> None:
    status = namespace.run("absent", **{**shell(""), "command": ["/does/not/exist"]}, **xcom)
    check(status, "Failed", "StartFailed", Ended("Failed", "StartFailed", 128, is_started=False))
    assert "/does/not/exist" in status["message"]
    assert "no such file" in status["message"]


def test_a_failing_init_container_is_named(namespace: Namespace) -> None:
    inits = [container("first", "true"), container("second", "echo no database; exit 4"), container("third", "true")]
    status = namespace.run("prepared", **shell("true"), initContainers=inits)
    check(status, "Failed", "InitContainerFailed", Ended("Failed", "InitContainerFailed", is_started=False))
    assert "init container second ended with exit code 4" in status["message"]


# ---- what follows by budget and by rule ----


def test_a_second_attempt_may_succeed(namespace: Namespace) -> None:
    fields = shell("echo attempt $ATTEMPT; test $ATTEMPT = 2 || exit 5", env=ATTEMPT)
    status = namespace.run("twice", **fields, backoffLimit=3, backoff=QUICK_BACKOFF, podRetention="Keep")
    check(status, "Succeeded", "Completed", Ended("Failed", "NonZeroExit", 5), SUCCESS)
    first, second = status["attempts"]
    assert first["podName"] != second["podName"]
    assert (time(second["creationTime"]) - time(first["completionTime"])).total_seconds() >= 1
    assert [namespace.log(a["podName"]) for a in (first, second)] == ["attempt 1\n", "attempt 2\n"]


def test_an_exhausted_backoff_limit_ends_the_task(namespace: Namespace) -> None:
    status = namespace.run("never", **shell("exit 6"), backoffLimit=1, backoff=QUICK_BACKOFF)
    failure = Ended("Failed", "NonZeroExit", 6)
    check(status, "Failed", "BackoffLimitExceeded", failure, failure)
    assert "NonZeroExit" in status["message"]
    assert "exit code 6" in status["message"]


def codes(action: str, *values: int) -> Fields:
    return {"rules": [{"onExitCodes": {"operator": "In", "values": list(values)}, "action": action}]}


def reasons(action: str, *values: str) -> Fields:
    return {"rules": [{"onReasons": {"values": list(values)}, "action": action}]}


RULES = [
    pytest.param("exit 99", codes("Skip", 99), "Skipped", "Skipped", [Ended("Failed", "NonZeroExit", 99)], id="Skip"),
    pytest.param("exit 3", codes("Fail", 3), "Failed", "NonZeroExit", [Ended("Failed", "NonZeroExit", 3)], id="Fail"),
    pytest.param(
        "test $ATTEMPT = 2 || exit 7",
        codes("Retry", 7),
        "Succeeded",
        "Completed",
        [Ended("Failed", "NonZeroExit", 7), SUCCESS],
        id="Retry",
    ),
    pytest.param(
        "test $ATTEMPT = 2 || exit 8",
        codes("Ignore", 8),
        "Succeeded",
        "Completed",
        [Ended("Ignored", "NonZeroExit", 8), SUCCESS],
        id="Ignore",
    ),
    pytest.param(
        "exit 9",
        reasons("Fail", "NonZeroExit"),
        "Failed",
        "NonZeroExit",
        [Ended("Failed", "NonZeroExit", 9)],
        id="a reason",
    ),
]


@pytest.mark.parametrize(("script", "policy", "phase", "reason", "attempts"), RULES)
def test_a_failure_policy_rule_decides_the_outcome(
    namespace: Namespace, script: str, policy: Fields, phase: str, reason: str, attempts: list[Ended]
) -> None:
    status = namespace.run(
        "ruled", **shell(script, env=ATTEMPT), backoffLimit=2, backoff=QUICK_BACKOFF, failurePolicy=policy
    )
    check(status, phase, reason, *attempts)


# ---- other containers ----


@pytest.mark.parametrize(
    "proxy",
    [
        pytest.param("sleep 600", id="one that has to be killed"),
        pytest.param("trap 'exit 1' TERM; sleep 600 & wait", id="one that fails when it is stopped"),
    ],
)
@pytest.mark.parametrize("xcom", [pytest.param({}, id="plainly"), pytest.param({"xcom": {}}, id="with a result")])
def test_an_ordinary_sidecar_is_stopped_without_failing_the_task(
    namespace: Namespace, proxy: str, xcom: Fields
) -> None:
    template = {"spec": {"containers": [container("proxy", proxy)]}}
    fields = shell("sleep 0.5", template=template, terminationGracePeriodSeconds=1)
    status = namespace.run("meshed", **fields, **xcom)
    check(status, "Succeeded", "Completed", SUCCESS)
    pod = namespace.wait_pod(lambda _, p: p["status"]["phase"] in {"Failed", "Succeeded"})
    assert pod["metadata"]["annotations"]["podtask.dev/stop-reason"] == "MainContainerEnded"
    assert "deletionTimestamp" not in pod["metadata"]


def test_an_ordinary_sidecar_that_fails_first_changes_nothing(namespace: Namespace) -> None:
    template = {"spec": {"containers": [container("proxy", "exit 9")]}}
    status = namespace.run("meshed", **shell("sleep 1"), template=template, xcom={})
    check(status, "Succeeded", "Completed", SUCCESS)


@pytest.mark.parametrize(
    ("xcom", "grace", "has_finalizer"),
    [
        pytest.param({}, 120, False, id="nothing without a result"),
        pytest.param({"xcom": {"mode": "Direct"}}, 120, False, id="nothing with Direct"),
        pytest.param({"xcom": {}}, 6, True, id="the sidecar's result, because the kubelet reports when all have ended"),
    ],
)
def test_a_native_sidecar_that_does_not_stop_delays_the_end(
    namespace: Namespace, xcom: Fields, grace: int, has_finalizer: bool
) -> None:
    stubborn = container("stubborn", "trap '' TERM; sleep 600", restartPolicy="Always")
    fields = shell(f"echo 1 > {RESULT}", terminationGracePeriodSeconds=grace, initContainers=[stubborn])
    status = namespace.run("guarded", **(fields if xcom else {**fields, "command": ["true"]}), **xcom)
    check(status, "Succeeded", "Completed", SUCCESS)
    assert status.get("xcom", {}).get("value") == ("1\n" if xcom else None)
    elapsed = time(status["completionTime"]) - time(status["attempts"][0]["completionTime"])
    assert (elapsed.total_seconds() >= grace) is has_finalizer
    if not has_finalizer:  # the sidecar's grace is not waited for
        pod = status["attempts"][0]["podName"]
        namespace.core.delete_namespaced_pod(pod, namespace.name, grace_period_seconds=0)
