"""Builds the CustomResourceDefinition: names, printer columns, schema, validation rules."""

import json
import re
from typing import Any

from ..api import names
from ..api.v1alpha1.resource import PodTask
from ..api.v1alpha1.spec import PodTaskSpec
from ..api.v1alpha1.status import PodTaskStatus
from ..api.v1alpha1.validation_rules import RULES, ErrorReason, ValidationRule
from ..api.v1alpha1.values import Phase
from .schema import Node, structural

COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {"name": "Reason", "type": "string", "jsonPath": ".status.reason"},
    {"name": "Attempts", "type": "integer", "jsonPath": ".status.attemptCount"},
    {"name": "Exit", "type": "integer", "jsonPath": ".status.exitCode"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Pod", "type": "string", "jsonPath": ".status.attempts[-1:].podName", "priority": 1},
    {"name": "Node", "type": "string", "jsonPath": ".status.attempts[-1:].nodeName", "priority": 1},
    {"name": "Dag", "type": "string", "jsonPath": r".metadata.annotations.podtask\.dev/dag-id", "priority": 1},
    {"name": "Task", "type": "string", "jsonPath": r".metadata.annotations.podtask\.dev/task-id", "priority": 1},
)

NEW_STATUS: Node = {"phase": Phase.PENDING.value, "observedGeneration": 0}
"""The status of a new object, without a write and also while no controller runs.

Field selectors and columns see the phase. Generation 0 says that no controller has acted on the object: kstatus (helm,
Flux) waits until its generation is observed, and takes an object without the field for ready.
"""


def definition() -> Node:
    """Return the CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
                "categories": [names.CATEGORY],
            },
            "scope": "Namespaced",
            "versions": [_version()],
        },
    }


def _version() -> Node:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "selectableFields": [{"jsonPath": ".status.phase"}],
        "additionalPrinterColumns": [dict(column) for column in COLUMNS],
        "schema": {"openAPIV3Schema": object_schema()},
    }


def object_schema() -> Node:
    """Return the schema of a whole PodTask, with its rules."""
    spec, status = structural(PodTaskSpec), structural(PodTaskStatus)
    spec["description"] = _described("spec")
    status |= {"description": _described("status"), "default": NEW_STATUS}
    schema: Node = {
        "type": "object",
        "description": " ".join((PodTask.__doc__ or "").split()),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": _described("api_version")},
            "kind": {"type": "string", "description": _described("kind")},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    for path, rules in _by_path().items():
        schema_at(schema, path)["x-kubernetes-validations"] = rules
    return schema


def _by_path() -> dict[str, list[Node]]:
    """Return the validations by path. Rules over the whole spec are on the object, behind a guard.

    The server evaluates every rule at each write, also of the status, and for each field that a rule reads of an object
    it copies the schema of all fields of that object: rules over the 50 fields of `spec` cost more than the rest of the
    request (docs/design/0005). The guards read two small fields of the status, from which follows that the spec cannot
    have changed.
    """
    found: dict[str, list[Node]] = {}
    whole = [rule for rule in RULES if _is_over_spec(rule)]
    for rule in RULES:
        if rule not in whole:
            found.setdefault(rule.path, []).append(_validation(rule))
    found.setdefault("", []).extend([_create_only_rule(whole), _combined_transition_rule(whole)])
    return found


def _is_over_spec(rule: ValidationRule) -> bool:
    return rule.path == "spec" or (not rule.path and rule.field == "spec")


def _on_object(rule: ValidationRule) -> str:
    """Return the CEL of a rule over the spec with `self` as the object."""
    return re.sub(r"\b(self|oldSelf)\b", r"\1.spec", rule.cel) if rule.path else rule.cel


_BEGUN = f"has(self.status) && self.status.phase != '{Phase.PENDING.value}'"
"""A new object has no status, or the default one."""

_IS_STATUS_WRITE = "self.status.phase != oldSelf.status.phase"
"""One write changes either the spec or the status, never both (status subresource)."""


def _create_only_rule(rules: list[ValidationRule]) -> Node:
    """Return what a spec must be until the task has begun; later changes fall to `_combined_transition_rule`."""
    return _combined(
        _BEGUN, [rule for rule in rules if not rule.is_transition], "the spec is invalid", ErrorReason.INVALID
    )


def _combined_transition_rule(rules: list[ValidationRule]) -> Node:
    """Return what a changed spec must keep, and be."""
    ordered = sorted(rules, key=lambda rule: not rule.is_transition)
    message = "the spec cannot be changed; create another PodTask instead"
    return _combined(f"{_IS_STATUS_WRITE} || self.spec == oldSelf.spec", ordered, message, ErrorReason.FORBIDDEN)


def _combined(guard: str, rules: list[ValidationRule], message: str, reason: ErrorReason) -> Node:
    """Combine rules over the spec into one behind a guard. Its message is that of the first part that is broken."""
    parts = " && ".join(f"({_on_object(rule)})" for rule in rules)
    messages = "".join(f"!({_on_object(rule)}) ? {json.dumps(rule.message)} : " for rule in rules[:-1])
    return {
        "rule": f"{guard} || ({parts})",
        "message": message,
        "messageExpression": messages + json.dumps(rules[-1].message),
        "fieldPath": ".spec",
        "reason": reason.value,
    }


def schema_at(schema: Node, path: str) -> Node:
    """Return the node of a schema at the path of a rule."""
    for step in filter(None, path.split(".")):
        schema = schema["properties"][step.removesuffix("[]")]
        if step.endswith("[]"):
            schema = schema["items"]
    return schema


def _validation(rule: ValidationRule) -> Node:
    out: Node = {"rule": rule.cel, "message": rule.message}
    if rule.field:
        out["fieldPath"] = f".{rule.field}"
    if rule.reason is not ErrorReason.INVALID:
        out["reason"] = rule.reason.value
    return out


def _described(field: str) -> str:
    return PodTask.model_fields[field].description or ""
