"""What the API server knows of PodTasks: two halves that are written apart, generations, and the rules of the CRD."""

from typing import Any

from pydantic import ValidationError

from podtask.api.v1alpha1.status import PodTaskStatus
from podtask.api.v1alpha1.validation_rules import RULES
from podtask.crdgen.manifest import NEW_STATUS
from podtask.kube import errors
from tests.crd import judge

Object = dict[str, Any]

_OF_STATUS = tuple(rule for rule in RULES if rule.path.startswith("status"))
"""The rules that a write of the status can break: spec cannot change with it."""


class PodTasks:
    """The kind PodTask."""

    def create(self, obj: Object) -> Object:
        """Judge a new task; a status that came with it is dropped, and the schema's default takes its place."""
        new = {key: value for key, value in obj.items() if key != "status"}
        _refuse(judge.violations(new))
        return judge.with_defaults({**new, "status": dict(NEW_STATUS)})

    def update(self, old: Object, new: Object, subresource: str) -> Object:
        """Keep the half that is not asked about, count generations of spec, and judge the change."""
        if subresource == "status":
            return _status_update(old, new)
        new = {**new, "status": old["status"]}
        if new.get("spec") != old.get("spec"):
            new["metadata"] = {**new["metadata"], "generation": old["metadata"]["generation"] + 1}
            _refuse(judge.violations(new, old))
        return new

    def grace(self, obj: Object, asked: int | None) -> int | None:
        """Custom objects know no grace."""
        return None


def _status_update(old: Object, new: Object) -> Object:
    status = new["status"] if "status" in new else dict(NEW_STATUS)
    merged = {**old, "metadata": old["metadata"], "status": status}
    try:
        PodTaskStatus.model_validate(status)
    except ValidationError as error:
        raise errors.Invalid(f"status: {error}", reason="Invalid") from error
    broken = [rule.id for rule in _OF_STATUS if judge.broken_at(rule, merged, old)]
    _refuse(broken)
    return merged


def _refuse(broken: list[Any]) -> None:
    if broken:
        raise errors.Invalid("; ".join(map(str, broken)), reason="Invalid")
