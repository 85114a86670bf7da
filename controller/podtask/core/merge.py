"""How convenience fields are laid over a Pod template: explicit wins, lists with names are merged by name.

Explicit means present, even when false, 0 or empty: that is the difference to KubernetesPodOperator, whose merge
loses such values, joins lists to duplicates, and merges containers by their place.
"""

from typing import Any

Dict = dict[str, Any]


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
    """Join variables; of one name the last wins.

    Kubernetes expands $(NAME) from the variables before. So a winner keeps the first one's place, for those that
    refer to it, unless it refers to others itself.
    """
    merged: dict[Any, Dict] = {}
    for item in (*base, *over):
        if "$(" in str(item.get("value", "")):
            merged.pop(item.get("name"), None)
        merged[item.get("name")] = item
    return list(merged.values())


def overlay(base: Dict, over: Dict) -> Dict:
    """Lay maps over maps, key by key and all the way down; anything else of `over` replaces."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = overlay(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return result
