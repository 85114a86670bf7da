"""The CustomResourceDefinition around the schema: names, columns, rules, defaults."""

from typing import Any

from ..api import names
from ..api.v1alpha1.resource import PodTask
from ..api.v1alpha1.rule import Refusal, Rule
from ..api.v1alpha1.rules import RULES
from ..api.v1alpha1.spec import PodTaskSpec
from ..api.v1alpha1.status import Phase, PodTaskStatus
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
    # A new object shows and selects as Pending without any write, even while no controller runs.
    status |= {"description": _described("status"), "default": {"phase": Phase.PENDING.value}}
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
    for rule in RULES:
        place(schema, rule.path).setdefault("x-kubernetes-validations", []).append(_validation(rule))
    return schema


def place(schema: Node, path: str) -> Node:
    """Return the node of a schema that a rule's path names."""
    for step in filter(None, path.split(".")):
        schema = schema["properties"][step.removesuffix("[]")]
        if step.endswith("[]"):
            schema = schema["items"]
    return schema


def _validation(rule: Rule) -> Node:
    out: Node = {"rule": rule.cel, "message": rule.message}
    if rule.field:
        out["fieldPath"] = f".{rule.field}"
    if rule.refusal is not Refusal.INVALID:
        out["reason"] = rule.refusal.value
    return out


def _described(field: str) -> str:
    return PodTask.model_fields[field].description or ""
