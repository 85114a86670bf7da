"""Explicit wins, by name."""

from typing import Any

import pytest

from podtask.core import merge

OVERLAYS: dict[str, tuple[Any, Any, Any]] = {
    "false wins": ({"a": True}, {"a": False}, {"a": False}),
    "0 wins": ({"a": 5}, {"a": 0}, {"a": 0}),
    "an empty text wins": ({"a": "x"}, {"a": ""}, {"a": ""}),
    "an empty list wins": ({"a": [1]}, {"a": []}, {"a": []}),
    "maps are laid over maps": ({"a": {"x": 1, "y": 1}}, {"a": {"y": 2}}, {"a": {"x": 1, "y": 2}}),
    "a map replaces what is none": ({"a": 1}, {"a": {"y": 2}}, {"a": {"y": 2}}),
    "lists are replaced": ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
}


@pytest.mark.parametrize(("base", "over", "want"), OVERLAYS.values(), ids=OVERLAYS)
def test_overlay(base: Any, over: Any, want: Any) -> None:
    before = repr(base)
    assert merge.overlay(base, over) == want
    assert repr(base) == before


def test_by_name_merges_fields_of_one_name_and_appends_new_ones() -> None:
    got = merge.by_name([{"name": "a", "x": 1, "y": 1}, {"name": "b"}], [{"name": "a", "y": False}, {"name": "c"}])
    assert got == [{"name": "a", "x": 1, "y": False}, {"name": "b"}, {"name": "c"}]


def test_replace_by_name_takes_the_last_whole() -> None:
    got = merge.replace_by_name([{"name": "a", "emptyDir": {}}, {"name": "b"}], [{"name": "a", "secret": {}}])
    assert got == [{"name": "a", "secret": {}}, {"name": "b"}]


ENVS = {
    "of duplicates the last wins": ("", "A=1 B=1 A=2", "A=2 B=1"),
    "an empty value wins": ("A=1", "A=", "A="),
    "who refers to a replaced variable still finds it before": ("A=1 B=$(A)", "A=2", "A=2 B=$(A)"),
    "a replacement that refers to others comes after them": ("A=1", "X=1 A=$(X)", "X=1 A=$(X)"),
}


def _env(text: str) -> list[dict[str, str]]:
    return [dict(zip(("name", "value"), part.split("=", 1), strict=True)) for part in text.split()]


@pytest.mark.parametrize(("base", "over", "want"), ENVS.values(), ids=ENVS)
def test_env(base: str, over: str, want: str) -> None:
    assert merge.env(_env(base), _env(over)) == _env(want)
