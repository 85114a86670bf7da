"""Explicit wins, by name."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    "a list of its own stays as it is, the last wins": ("", "A=1 B=1 A=2", "A=1 B=1 A=2"),
    "one that extends itself, in one list": ("", "A=1 A=$(A)2", "A=1 A=$(A)2"),
    "an empty value wins": ("A=1", "A=", "A="),
    "who refers to a replaced variable still finds it before": ("A=1 B=$(A)", "A=2", "A=2 B=$(A)"),
    "and so where the replacement refers to others": ("X=1 A=1 B=$(A)", "A=$(X)", "X=1 A=$(X) B=$(A)"),
    "of several of one name the first is replaced": ("A=1 A=$(A)2 B=$(A)", "A=3", "A=3 B=$(A)"),
    "a replacement that refers to a later one stands behind it": ("A=1 B=$(A)", "X=1 A=$(X)", "A=1 B=$(A) X=1 A=$(X)"),
    "one that extends itself": ("A=1 B=$(A)", "A=$(A)2", "A=1 A=$(A)2 B=$(A)"),
    "one that extends itself by way of another": ("A=1 B=$(A)", "A=$(B)2", "A=1 B=$(A) A=$(B)2"),
    "a replaced one keeps what stands behind it": ("A=1 X=1", "A=$(X) X=2", "A=1 X=2 A=$(X)"),
    "an escaped reference is none": ("A=1 B=1", "A=$$(B)", "A=$$(B) B=1"),
    "what is not there cannot be waited for": ("A=1 B=1", "A=$(C)", "A=$(C) B=1"),
}


def _env(text: str) -> list[dict[str, str]]:
    return [dict(zip(("name", "value"), part.split("=", 1), strict=True)) for part in text.split()]


@pytest.mark.parametrize(("base", "over", "want"), ENVS.values(), ids=ENVS)
def test_env(base: str, over: str, want: str) -> None:
    assert merge.env(_env(base), _env(over)) == _env(want)


def test_a_source_refers_to_nothing() -> None:
    source = {"name": "A", "value": None, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    assert merge.env(_env("A=1 B=$(A)"), [source]) == [source, *_env("B=$(A)")]


def _dead(entries: list[dict[str, str]]) -> set[tuple[int, str]]:
    """Return the references to names that no earlier entry has, with the index of the entry."""
    seen: set[str] = set()
    found = set()
    for entry in entries:
        found |= {
            (int(entry["number"]), name) for name in re.findall(r"\$\((\w)\)", entry["value"]) if name not in seen
        }
        seen.add(entry["name"])
    return found


names = st.sampled_from("ABCD")
drawn = st.lists(st.tuples(names, st.lists(names, max_size=2)), max_size=5)


@settings(max_examples=300, deadline=None, database=None)
@given(base=drawn, over=drawn)
def test_no_reference_goes_dead_by_being_merged(base: Any, over: Any) -> None:
    """The result expands like the two lists one after the other."""
    plain = [
        {"name": name, "value": "x" + "".join(f"$({other})" for other in others), "number": str(number)}
        for number, (name, others) in enumerate([*base, *over])
    ]
    below, above = plain[: len(base)], plain[len(base) :]
    merged = merge.env(below, above)
    assert _dead(merged) <= _dead(plain)
    last = {entry["name"]: entry for entry in plain}
    assert {entry["name"]: entry for entry in merged} == last
    assert all(entry in merged for entry in above)
    assert merge.env([], above) == above
    assert merge.env(below, []) == below
