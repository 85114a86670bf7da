"""Parses values.yaml into a tree: each value with its default, the comment above it, and the comment's @schema line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

SCHEMA_MARK = "@schema "


class Undescribed(Exception):
    """A value has no comment, or its @schema line is no JSON."""


@dataclass(frozen=True)
class Value:
    """One key. A section has `children`; a value has a default, which may be a map with any keys."""

    path: tuple[str, ...]
    default: Any
    description: str
    extra: dict[str, Any]
    children: tuple[Value, ...] = ()

    @property
    def name(self) -> str:
        return ".".join(self.path)

    def leaves(self) -> Iterator[Value]:
        """Yield the values below a section, or this value."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


def parse(text: str) -> tuple[Value, ...]:
    """Parse the text of values.yaml; raise Undescribed where a value has no comment."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise Undescribed("values.yaml is no map")
    return _children(root, yaml.safe_load(text), text.splitlines(), ())


def _children(node: yaml.MappingNode, values: Any, lines: list[str], above: tuple[str, ...]) -> tuple[Value, ...]:
    found = []
    for key, value in node.value:
        path = (*above, key.value)
        description, extra = _comment(lines, key.start_mark.line, ".".join(path))
        default = values[key.value]
        is_section = isinstance(value, yaml.MappingNode) and bool(default) and "additionalProperties" not in extra
        children = _children(value, default, lines, path) if is_section else ()
        if not is_section and not description:
            raise Undescribed(f"{'.'.join(path)} has no comment above it")
        found.append(Value(path, default, description, extra, children))
    return tuple(found)


def _comment(lines: list[str], line: int, name: str) -> tuple[str, dict[str, Any]]:
    """Return the description and the schema of the comment block directly above a line."""
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    words: list[str] = []
    extra: dict[str, Any] = {}
    for text in (raw.lstrip().removeprefix("#").strip() for raw in lines[first:line]):
        if text.startswith(SCHEMA_MARK):
            try:
                extra = json.loads(text.removeprefix(SCHEMA_MARK))
            except ValueError as error:
                raise Undescribed(f"{name}: {text} is no JSON") from error
        else:
            words.append(text)
    return " ".join(words), extra
