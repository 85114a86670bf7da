"""Every example is valid, every invalid one is refused for the reason in its name, and each rule has one."""

from pathlib import Path

import kubernetes_validate
import pytest

from podtask.api.v1alpha1.validation_rules import RULES
from tests.crd import examples, judge, models

IDS = [rule.id for rule in RULES]
CASES = [examples.refused(path) for path in examples.INVALID]
BY_RULE = [case for case in CASES if case.at is None]
BY_SCHEMA = [case for case in CASES if case.at is not None]


HEAD = {"apiVersion": "podtask.dev/v1alpha1", "kind": "PodTask", "metadata": {"name": "any"}}


def _name(value: object) -> str:
    return value.stem if isinstance(value, Path) else value.name  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", examples.VALID, ids=_name)
def test_valid_example(path: Path) -> None:
    for obj in examples.documents(path):
        assert judge.schema_problems(obj) == []
        assert judge.violations(obj) == []
        assert models.problems(obj) == []


def test_what_kubectl_prints_is_valid() -> None:
    """Typed clients write null for a time that is not set."""
    metadata = {"creationTimestamp": None, "labels": {"run": "x"}}
    obj = {**HEAD, "spec": {"image": "a", "template": {"metadata": metadata}}}
    assert judge.schema_problems(obj) == []
    assert judge.violations(obj) == []
    assert models.problems(obj) == []
    fields = examples.object_schema()["properties"]["spec"]["properties"]["template"]["properties"]["metadata"]
    assert metadata.keys() <= fields["properties"].keys(), "or strict validation refuses it"


def test_every_field_is_in_the_full_example() -> None:
    (obj,) = examples.documents(examples.CRDS / "examples" / "every-field.yaml")
    missing = _missing(examples.object_schema()["properties"]["spec"], obj["spec"], "spec")
    # The sidecar's own types stand elsewhere in full.
    assert [
        path
        for path in missing
        if not path.startswith("spec.xcom.sidecar.") and not path.endswith(".restartPolicyRules")
    ] == []


def _missing(schema: examples.Json, value: examples.Json, path: str) -> list[str]:
    if "items" in schema:
        entries = [_missing(schema["items"], entry, f"{path}[]") for entry in value]
        return sorted(set.intersection(*map(set, entries))) if entries else [f"{path}[]"]
    found = []
    for name, child in schema.get("properties", {}).items():
        if name not in value:
            found.append(f"{path}.{name}")
        else:
            found += _missing(child, value[name], f"{path}.{name}")
    return found


@pytest.mark.parametrize("path", examples.VALID, ids=_name)
def test_template_of_valid_example_is_a_pod(path: Path) -> None:
    """Kubernetes' own schema judges what ours passes through, the fields that are merged into it included."""
    for obj in examples.documents(path):
        template = obj["spec"].get("template", {})
        pod = {"containers": [{"name": "base"}]} | template.get("spec", {})
        passed = ("affinity", "tolerations", "volumes", "dnsConfig", "securityContext", "initContainers", "hostAliases")
        pod |= {name: obj["spec"][name] for name in passed if name in obj["spec"]}
        metadata = {"name": "any", "labels": template.get("metadata", {}).get("labels", {})}
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("case", BY_RULE, ids=_name)
def test_example_breaks_its_rule_and_no_other(case: examples.Refused) -> None:
    for obj in filter(None, (case.before, case.after)):
        assert judge.schema_problems(obj) == []
        assert models.problems(obj) == []
    if case.before is not None:
        assert judge.violations(case.before) == []
    after = judge.with_defaults(case.after)
    broken = {violation.rule for violation in judge.violations(after, case.before and judge.with_defaults(case.before))}
    if case.name.endswith("-null") or case.name.endswith("-removed"):
        assert examples.rule_id_of(case.name, IDS) in broken
    else:
        assert broken == {examples.rule_id_of(case.name, IDS)}


@pytest.mark.parametrize("case", BY_SCHEMA, ids=_name)
def test_example_breaks_the_schema(case: examples.Refused) -> None:
    if case.is_unknown_field:
        assert judge.schema_problems(case.after) == []  # pruned, or refused under strict validation: a server's matter
        assert models.problems(case.after) == []
        return
    assert judge.schema_problems(case.after)
    assert case.at is not None
    found = models.problems(case.after)
    assert any(problem.startswith(case.at) for problem in found), found


def test_every_rule_has_an_invalid_example() -> None:
    assert {examples.rule_id_of(case.name, IDS) for case in BY_RULE} == set(IDS)
    assert all(examples.rule_id_of(case.name, IDS) is None for case in BY_SCHEMA)


def test_files_are_named_after_their_object() -> None:
    for path in (*examples.VALID, *examples.INVALID):
        assert path.read_text().startswith("# "), f"{path.name}: begins with a sentence"
    for case in CASES:
        assert case.after["metadata"]["name"] == case.name
