"""One line for each write of a life, for people who want to know why a seed failed."""

from .etcd import Change, Object


def describe(change: Change) -> str:
    """Say what a write left behind."""
    obj = change.after or change.before or {}
    head = f"  {change.key[0]}/{change.key[2]} v{change.version}"
    if change.after is None:
        return f"{head} GONE"
    marks = _metadata(obj["metadata"])
    marks += _pod(obj) if change.key[0] == "pods" else _task(obj)
    return " ".join([head, *(mark for mark in marks if mark)])


def _metadata(meta: Object) -> list[str]:
    going = f"deleting({meta['deletionGracePeriodSeconds']})" if "deletionTimestamp" in meta else ""
    return [going, "held" if meta.get("finalizers") else ""]


def _pod(pod: Object) -> list[str]:
    status = pod["status"]
    listed = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    states = ["{}={}".format(c["name"], _state(c["state"])) for c in listed]
    conditions = [c["reason"] for c in status.get("conditions", []) if c.get("reason")]
    return [pod["spec"].get("nodeName", "unbound"), status["phase"], status.get("reason", ""), *states, *conditions]


def _state(state: Object) -> str:
    kind, about = next(iter(state.items()))
    return f"exit{about['exitCode']}" if kind == "terminated" else kind if kind == "running" else about["reason"]


def _task(task: Object) -> list[str]:
    spec, status = task["spec"], task.get("status", {})
    wishes = [name for name in ("cancel", "suspend") if spec.get(name)]
    counts = "/".join(str(status.get(name, 0)) for name in ("attemptCount", "failureCount", "disruptionCount"))
    attempts = [f"{a['number']}:{a.get('outcome', 'live')}({a.get('reason', '')})" for a in status.get("attempts", [])]
    return [*wishes, status.get("phase", "new"), status.get("reason", ""), counts, *attempts]
