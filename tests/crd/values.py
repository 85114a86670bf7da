"""Hypothesis strategies that follow the CRD's schema: valid values, and the same with one place spoilt."""

import copy
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Json = Any
Path = tuple[str | int, ...]

_WORDS = [
    "base",
    "podtask-result",
    "a",
    "b1",
    "Never",
    "Always",
    "None",
    "512Mi",
    "2",
    "/a/b",
    "/a/../b",
    "/x",
    "",
    "é",
]
_PATTERNED = ["base", "podtask-result", "a", "b1", "podtask.dev/controller", "Completed"]
_KEYS = ["team", "podtask.dev/x", "app.kubernetes.io/name", "a"]
_NUMBERS = [-1, 0, 1, 2, 60, 255, 4095, 4096, 65_535]
_TIMES = ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678Z", "2026-12-31T23:59:59+01:00"]

SPOILS: tuple[Json, ...] = (
    "", "x", "A_B", "5", "true", "512MB", "x" * 300, "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z",
    "2026-01-02T03:04:05Z", 0, 1, -1, 7, 2**31, 2**53, 2**63, 1.5, True, False, [], ["x"], [1], [{}], [True], {},
    {"a": "b"}, {"a": 1}, {"name": "x"}, {"name": "x", "image": "y"},
)  # fmt: skip


def valid(node: Json, *, depth: int = 0) -> st.SearchStrategy[Json]:
    """Values that the schema accepts, mostly small, drawn from few words so that rules have something to meet."""
    if "type" not in node:
        return st.sampled_from([1, 4, 0.5, "500m", "1Gi"])
    if "enum" in node:
        return st.sampled_from(node["enum"])
    return {"string": _string, "integer": _integer, "boolean": _boolean, "array": _array, "object": _object}[
        node["type"]
    ](node, depth)


def _string(node: Json, _depth: int) -> st.SearchStrategy[Json]:
    if node.get("format") == "date-time":
        return st.sampled_from(_TIMES)
    if "pattern" in node:
        fitting = [word for word in _PATTERNED if re.search(node["pattern"], word)]
        return st.sampled_from(fitting)
    fitting = [word for word in _WORDS if node.get("minLength", 0) <= len(word) <= node["maxLength"]]
    return st.sampled_from(fitting)


def _integer(node: Json, _depth: int) -> st.SearchStrategy[Json]:
    low, high = bounds(node)
    return st.sampled_from(sorted({low, high, *(number for number in _NUMBERS if low <= number <= high)}))


def bounds(node: Json) -> tuple[int, int]:
    """The least and the largest integer; where the schema sets none, its format does."""
    limit = 2**31 if node["format"] == "int32" else 2**63
    return node.get("minimum", -limit), node.get("maximum", limit - 1)


def _boolean(_node: Json, _depth: int) -> st.SearchStrategy[Json]:
    return st.booleans()


def _array(node: Json, depth: int) -> st.SearchStrategy[Json]:
    kind = node.get("x-kubernetes-list-type")
    unique = {"map": lambda entry: entry[node["x-kubernetes-list-map-keys"][0]], "set": repr}.get(kind)
    return st.lists(
        valid(node["items"], depth=depth + 1),
        min_size=node.get("minItems", 0),
        max_size=min(2, node.get("maxItems", 2)),
        unique_by=unique,
    )


def _object(node: Json, depth: int) -> st.SearchStrategy[Json]:
    values = node.get("additionalProperties")
    if isinstance(values, dict):
        return st.dictionaries(st.sampled_from(_KEYS), valid(values, depth=depth + 1), max_size=2)
    if "properties" not in node:
        return st.sampled_from([{}, {"x": 1}, {"x": {"y": [True]}}, {"x": True}])
    required = node.get("required", [])
    fields = {name: valid(child, depth=depth + 1) for name, child in node["properties"].items()}
    # Few fields at a time: what is shared by all values hides what is special in one.
    chosen = st.lists(st.sampled_from(sorted(fields)), max_size=8 if depth == 0 else 3, unique=True)
    return chosen.flatmap(
        lambda names: st.fixed_dictionaries({name: fields[name] for name in sorted({*names, *required})})
    )


def leaves(node: Json, above: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Every node of a schema with its path; a list's and a map's entries have the steps 0 and `key`."""
    yield above, node
    for name, child in node.get("properties", {}).items():
        yield from leaves(child, (*above, name))
    if "items" in node:
        yield from leaves(node["items"], (*above, 0))
    if isinstance(node.get("additionalProperties"), dict):
        yield from leaves(node["additionalProperties"], (*above, "key"))


def smallest(node: Json) -> Json:
    """The least value that the schema accepts."""
    if "type" not in node:
        return 1
    if "enum" in node:
        return node["enum"][0]
    if node["type"] == "string":
        if node.get("format") == "date-time":
            return _TIMES[0]
        shortest = "a" * max(1, node.get("minLength", 0))
        return shortest if re.search(node.get("pattern", ""), shortest) else "a/a"
    if node["type"] == "integer":
        return max(1, bounds(node)[0])
    if node["type"] == "array":
        return [smallest(node["items"])] * node.get("minItems", 0)
    if node["type"] == "boolean":
        return True
    return {name: smallest(node["properties"][name]) for name in node.get("required", [])}


def around(node: Json, path: Path, value: Json) -> Json:
    """The least value that has `value` at a path."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if step == 0:
        return [around(node["items"], rest, value)]
    if "properties" in node:
        return smallest(node) | {step: around(node["properties"][step], rest, value)}
    return {"key": around(node["additionalProperties"], rest, value)}


@st.composite
def spoilt(draw: st.DrawFn, values: st.SearchStrategy[Json]) -> Json:
    """A value with one place replaced by something that may or may not be allowed there."""
    value = copy.deepcopy(draw(values))
    spots = list(_spots(value))
    if spots:
        holder, step = draw(st.sampled_from(spots))
        holder[step] = draw(st.sampled_from(SPOILS))
    return value


def _spots(value: Json) -> Iterator[tuple[Json, str | int]]:
    steps = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for step in steps:
        yield value, step
        yield from _spots(value[step])
