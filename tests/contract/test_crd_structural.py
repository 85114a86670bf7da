"""The committed CRD is structural, bounded, described, well formed and small."""

import copy
import json
import sys
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import msgspec
import pytest

from podtask.api import names
from podtask.core import snapshot
from tests.crd import examples, lint

BUDGET_BYTES = 100_000
LAST_APPLIED_BYTES = 262_144
"""The most that `kubectl apply` without --server-side can write into its annotation, counted as JSON."""

CRD = examples.definition()
SCHEMA = examples.object_schema()


def test_the_schema_is_structural_and_bounded() -> None:
    assert lint.problems(SCHEMA) == []


def _at(path: str) -> Callable[[Any], Any]:
    def walk(schema: Any) -> Any:
        for step in path.split("."):
            schema = schema["items"] if step == "[]" else schema["properties"][step]
        return schema

    return walk


SPOILT: dict[str, tuple[str, Callable[[Any], object]]] = {
    "a string without a maximum": ("spec.image", lambda node: node.pop("maxLength")),
    "a list without a maximum": ("spec.args", lambda node: node.pop("maxItems")),
    "a map without a maximum": ("spec.nodeSelector", lambda node: node.pop("maxProperties")),
    "an integer without a width": ("spec.backoffLimit", lambda node: node.pop("format")),
    "an integer beyond its width": ("spec.backoffLimit", lambda node: node.update(maximum=2**31)),
    "a float": ("spec.backoffLimit", lambda node: node.update(type="number")),
    "no type": ("spec.image", lambda node: node.pop("type")),
    "null": ("spec.image", lambda node: node.update(nullable=True)),
    "a default of a list": ("spec.args", lambda node: node.update(default=[])),
    "a default of an object": ("spec.xcom", lambda node: node.update(default={})),
    "a default out of bounds": ("spec.backoffLimit", lambda node: node.update(default=1001)),
    "a default that is none of the values": ("spec.podRetention", lambda node: node.update(default="Archive")),
    "a reference": ("spec.xcom", lambda node: node.update({"$ref": "#/x"})),
    "anyOf": ("spec.image", lambda node: node.update(anyOf=[])),
    "no description": ("spec.xcom.path", lambda node: node.pop("description")),
    "a description that is no sentence": ("spec.xcom.path", lambda node: node.update(description="path of the file")),
    "a description that repeats the name": ("spec.xcom", lambda node: node.update(description="xcom is the result.")),
    "a description without a full stop": ("spec.xcom.path", lambda node: node.update(description="Path of the file")),
    "a description that refers to a file": (
        "spec.xcom.path",
        lambda node: node.update(description="Path of the file, see docs/concepts.md."),
    ),
    "two defaults": ("spec.xcom.path", lambda node: node.update(description="Path. Default: /a/b. Default: /a/c.")),
    "an optional key of a map-list": ("status.attempts.[]", lambda node: node.update(required=["podName"])),
    "a map that keeps unknown fields": (
        "spec.nodeSelector",
        lambda node: node.update({"x-kubernetes-preserve-unknown-fields": True}),
    ),
    "an amount of any type": (
        "spec.resources.limits",
        lambda node: node["additionalProperties"].pop("not"),
    ),
    "an amount that is not structural": (
        "spec.resources.limits",
        lambda node: node["additionalProperties"].pop("x-kubernetes-preserve-unknown-fields"),
    ),
    "unknown fields nowhere declared": ("spec.affinity", lambda node: node.pop("x-kubernetes-preserve-unknown-fields")),
    "closed for further fields": ("spec.xcom", lambda node: node.update(additionalProperties=False)),
    "uniqueItems": ("spec.args", lambda node: node.update(uniqueItems=True)),
}


@pytest.mark.parametrize("case", SPOILT)
def test_the_lint_sees(case: str) -> None:
    path, spoil = SPOILT[case]
    schema = copy.deepcopy(SCHEMA)
    spoil(_at(path)(schema))
    assert lint.problems(schema)


def test_the_envelope_is_well_formed() -> None:
    kubernetes_validate.validate(CRD, kubernetes_validate.latest_version(), strict=True)
    kubernetes_validate.validate(CRD, "1.31", strict=True)
    old = copy.deepcopy(CRD)
    del old["spec"]["versions"][0]["selectableFields"]  # the one thing that is newer than 1.29, which ignores it
    kubernetes_validate.validate(old, "1.29", strict=True)


def test_names_and_columns() -> None:
    spec = CRD["spec"]
    version = spec["versions"][0]
    assert CRD["metadata"]["name"] == f"{names.PLURAL}.{names.GROUP}"
    assert spec["scope"] == "Namespaced"
    assert spec["names"]["categories"] == ["podtask-all"]
    assert not {*spec["names"]["categories"]} & {"all", spec["names"]["singular"], spec["names"]["plural"]}
    assert version["subresources"] == {"status": {}}
    assert version["selectableFields"] == [{"jsonPath": ".status.phase"}]
    narrow = [column["name"] for column in version["additionalPrinterColumns"] if not column.get("priority")]
    assert narrow == ["Phase", "Reason", "Attempts", "Exit", "Age"]


def test_the_pod_template_keeps_unknown_fields_on_each_level() -> None:
    spec = SCHEMA["properties"]["spec"]["properties"]["template"]["properties"]["spec"]
    levels = [spec, spec["properties"]["containers"]["items"], spec["properties"]["initContainers"]["items"]]
    assert all(level["x-kubernetes-preserve-unknown-fields"] for level in levels)


DEFAULTS = {
    "spec.backoff.factor": 2,
    "spec.backoff.initialSeconds": 10,
    "spec.backoff.maxSeconds": 360,
    "spec.backoffLimit": 0,
    "spec.disruptionLimit": 3,
    "spec.failurePolicy.rules[].onPodConditions[].status": "True",
    "spec.podRetention": "Delete",
}
"""None of these is merged over a template, where an explicit value differs from a default."""


def _defaults(node: Any, path: str) -> dict[str, Any]:
    found = {path: node["default"]} if "default" in node else {}
    for name, child in node.get("properties", {}).items():
        found |= _defaults(child, f"{path}.{name}")
    return found | (_defaults(node["items"], f"{path}[]") if "items" in node else {})


def test_what_the_server_writes_into_the_object() -> None:
    assert _defaults(SCHEMA["properties"]["spec"], "spec") == DEFAULTS
    assert SCHEMA["properties"]["status"]["default"] == {"phase": "Pending", "observedGeneration": 0}


def _view(path: str) -> Any:
    """What the controller takes for the default of a field."""
    view: Any = {
        "spec.backoff": snapshot.BackoffSpec,
        "spec.failurePolicy.rules[].onPodConditions[]": snapshot.PodConditionSpec,
        "spec": snapshot.TaskSpec,
    }[path.rpartition(".")[0]]
    (field,) = [field for field in msgspec.structs.fields(view) if field.encode_name == path.rpartition(".")[2]]
    return field.default


@pytest.mark.parametrize("path", DEFAULTS)
def test_the_controller_has_the_same_default_for_objects_without(path: str) -> None:
    assert _view(path) == DEFAULTS[path]


@pytest.mark.parametrize("path", DEFAULTS)
def test_a_default_is_in_the_description_too(path: str) -> None:
    node: Any = SCHEMA
    for step in path.split("."):
        node = node["properties"][step.removesuffix("[]")]
        node = node["items"] if step.endswith("[]") else node
    assert f"Default: {node['default']}." in node["description"]


METAV1_CONDITION: dict[str, Any] = {
    "type": {
        "type": "string",
        "maxLength": 316,
        "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
        r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
    },
    "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
    "reason": {
        "type": "string",
        "minLength": 1,
        "maxLength": 1024,
        "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
    },
    "message": {"type": "string", "maxLength": 32768},
    "lastTransitionTime": {"type": "string", "format": "date-time"},
    "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
}
"""The limits of metav1.Condition, as its markers for controller-gen state them."""


def test_a_condition_is_metav1s() -> None:
    node = SCHEMA["properties"]["status"]["properties"]["conditions"]
    assert (node["x-kubernetes-list-type"], node["x-kubernetes-list-map-keys"]) == ("map", ["type"])
    fields = node["items"]["properties"]
    assert {name: {k: v for k, v in field.items() if k != "description"} for name, field in fields.items()} == (
        METAV1_CONDITION
    )
    assert sorted(node["items"]["required"]) == sorted(METAV1_CONDITION.keys() - {"observedGeneration"})


def test_the_crd_stays_small(record_property: Callable[[str, object], None]) -> None:
    as_yaml = (examples.CRDS / "podtask.dev_podtasks.yaml").stat().st_size
    as_json = len(json.dumps(CRD, separators=(",", ":")).encode())
    sys.stderr.write(f"CRD: {as_yaml} bytes of YAML, {as_json} of JSON\n")  # shown by pytest -rP
    record_property("crd_yaml_bytes", as_yaml)
    assert as_yaml < BUDGET_BYTES
    assert as_json < LAST_APPLIED_BYTES
