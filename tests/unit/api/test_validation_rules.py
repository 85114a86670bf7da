"""Which fields may change, and that the table of rules follows the model."""

from typing import Any

import pytest

from podtask.api.v1alpha1 import validation_rules
from podtask.api.v1alpha1.spec import PodTaskSpec
from podtask.api.v1alpha1.validation_rules import MUTABLE, RULES, SCHEDULING
from podtask.core import identity
from tests.crd import judge


def _wire_names() -> set[str]:
    return {field.alias or name for name, field in PodTaskSpec.model_fields.items()}


def _immutable() -> set[str]:
    return {rule.message.partition(" can")[0].split(".")[0] for rule in RULES if rule.is_transition} & _wire_names() - {
        "cancel"
    }


def test_every_field_is_mutable_by_name_or_immutable_by_rule() -> None:
    """A new field comes out immutable; a field that is named mutable exists."""
    assert _wire_names() > MUTABLE
    assert _immutable() == _wire_names() - MUTABLE


def test_the_controller_hashes_what_the_server_keeps() -> None:
    """An edit that the server lets through would end the task as SpecChanged, if the hash covered the field."""
    assert identity.MUTABLE_FIELDS == MUTABLE


def _broken(after: dict[str, Any], before: dict[str, Any]) -> list[str]:
    pair = ({"spec": {"image": "x", **spec}} for spec in (after, before))
    return [found.message for found in judge.violations(*pair)]


@pytest.mark.parametrize("name", sorted(_wire_names() - MUTABLE))
def test_an_immutable_field_can_be_neither_added_nor_removed_nor_changed(name: str) -> None:
    one: Any = {"metadata": {"name": "a"}} if name == "template" else "one"
    two: Any = {"metadata": {"name": "b"}} if name == "template" else "two"
    rules = [rule for rule in RULES if rule.is_transition and rule.message.startswith((f"{name} ", f"{name}."))]
    assert rules
    for before, after in (({}, {name: one}), ({name: one}, {}), ({name: one}, {name: two})):
        found = [rule for rule in rules if judge.broken_at(rule, {"spec": after}, {"spec": before})]
        assert found, (before, after)


@pytest.mark.parametrize("name", sorted(MUTABLE - {"cancel"}))
def test_a_mutable_field_can(name: str) -> None:
    for before, after in (({}, {name: 1}), ({name: 1}, {}), ({name: 1}, {name: 2})):
        assert _broken(after, before) == []


def test_a_rule_over_a_change_needs_a_change() -> None:
    task = {"spec": {"image": "x", "cancel": False}}
    assert judge.violations(task) == []
    assert [found.rule for found in judge.violations(task, {"spec": {"image": "y", "cancel": True}})] == [
        "immutable-image",
        "cancel-one-way",
    ]


def test_a_scheduling_field_is_in_the_model() -> None:
    with pytest.raises(TypeError):
        validation_rules._model_of(str)
    for path in SCHEDULING:
        model: Any = PodTaskSpec
        for step in path[:-1]:
            fields = {field.alias or name: field for name, field in model.model_fields.items()}
            model = validation_rules._model_of(fields[step].annotation)
        assert path[-1] in {field.alias or name for name, field in model.model_fields.items()}
