"""The smallest JSON merge patch between two objects."""

from podtask.kube.merge_patch import json_merge_patch


def test_a_field_that_is_gone_becomes_null() -> None:
    assert json_merge_patch({"a": 1}, {"a": 1, "b": 2}) == {"b": None}


def test_a_field_that_is_gone_from_a_nested_object_becomes_null() -> None:
    """The API server merges objects at every depth, so a key that the patch does not name would stay."""
    before = {"xcom": {"state": "Lost", "reason": "XComLost", "same": {"a": 1}}, "list": [1]}
    after = {"xcom": {"state": "Collected", "same": {"a": 1}}, "list": [2]}
    assert json_merge_patch(after, before) == {"xcom": {"state": "Collected", "reason": None}, "list": [2]}
