"""What a rule is: one record that says the same thing twice, in CEL for the server and in Python for everyone else.

A test feeds both with the same values. Only CEL that Kubernetes 1.29 and the tests' own evaluator both know is used: no
optionals, no quantities, no regular expressions beyond RE2.
"""

import dataclasses
import enum
from collections.abc import Callable, Iterator
from typing import Any

Json = Any
Predicate = Callable[[Json, Json], bool]


class Refusal(enum.StrEnum):
    """How the server words the refusal (`reason` of a validation rule)."""

    INVALID = "FieldValueInvalid"
    FORBIDDEN = "FieldValueForbidden"
    REQUIRED = "FieldValueRequired"


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """A rule over more than one field, or over a change.

    `path` is where `self` stands, with `[]` behind a list, and empty for the object itself. `self` is an object, or a
    string where `of` says so. `holds(self, old)` gets plain JSON of any shape and never raises: types are judged
    elsewhere, and a value of a wrong type counts as absent.
    `field` is the part of `self` that the refusal points at.
    """

    id: str
    path: str
    cel: str
    message: str
    holds: Predicate
    field: str = ""
    refusal: Refusal = Refusal.INVALID
    is_transition: bool = False
    of: type[dict[str, Json]] | type[str] = dict


def at(value: Json, *keys: str) -> Json:
    """Return what stands at a path, or None where any part of it is absent, null or no object."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def texts(value: Json) -> list[str]:
    """Return the strings of a list or the keys of a map, as `all` walks them in CEL."""
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list | dict) else []


def objects(value: Json) -> list[dict[str, Json]]:
    """Return the objects of a list."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def number(value: Json) -> int | None:
    """Return an integer; a bool is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def numbers(value: Json) -> list[int]:
    """Return the integers of a list."""
    return [entry for entry in value if number(entry) is not None] if isinstance(value, list) else []


def is_same(one: Json, other: Json) -> bool:
    """Compare as JSON does: in Python alone, `True == 1`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def places(value: Json, rule: Rule) -> Iterator[tuple[str, Json]]:
    """Yield each place that a rule's path names, with its concrete path (`spec.env[3]`)."""
    for walked, found in _descend(value, rule.path.split(".") if rule.path else [], ""):
        if isinstance(found, rule.of):
            yield walked, found


def _descend(value: Json, steps: list[str], walked: str) -> Iterator[tuple[str, Json]]:
    if not steps:
        yield walked, value
        return
    name, rest = steps[0].removesuffix("[]"), steps[1:]
    child = at(value, name)
    walked = f"{walked}.{name}" if walked else name
    if not steps[0].endswith("[]"):
        yield from _descend(child, rest, walked)
    elif isinstance(child, list):
        for index, entry in enumerate(child):
            yield from _descend(entry, rest, f"{walked}[{index}]")


def has(root: str, *keys: str) -> str:
    """Write CEL that says whether a path is there, each part in turn."""
    return " && ".join(f"has({'.'.join((root, *keys[: end + 1]))})" for end in range(len(keys)))
