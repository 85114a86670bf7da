"""What the API server knows of Pods: defaults, the few fields that may change, and how long a DELETE takes."""

from typing import Any

from podtask.kube import errors

Object = dict[str, Any]

_TERMINAL = {"Succeeded", "Failed"}


class Pods:
    """The kind Pod."""

    def create(self, obj: Object) -> Object:
        """Complete a new Pod. It is Pending, whatever it says."""
        spec = obj.get("spec", {})
        if not spec.get("containers"):
            raise errors.Invalid("spec.containers: Required value", reason="Invalid")
        names = [c["name"] for c in [*spec["containers"], *spec.get("initContainers", [])]]
        if len(set(names)) < len(names):
            raise errors.Invalid("spec.containers: Duplicate value", reason="Invalid")
        spec = {"terminationGracePeriodSeconds": 30, "restartPolicy": "Always", **spec}
        return {**obj, "spec": spec, "status": {"phase": "Pending"}}

    def update(self, old: Object, new: Object, subresource: str) -> Object:
        """Keep the half that is not asked about; of a Pod's spec only the deadline and the gates may change."""
        if subresource == "status":
            return {**new, "spec": old["spec"]}
        before, after = old["spec"], new["spec"]
        changed = {k for k in {*before, *after} if before.get(k) != after.get(k)}
        if changed - {"activeDeadlineSeconds", "schedulingGates"}:
            raise errors.Invalid("spec: Forbidden: pod updates may not change fields other than …", reason="Invalid")
        if "activeDeadlineSeconds" in changed:
            _check_deadline(before.get("activeDeadlineSeconds"), after.get("activeDeadlineSeconds"))
        meta = new["metadata"]
        if changed:
            meta = {**meta, "generation": meta["generation"] + 1}
        return {**new, "metadata": meta, "status": old["status"]}

    def grace(self, obj: Object, asked: int | None) -> int | None:
        """Nothing runs of a Pod that has no node or has ended, so nothing is waited for."""
        if not obj["spec"].get("nodeName") or obj["status"].get("phase") in _TERMINAL:
            return 0
        grace: int = obj["spec"]["terminationGracePeriodSeconds"] if asked is None else asked
        return grace


def _check_deadline(before: int | None, after: int | None) -> None:
    if after is None or after < 1 or (before is not None and after > before):
        raise errors.Invalid("spec.activeDeadlineSeconds: Invalid value", reason="Invalid")
