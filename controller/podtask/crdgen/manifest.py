"""The CustomResourceDefinition around the schema: names, columns, rules, defaults."""

import itertools
import json
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
    for path, rules in _by_place().items():
        place(schema, path)["x-kubernetes-validations"] = rules
    return schema


def _by_place() -> dict[str, list[Node]]:
    """Write the rules of each place; those over a change of the spec become one.

    The server judges every rule at each write, of the status too, and for each field that a rule reads of an object it
    lists all fields of that object: 46 rules over the 50 fields of `spec` cost three times as much CPU as the rest of
    the request (docs/adr/0005). One rule that asks first whether the spec is as it was costs next to nothing.
    """
    found: dict[str, list[Node]] = {}
    for (path, unchanged), group in itertools.groupby(sorted(RULES, key=_pack), key=_pack):
        rules = list(group)
        written = [_packed(unchanged, rules)] if unchanged else [_validation(rule) for rule in rules]
        found.setdefault(path, []).extend(written)
    return found


def _pack(rule: Rule) -> tuple[str, str]:
    """Say where a rule stands and, for one over a change of the spec, CEL that is true where nothing has changed."""
    if not rule.is_transition or not (rule.path or rule.field).startswith("spec"):
        return rule.path, ""
    part = "" if rule.path else ".spec"
    return rule.path, f"self{part} == oldSelf{part}"


def _packed(unchanged: str, rules: list[Rule]) -> Node:
    """Write many rules as one. Its message is that of the first that is broken."""
    message = "".join(f"!({rule.cel}) ? {json.dumps(rule.message)} : " for rule in rules[:-1])
    return {
        "rule": f"{unchanged} || ({' && '.join(f'({rule.cel})' for rule in rules)})",
        "message": "the spec cannot be changed; create another PodTask instead",
        "messageExpression": message + json.dumps(rules[-1].message),
        "reason": Refusal.FORBIDDEN.value,
    }


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
