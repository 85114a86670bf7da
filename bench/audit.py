"""Count requests by user from the API server's audit log.

The server's metrics count the same requests without their users, so they serve as a cross-check only.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
"""The requests of all users, without their bodies."""

Counts = Counter[str]
"""Number of requests by `verb resource[/subresource][ refused with CODE]`, with the verbs of RBAC."""


class Audit:
    """Reader of an API server's audit log; each call continues where the previous one ended."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "audit.log"
        self._policy = directory / "policy.json"
        self._policy.write_text(json.dumps(POLICY))
        self._offset = 0
        self._started: set[str] = set()

    def arguments(self) -> list[str]:
        """Return the API server's options for the log."""
        return [f"--audit-policy-file={self._policy}", f"--audit-log-path={self.log}"]

    def news(self) -> dict[str, Counts]:
        """Return the requests since the last call, by user."""
        found: dict[str, Counts] = {}
        for line in self._lines():
            event = json.loads(line)
            if "objectRef" in event and self._is_new(event):
                found.setdefault(event["user"]["username"], Counter())[_kind(event)] += 1
        return found

    def _lines(self) -> Iterator[bytes]:
        """Yield complete lines; the server may be writing the last one."""
        with self.log.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield line

    def _is_new(self, event: dict[str, Any]) -> bool:
        """Return whether this is the first entry of its request: long-running ones have one for start and end each."""
        if event["stage"] == "ResponseStarted":
            self._started.add(event["auditID"])
            return True
        return event["auditID"] not in self._started


def _kind(event: dict[str, Any]) -> str:
    target, code = event["objectRef"], event.get("responseStatus", {}).get("code", 200)
    what = "/".join(filter(None, (target["resource"], target.get("subresource"))))
    return f"{event['verb']} {what}" + (f" refused with {code}" if code >= 400 else "")
