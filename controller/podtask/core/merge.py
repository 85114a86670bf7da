"""How convenience fields are laid over a Pod template: explicit wins, lists with names are merged by name.

Explicit means present, even when false, 0 or empty: that is the difference to KubernetesPodOperator, whose merge
loses such values, joins lists to duplicates, and merges containers by their place.
"""

import re
from typing import Any

Dict = dict[str, Any]

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")


def by_name(base: list[Dict], over: list[Dict], key: str = "name") -> list[Dict]:
    """Merge lists of named objects: same name, fields of `over` win; new names are appended in order."""
    merged = {item.get(key): item for item in base}
    for item in over:
        merged[item.get(key)] = {**merged.get(item.get(key), {}), **item}
    return list(merged.values())


def replace_by_name(base: list[Dict], over: list[Dict], key: str = "name") -> list[Dict]:
    """Join lists of named objects where a name's last entry wins whole (a volume's source, a variable's value)."""
    return list({item.get(key): item for item in (*base, *over)}.values())


def env(base: list[Dict], over: list[Dict]) -> list[Dict]:
    """Lay variables over variables; of one name the last wins.

    Kubernetes expands $(NAME) from the variables before, and takes a name twice: the second may extend the first. So a
    variable of `over` takes the place of the one it replaces where all that it refers to stands before that; otherwise
    both stay, and it stands behind what it refers to. Each list by itself stays as it is.
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
        if all(places[0] < own[0] for places in needed):
            for slot in own:
                slots[slot] = [other for other in slots[slot] if other.get("name") != name]
            slots[own[0]].insert(0, item)
            found[name] = own[:1]
        else:
            behind = max(own[-1], *(places[-1] for places in needed))
            slots[behind].append(item)
            own.append(behind)
    return [item for slot in slots for item in slot]


def env_for(variables: list[Dict], expression: str) -> list[Dict]:
    """Give the variables that an expression refers to, by way of others too, in their order."""
    found: set[str] = set()
    due = _names_in(expression)
    while due:
        found |= due
        due = {name for item in variables if item["name"] in due for name in _references(item)} - found
    return [item for item in variables if item["name"] in found]


def _references(item: Dict) -> set[str]:
    return _names_in(str(item.get("value") or ""))


def _names_in(text: str) -> set[str]:
    """Give the names that a text refers to; `$$(NAME)` is an escape."""
    return {name for name in _REFERENCE.findall(text) if name}


def overlay(base: Dict, over: Dict) -> Dict:
    """Lay maps over maps, key by key and all the way down; anything else of `over` replaces."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = overlay(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return result
