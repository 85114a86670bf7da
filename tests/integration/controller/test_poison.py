"""Each field of the spec at the maximum size that the CRD allows, in tasks that fail again and again.

The values follow the CRD's own limits, so that a new field is in here by itself. Others go on, the controller meets
nothing that it did not expect, and once the tasks are gone it holds no more than before.
"""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import HANG_SECONDS
from tests.harness.controller import ROOT, Controller
from tests.harness.tasks import PLURAL, TASKS, TERMINAL, Namespace
from tests.integration.controller.kubelet import Kubelet
from tests.integration.controller.test_hostile import check_others_run, submit

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]

Json = Any
MOST_BYTES = 900_000
"""The API server stores objects of up to 1.5 MB, and the Pod that is built from the task has to fit too."""
ATTEMPTS = 4
MEMORY_MIB = 64
"""How much memory may grow by some forty objects of a megabyte, several of which are decoded at once."""


def largest(node: Json, budget: int, name: str = "a") -> Json:
    """Return the largest value that a schema accepts within so many bytes; `name` keeps the entries of a list apart."""
    if "type" not in node:
        return "1Gi"
    if "enum" in node:
        return max(node["enum"], key=len)
    if node["type"] == "array":
        return _entries(node, budget)
    if node["type"] == "object":
        return _fields(node, budget, name)
    if node["type"] == "string":
        is_time = node.get("format") == "date-time"
        return "2099-01-01T00:00:00Z" if is_time else name.rjust(min(node["maxLength"], budget), "a")
    return {"integer": node.get("maximum"), "boolean": True}[node["type"]]


def _entries(node: Json, budget: int) -> Json:
    entries: list[Json] = []
    most = node.get("maxItems", 1)
    share = max(200, budget // max(1, most))
    while len(entries) < most and budget > 0:
        entries.append(largest(node["items"], share, f"a{len(entries)}"))
        budget -= len(json.dumps(entries[-1]))
    return entries


def _fields(node: Json, budget: int, name: str) -> Json:
    values = node.get("additionalProperties")
    if isinstance(values, dict):
        most = min(node.get("maxProperties", 1), 200)
        return {f"a{number}": largest(values, budget // most) for number in range(most)}
    fields = node.get("properties", {})
    return {key: largest(child, budget // len(fields), name) for key, child in fields.items()}


def poisons() -> dict[str, Json]:
    """Return a spec for each field, with that field at its largest, and the least of everything else."""
    crd = yaml.safe_load((ROOT / "crds/podtask.dev_podtasks.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    least = {"image": "i", "backoffLimit": ATTEMPTS - 1, "backoff": {"initialSeconds": 1, "maxSeconds": 1}}
    return {field: least | {field: largest(node, MOST_BYTES)} for field, node in spec["properties"].items()}


def _fails(pod: Json) -> int:
    return 0 if pod["metadata"]["name"].startswith("bystander") else 1


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def _tasks(namespace: Namespace) -> dict[str, Json]:
    listed = namespace.custom.list_namespaced_custom_object(namespace=namespace.name, _preload_content=False, **TASKS)
    return {item["metadata"]["name"]: item for item in json.loads(listed.data)["items"]}


def test_fields_of_maximum_size_end_with_a_reason_and_stop_no_other_task(
    namespace: Namespace, kubeconfig: Path
) -> None:
    with (
        Kubelet(kubeconfig, namespace.name, _fails),
        Controller(
            kubeconfig,
            f"--namespace={namespace.name}",
            "--pod-hold-seconds=1",
            "--policy-max-spec-bytes=",
            without="hold",
        ) as controller,
    ):
        check_others_run(namespace, controller)
        before = _resident_mib(controller.pid)
        made = poisons()
        with ThreadPoolExecutor(4) as pool:
            answers = pool.map(lambda field: submit(namespace, field.lower(), json.dumps(made[field])), made)
            taken = dict(zip(made, answers, strict=True))
        assert sum(taken.values()) >= len(made) // 2, taken
        _run_beside(namespace)
        ends = _wait_ends(namespace)
        sizes = {name: len(json.dumps(task["status"])) for name, task in ends.items()}
        assert max(sizes.values()) < 40_000, sizes
        counts = {name: task["status"].get("attemptCount", 0) for name, task in ends.items() if name not in _FOR_EVER}
        assert max(counts.values()) <= ATTEMPTS, counts
        namespace.custom.delete_collection_namespaced_custom_object(
            namespace=namespace.name, propagation_policy="Background", **TASKS
        )
        while _tasks(namespace):
            time.sleep(0.5)
        namespace.create("last", image="i")
        namespace.wait_finished("last")
        grown = _resident_mib(controller.pid) - before
        wrong = [line for line in controller.lines if "reconcile failed" in line or "Traceback" in line]
        assert not wrong, wrong[:3]
    kept = {task["status"]["reason"] for task in ends.values()}
    print(f"\n{sum(taken.values())} of {len(made)} {PLURAL} taken, ended with {sorted(kept)}; {grown:+.1f} MiB")
    assert grown < MEMORY_MIB


def _run_beside(namespace: Namespace) -> None:
    begun = time.monotonic()
    namespace.create("bystander-beside", image="i")
    assert namespace.wait_finished("bystander-beside")["phase"] == "Succeeded"
    print(f"\nsomebody else's task took {time.monotonic() - begun:.1f} s meanwhile")


def _wait_ends(namespace: Namespace) -> dict[str, Json]:
    """Cancel the tasks that would wait without end (suspended, node selector), and wait until all have finished."""
    deadline = time.monotonic() + 3 * HANG_SECONDS
    cancelled: set[str] = set()
    while True:
        found = {name: task for name, task in _tasks(namespace).items() if "bystander" not in name}
        left = {name: task for name, task in found.items() if task["status"].get("phase") not in TERMINAL}
        # Another controller's tasks are ignored here.
        left = {name: task for name, task in left.items() if task["spec"].get("managedBy") is None}
        if not left:
            return {name: task for name, task in found.items() if task["spec"].get("managedBy") is None}
        assert time.monotonic() < deadline, {name: task["status"] for name, task in left.items()}
        for name, task in left.items():
            if name not in cancelled and _would_never_end(name, task["status"]):
                namespace.patch(name, cancel=True)
                cancelled.add(name)
        time.sleep(0.5)


_FOR_EVER = {"backoff", "backofflimit", "containername"}
"""These may fail for days, and the fake kubelet knows only one container name."""


def _would_never_end(name: str, status: Json) -> bool:
    """Return whether it is suspended, waits for a class that does not exist, or is tried again and again."""
    if status.get("phase") == "Suspended" or status.get("reason") == "ConfigError":
        return True
    return name in _FOR_EVER and status.get("attemptCount", 0) > 0
