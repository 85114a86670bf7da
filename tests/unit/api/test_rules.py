"""Rules as Python judges them. That CEL says the same is a contract test."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podtask.api.v1alpha1 import rules, rules_change
from podtask.api.v1alpha1.rule import Rule, at, is_same, places
from podtask.api.v1alpha1.spec import PodTaskSpec
from podtask.core import identity

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False) | st.sampled_from(["", "base", "In"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def _wire_names() -> list[str]:
    return [field.alias or name for name, field in PodTaskSpec.model_fields.items()]


NAMES = sorted(
    {step.removesuffix("[]") for rule in rules.RULES for step in rule.path.split(".") if step}
    | {*_wire_names(), "status"}
)
NESTED = st.recursive(JSON, lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=4), max_leaves=8)
MATCHERS = st.fixed_dictionaries(
    dict.fromkeys(("operator", "values", "mode", "path", "maxBytes", "restartPolicy"), JSON)
)


@settings(max_examples=200, deadline=None)
@given(value=st.one_of(NESTED, MATCHERS), before=NESTED)
def test_nothing_of_any_shape_makes_a_rule_fail(value: Any, before: Any) -> None:
    """A wrong type is another's finding; a rule must survive it, since all findings are reported together."""
    for rule in rules.RULES:
        assert rule.holds(value, before) in (True, False)
    rules.violations(value, before)
    rules.violations({"spec": value}, {"spec": before, "status": value})


def test_a_rule_over_a_change_needs_a_change() -> None:
    task = {"spec": {"image": "x", "cancel": False}}
    assert rules.violations(task) == []
    assert [found.rule for found in rules.violations(task, {"spec": {"image": "y", "cancel": True}})] == [
        "immutable-image",
        "cancel-one-way",
    ]


def test_a_violation_shows_its_place() -> None:
    task = {"spec": {"image": "x", "env": [{"name": "A"}, {"name": "B", "value": "b", "valueFrom": {}}]}}
    (found,) = rules.violations(task)
    assert str(found) == "spec.env[1]: set value or valueFrom, not both [env-value-or-source]"
    (found,) = rules.violations({"spec": {"backoff": {"initialSeconds": 2, "maxSeconds": 1}, "image": "x"}})
    assert found.path == "spec.backoff.maxSeconds"


def test_every_field_is_mutable_by_name_or_immutable_by_rule() -> None:
    """A new field comes out immutable; a field that is named mutable exists."""
    assert set(_wire_names()) >= rules_change.MUTABLE
    assert rules_change.MUTABLE == identity.MUTABLE_FIELDS, (
        "an edit that is let through would end the task: SpecChanged"
    )
    guarded = {rule.message.partition(" can")[0].split(".")[0] for rule in rules.RULES if rule.is_transition} - {
        "cancel"
    }
    assert set(_wire_names()) - rules_change.MUTABLE == guarded & set(_wire_names())


@pytest.mark.parametrize("name", [name for name in _wire_names() if name not in rules_change.MUTABLE])
def test_an_immutable_field_can_be_neither_added_nor_removed_nor_changed(name: str) -> None:
    one: Any = {"metadata": {"name": "a"}} if name == "template" else "one"
    two: Any = {"metadata": {"name": "b"}} if name == "template" else "two"
    for before, after in (({}, {name: one}), ({name: one}, {}), ({name: one}, {name: two})):
        found = rules.violations({"spec": {"image": "x", **after}}, {"spec": {"image": "x", **before}})
        assert any(name in violation.message for violation in found), (before, after)


@pytest.mark.parametrize("name", sorted(rules_change.MUTABLE - {"cancel"}))
def test_a_mutable_field_can(name: str) -> None:
    for before, after in (({}, {name: 1}), ({name: 1}, {}), ({name: 1}, {name: 2})):
        assert rules.violations({"spec": {"image": "x", **after}}, {"spec": {"image": "x", **before}}) == []


def test_a_scheduling_field_is_in_the_model() -> None:
    with pytest.raises(TypeError):
        rules_change._model_of(str)
    for path in rules_change.SCHEDULING:
        model: Any = PodTaskSpec
        for step in path[:-1]:
            fields = {field.alias or name: field for name, field in model.model_fields.items()}
            model = rules_change._model_of(fields[step].annotation)
        assert path[-1] in {field.alias or name for name, field in model.model_fields.items()}


SAME: list[tuple[Any, Any, bool]] = [
    ({"a": [1, {"b": True}]}, {"a": [1, {"b": True}]}, True),
    ({"a": True}, {"a": 1}, False),
    ([0], [False], False),
    ({"a": 1}, {"b": 1}, False),
    ([1], [1, 1], False),
    (1, 1.0, True),
    (None, None, True),
    ("1", 1, False),
]


@pytest.mark.parametrize(("one", "other", "want"), SAME)
def test_sameness_is_jsons(one: Any, other: Any, want: bool) -> None:
    assert is_same(one, other) is want


def _standing_at(path: str, of: type[dict[str, Any]] | type[str] = dict) -> Rule:
    return Rule(id="any", path=path, of=of, cel="true", message="", holds=lambda _now, _old: True)


def test_places() -> None:
    obj = {"spec": {"rules": [{"match": {"x": 1}}, {"match": None}, 5, {"match": {"x": 2}}, {"match": "x"}]}}
    assert list(places(obj, _standing_at("spec.rules[].match"))) == [
        ("spec.rules[0].match", {"x": 1}),
        ("spec.rules[3].match", {"x": 2}),
    ]
    assert list(places(obj, _standing_at("spec.rules[].match", str))) == [("spec.rules[4].match", "x")]
    assert list(places(obj, _standing_at(""))) == [("", obj)]
    assert list(places({"spec": {"rules": 5}}, _standing_at("spec.rules[].match"))) == []
    assert at(obj, "spec", "rules", "x") is None
