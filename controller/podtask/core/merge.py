"""Merge convenience fields over a Pod template: explicit values win, and lists of named objects are merged by name.

A value is explicit if it is present, even if it is false, 0 or empty. KubernetesPodOperator differs: its merge drops
such values, concatenates lists with duplicates, and merges containers by their index.
"""

import re
from typing import Any

Dict = dict[str, Any]

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")


def by_name(base: list[Dict], over: list[Dict], key: str = "name") -> list[Dict]:
    """Merge lists of named objects. Of one name the fields of `over` win; new names are appended in order."""
    merged = {item.get(key): item for item in base}
    for item in over:
        merged[item.get(key)] = {**merged.get(item.get(key), {}), **item}
    return list(merged.values())


def replace_by_name(base: list[Dict], over: list[Dict], key: str = "name") -> list[Dict]:
    """Join lists of named objects. The last object of a name replaces the others (a volume has one source)."""
    return list({item.get(key): item for item in (*base, *over)}.values())


def env(base: list[Dict], over: list[Dict]) -> list[Dict]:
    """Merge lists of environment variables; of one name the last wins.

    Kubernetes expands $(NAME) from the variables before it, and allows a name twice, so a second one can extend the
    first. A variable of `over` therefore replaces its namesake at the same index if all variables that it refers to
    come earlier. Otherwise both are kept, and it is inserted after the last one that it refers to. The order within
    each list is kept.
    """
    slots = [[item] for item in base]
    found: dict[Any, list[int]] = {}
    for slot, item in enumerate(base):
        found.setdefault(item.get("name"), []).append(slot)
    replaceable = set(found)
    for item in over:
        name = item.get("name")
        if name not in replaceable:
            found.setdefault(name, []).append(len(slots))
            slots.append([item])
            continue
        replaceable.remove(name)
        own, needed = found[name], [found[other] for other in _references(item) if other in found]
        if all(indices[0] < own[0] for indices in needed):
            for slot in own:
                slots[slot] = [other for other in slots[slot] if other.get("name") != name]
            slots[own[0]].insert(0, item)
            found[name] = own[:1]
        else:
            behind = max(own[-1], *(indices[-1] for indices in needed))
            slots[behind].append(item)
            own.append(behind)
    return [item for slot in slots for item in slot]


def env_for(variables: list[Dict], expression: str) -> list[Dict]:
    """Return the variables that an expression refers to, directly or through others, in their order."""
    found: set[str] = set()
    due = _names_in(expression)
    while due:
        found |= due
        due = {name for item in variables if item["name"] in due for name in _references(item)} - found
    return [item for item in variables if item["name"] in found]


def _references(item: Dict) -> set[str]:
    return _names_in(str(item.get("value") or ""))


def _names_in(text: str) -> set[str]:
    """Return the names that a text refers to as `$(NAME)`; `$$(NAME)` is an escape."""
    return {name for name in _REFERENCE.findall(text) if name}


def overlay(base: Dict, over: Dict) -> Dict:
    """Merge maps recursively. Any other value of `over` replaces that of `base`."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = overlay(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return result
