"""The committed CRD is structural, bounded, described, well formed and small."""

import copy
import json
import sys
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

from podtask.api import names
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
    "a default in spec": ("spec.image", lambda node: node.update(default="x")),
    "a reference": ("spec.xcom", lambda node: node.update({"$ref": "#/x"})),
    "anyOf": ("spec.image", lambda node: node.update(anyOf=[])),
    "no description": ("spec.xcom.path", lambda node: node.pop("description")),
    "a description that is no sentence": ("spec.xcom.path", lambda node: node.update(description="path of the file")),
    "a description that repeats the name": ("spec.xcom", lambda node: node.update(description="xcom is the result.")),
    "a description without a full stop": ("spec.xcom.path", lambda node: node.update(description="Path of the file")),
    "a description that refers to a file": (
        "spec.xcom.path",
        lambda node: node.update(description="Path of the file, see docs/api.md."),
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
    assert "categories" not in spec["names"]
    assert version["subresources"] == {"status": {}}
    assert version["selectableFields"] == [{"jsonPath": ".status.phase"}]
    narrow = [column["name"] for column in version["additionalPrinterColumns"] if not column.get("priority")]
    assert narrow == ["Phase", "Reason", "Attempts", "Exit", "Age"]


def test_the_pod_template_keeps_unknown_fields_on_each_level() -> None:
    spec = SCHEMA["properties"]["spec"]["properties"]["template"]["properties"]["spec"]
    levels = [spec, spec["properties"]["containers"]["items"], spec["properties"]["initContainers"]["items"]]
    assert all(level["x-kubernetes-preserve-unknown-fields"] for level in levels)


def test_every_field_of_spec_is_free_of_defaults() -> None:
    assert '"default"' not in json.dumps(SCHEMA["properties"]["spec"])
    assert SCHEMA["properties"]["status"]["default"] == {"phase": "Pending"}


def test_the_crd_stays_small(record_property: Callable[[str, object], None]) -> None:
    as_yaml = (examples.CRDS / "podtask.dev_podtasks.yaml").stat().st_size
    as_json = len(json.dumps(CRD, separators=(",", ":")).encode())
    sys.stderr.write(f"CRD: {as_yaml} bytes of YAML, {as_json} of JSON\n")  # shown by pytest -rP
    record_property("crd_yaml_bytes", as_yaml)
    assert as_yaml < BUDGET_BYTES
    assert as_json < LAST_APPLIED_BYTES
