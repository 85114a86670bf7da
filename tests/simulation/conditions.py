"""Conditions on Pods, as the scheduler, the kubelet and the controllers of nodes set them."""

from .etcd import Key
from .model import Server, stamp


def mark(server: Server, key: Key, uid: str, kind: str, status: str, reason: str, message: str) -> None:
    """Set a condition on a Pod."""
    pod = server.etcd.get(key)
    if pod is None or pod["metadata"]["uid"] != uid:
        return
    new = {"type": kind, "status": status, "reason": reason, "message": message}
    new["lastTransitionTime"] = stamp(server.now())
    others = [c for c in pod["status"].get("conditions", []) if c["type"] != kind]
    server.update(key, {**pod, "status": {**pod["status"], "conditions": [*others, new]}}, "status")
