"""The end of a life, judged: every task is over, everything is tidied away, and the status tells what really happened."""

from .etcd import Change
from .draws import Script
from .faults import Faults
from .laws import Laws
from .model import Server
from .truth import Truth


def judge(laws: Laws, server: Server, truth: Truth, script: Script, faults: Faults, uids: dict[str, str]) -> None:
    for obj in server.etcd.scan("podtasks"):
        phase = obj.get("status", {}).get("phase")
        if phase not in {"Succeeded", "Failed", "Cancelled", "Skipped"}:
            laws.breach(f"{obj['metadata']['name']} never ended: {phase} {obj.get('status',{}).get('reason')}")
    for obj in server.etcd.scan("pods"):
        if obj["metadata"].get("finalizers"):
            laws.breach(f"Pod {obj['metadata']['name']} was never let go")


def describe_change(change: Change) -> str:
    obj = change.after or change.before
    assert obj is not None
    meta = obj["metadata"]
    head = f"  {change.key[0]}/{change.key[2]} v{change.version}"
    if change.after is None:
        return f"{head} GONE"
    status = obj.get("status", {})
    marks = []
    if "deletionTimestamp" in meta:
        marks.append(f"deleting grace={meta['deletionGracePeriodSeconds']}")
    if meta.get("finalizers"):
        marks.append("held")
    if change.key[0] == "pods":
        states = {
            s["name"]: "/".join(
                f"{k}{v.get('exitCode', '')}{v.get('reason', '')}" for k, v in s["state"].items()
            )
            for s in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
        }
        marks += [obj["spec"].get("nodeName", "unbound"), status.get("phase", ""), status.get("reason", ""), str(states)]
    else:
        spec = obj["spec"]
        marks += [f"spec.{k}" for k in ("cancel", "suspend") if spec.get(k)]
        marks += [str({k: status.get(k) for k in ("phase", "reason", "attemptCount", "failureCount", "disruptionCount") if status.get(k)})]
        marks += [f"{a['number']}:{a.get('outcome','live')}/{a.get('reason','')}" for a in status.get("attempts", [])]
    return " ".join([head, *marks])
