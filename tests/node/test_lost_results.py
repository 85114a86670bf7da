"""Lost results of tasks that succeeded: each loss has a reason, and the task is not run again."""

from tests.harness.programs import PYTHON, RESULT, container, python, shell
from tests.harness.story import Ended, check
from tests.harness.tasks import Namespace

STUBBORN_SIDECAR = container("stubborn", "trap '' TERM; sleep 600", restartPolicy="Always")


def test_a_force_deleted_pod_loses_its_result(namespace: Namespace) -> None:
    fields = shell(f"echo 1 > {RESULT}", terminationGracePeriodSeconds=60, initContainers=[STUBBORN_SIDECAR], xcom={})
    namespace.create("forced", **fields, backoffLimit=3)
    reported = namespace.wait("forced", lambda t: t["status"].get("reason") == "CollectingResult")["status"]
    namespace.core.delete_namespaced_pod(reported["attempts"][0]["podName"], namespace.name, grace_period_seconds=0)
    status = namespace.wait_finished("forced")
    check(status, "Failed", "XComLost", Ended("NoResult", "XComLost", 0))
    assert "before its result could be read" in status["message"]


KILLER = """
import os, time
def running(word):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(pid) != os.getpid() and word in open(f"/proc/{pid}/cmdline").read():
                yield int(pid)
        except OSError:
            pass
while not any(running("the-" + "task")): time.sleep(0.02)
while any(running("the-" + "task")): time.sleep(0.02)
for pid in running("--max-" + "bytes"): os.kill(pid, 9)
"""
"""Kills the result sidecar after the task has ended, and exits."""


def test_a_killed_sidecar_is_reported(namespace: Namespace) -> None:
    killer = {"name": "killer", "image": PYTHON, "command": ["python3", "-c", KILLER]}
    template = {"spec": {"shareProcessNamespace": True, "containers": [killer]}}
    fields = python("import time; time.sleep(2)  # the-task", template=template)
    status = namespace.run("robbed", **fields, xcom={}, backoffLimit=3)
    check(status, "Failed", "XComSidecarFailed", Ended("NoResult", "XComSidecarFailed", 0))
    assert "exit code 137" in status["message"]
