"""JSON merge patches (RFC 7386)."""

from typing import Any


def json_merge_patch(status: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """Give the smallest merge patch (RFC 7386) that turns `current` into `status`; neither has nulls."""
    changes: dict[str, Any] = {key: None for key in current if key not in status}
    for key, value in status.items():
        before = current.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            # An object in a patch is merged into what is there, not put in its place.
            inner = json_merge_patch(value, before)
            if inner:
                changes[key] = inner
        elif value != before:
            changes[key] = value
    return changes
