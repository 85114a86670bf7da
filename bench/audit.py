"""Who asked the API server for what, counted from its own audit log: exact, and by user.

The server's metrics count the same requests but do not say whose they were, so they serve as a cross-check only.
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
"""Everybody's requests, without their bodies."""

Counts = Counter[str]
"""Requests by `verb resource[/subresource][ refused with CODE]`, in the words of RBAC."""


class Audit:
    """An API server's audit log, read on from where it was read before."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "audit.log"
        self._policy = directory / "policy.json"
        self._policy.write_text(json.dumps(POLICY))
        self._place = 0
        self._begun: set[str] = set()

    def arguments(self) -> list[str]:
        """The API server's options."""
        return [f"--audit-policy-file={self._policy}", f"--audit-log-path={self.log}"]

    def news(self) -> dict[str, Counts]:
        """Count what was asked since the last call, by user."""
        found: dict[str, Counts] = {}
        for line in self._lines():
            event = json.loads(line)
            if "objectRef" in event and self._is_first_word(event):
                found.setdefault(event["user"]["username"], Counter())[_kind(event)] += 1
        return found

    def _lines(self) -> Iterator[bytes]:
        """Whole lines only: the server may be in the middle of one."""
        with self.log.open("rb") as file:
            file.seek(self._place)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._place += len(line)
                yield line

    def _is_first_word(self, event: dict[str, Any]) -> bool:
        """Whether the log speaks of this request for the first time: of one that goes on, it also tells the end."""
        if event["stage"] == "ResponseStarted":
            self._begun.add(event["auditID"])
            return True
        return event["auditID"] not in self._begun


def _kind(event: dict[str, Any]) -> str:
    about, code = event["objectRef"], event.get("responseStatus", {}).get("code", 200)
    what = "/".join(filter(None, (about["resource"], about.get("subresource"))))
    return f"{event['verb']} {what}" + (f" refused with {code}" if code >= 400 else "")
