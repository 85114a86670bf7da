"""The rights that an account has used, from the API server's audit log."""

import json
from pathlib import Path
from typing import Any, NamedTuple


class Right(NamedTuple):
    """One verb on one resource."""

    group: str
    resource: str
    verb: str


def used(log: Path, since: int, account: str, namespace: str) -> dict[Right, set[int]]:
    """Return each right that a service account made use of after a place in the log, with the answers that it got."""
    user = f"system:serviceaccount:{namespace}:{account}"
    found: dict[Right, set[int]] = {}
    whole, _, _ = log.read_bytes()[since:].rpartition(b"\n")  # the last line may still be being written
    for line in whole.splitlines():
        event = json.loads(line)
        if event["user"]["username"] != user or "objectRef" not in event:
            continue
        about = event["objectRef"]
        resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        right = Right(about.get("apiGroup", ""), resource, event["verb"])
        found.setdefault(right, set()).add(event["responseStatus"]["code"])
    return found


def granted(rules: list[dict[str, Any]]) -> set[Right]:
    """Return each right that the rules of a role grant."""
    return {
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
