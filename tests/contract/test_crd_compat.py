"""The current CRD takes everything that a released one took. Until the first release, the checker itself is tested."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.crd import compat, examples

RELEASED = sorted((examples.CRDS / "released").glob("*.yaml"))
Fields = dict[str, Any]


NO_RELEASE = pytest.param(None, marks=pytest.mark.skip(reason="no CRD was released yet"), id="none")


@pytest.mark.parametrize("path", RELEASED or [NO_RELEASE])
def test_compatible_with_every_release(path: Path) -> None:
    assert compat.breaks(examples.documents(path)[0], examples.definition()) == []


def test_compatible_with_itself() -> None:
    assert compat.breaks(examples.definition(), examples.definition()) == []


def _spec(crd: Any) -> Fields:
    fields: Fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return fields


def _version(crd: Any) -> Fields:
    version: Fields = crd["spec"]["versions"][0]
    return version


BREAKING: dict[str, Callable[[Any], object]] = {
    "removed": lambda crd: _spec(crd).pop("image"),
    "removed ": lambda crd: _spec(crd)["xcom"]["properties"].pop("path"),
    "type string became integer": lambda crd: _spec(crd)["image"].update(type="integer"),
    "maxLength was lowered": lambda crd: _spec(crd)["image"].update(maxLength=10),
    "maxItems was lowered": lambda crd: _spec(crd)["args"].update(maxItems=10),
    "maxProperties was lowered": lambda crd: _spec(crd)["nodeSelector"].update(maxProperties=1),
    "maximum was lowered": lambda crd: _spec(crd)["backoffLimit"].update(maximum=1),
    "minimum was raised": lambda crd: _spec(crd)["backoffLimit"].update(minimum=1),
    "minItems was raised": lambda crd: _spec(crd)["args"].update(minItems=1),
    "newly required": lambda crd: _spec(crd)["env"]["items"].update(required=["name", "value"]),
    "the enum was narrowed": lambda crd: _spec(crd)["podRetention"]["enum"].remove("Keep"),
    "the enum was narrowed ": lambda crd: _spec(crd)["dnsPolicy"].update(enum=["None"]),
    "pattern has changed": lambda crd: _spec(crd)["image"].update(pattern="^a"),
    "format has changed": lambda crd: _spec(crd)["cancelTime"].pop("format"),
    "unknown fields are no longer kept": lambda crd: _spec(crd)["affinity"].pop("x-kubernetes-preserve-unknown-fields"),
    "x-kubernetes-list-type has changed": lambda crd: _spec(crd)["env"].update({"x-kubernetes-list-type": "map"}),
    "selectable field .status.phase is gone": lambda crd: _version(crd).pop("selectableFields"),
    "subresource status is gone": lambda crd: _version(crd).pop("subresources"),
    "version v1alpha1 is gone": lambda crd: _version(crd).update(name="v1"),
    "version v1alpha1 is gone ": lambda crd: _version(crd).update(served=False),
    "short name pt is gone": lambda crd: crd["spec"]["names"].pop("shortNames"),
    "category podtask-all is gone": lambda crd: crd["spec"]["names"].pop("categories"),
    "group has changed": lambda crd: crd["spec"].update(group="example.com"),
    "names.kind has changed": lambda crd: crd["spec"]["names"].update(kind="Task"),
    "backoffLimit: the default has changed": lambda crd: _spec(crd)["backoffLimit"].update(default=1),
    "hostNetwork: the default has changed": lambda crd: _spec(crd)["hostNetwork"].update(default=False),
    "a new field with a default": lambda crd: _spec(crd).update(extra={"type": "boolean", "default": False}),
    "the default has changed": lambda crd: _version(crd)["schema"]["openAPIV3Schema"]["properties"]["status"].pop(
        "default"
    ),
}


@pytest.mark.parametrize("want", BREAKING)
def test_the_checker_refuses(want: str) -> None:
    changed = copy.deepcopy(examples.definition())
    BREAKING[want](changed)
    got = compat.breaks(examples.definition(), changed)
    assert len(got) == 1
    assert want.strip() in got[0]


GROWING: dict[str, Callable[[Any], object]] = {
    "a new field": lambda crd: _spec(crd).update(extra={"type": "string", "maxLength": 1}),
    "a higher maximum": lambda crd: _spec(crd)["image"].update(maxLength=4096),
    "a further value": lambda crd: _spec(crd)["podRetention"]["enum"].append("Archive"),
    "no longer required": lambda crd: _spec(crd)["env"]["items"].pop("required"),
    "no pattern": lambda crd: _spec(crd)["containerName"].pop("pattern"),
    "other words": lambda crd: _spec(crd)["image"].update(description="image, in other words"),
    "a wider integer": lambda crd: _spec(crd)["backoffLimit"].update(format="int64", maximum=2**40),
}


@pytest.mark.parametrize("case", GROWING)
def test_the_checker_accepts(case: str) -> None:
    changed = copy.deepcopy(examples.definition())
    GROWING[case](changed)
    assert compat.breaks(examples.definition(), changed) == []
